"""Each kind of failure has its exit code and one line."""

from __future__ import annotations

import pytest

from rtmedia.cli.exits import exit_code, one_line
from rtmedia.errors import AuthError, ConfigError, RoomError, SinkError, SourceError, StateError, WireError

CASES = [
    (AuthError("refused"), 5),
    (WireError("nonsense"), 4),
    (SourceError("away"), 4),
    (SinkError("busy", kind="busy"), 3),
    (ConfigError("wrong"), 2),
    (StateError("twice"), 1),
    (RoomError("fell over", room="render"), 1),
    (ZeroDivisionError("division by zero"), 1),
    (KeyboardInterrupt(), 130),
]


@pytest.mark.parametrize(("error", "code"), CASES, ids=lambda value: type(value).__name__)
def test_the_exit_code_tells_who_must_act(error, code):
    assert exit_code(error) == code


def test_a_foreseen_failure_is_its_own_message_on_one_line():
    assert one_line(SourceError("away;\n  check the network")) == "away; check the network"


@pytest.mark.parametrize("error", [ZeroDivisionError("division by zero"), RoomError("fell over", room="render")])
def test_an_unforeseen_one_says_how_to_learn_more(error):
    assert one_line(error).startswith("unexpected: ")
    assert "--debug" in one_line(error)
