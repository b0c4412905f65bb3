"""docs/effects.md: its examples run, and its figures are the code's."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtmedia import Config
from rtmedia.assembly import make_line
from rtmedia.presets import KINDS, PRESETS, kind_of
from tests.test_packaging import EXAMPLE, python

PAGE = (Path(__file__).parent.parent / "docs/effects.md").read_text("utf-8")
EXAMPLES = dict(EXAMPLE.findall(PAGE))


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_runs_as_it_stands(name, tmp_path, scaled):
    (tmp_path / "example.py").write_text(EXAMPLES[name])  # a file: kernels are cached by where they are written
    result = python("import runpy; runpy.run_path('example.py')", cwd=tmp_path, timeout=scaled(300))
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip()


def test_there_are_examples():
    assert set(EXAMPLES) == {"presets", "recordings", "noise", "own"}


@pytest.mark.parametrize("name", PRESETS)
def test_the_delays_of_the_presets_are_those_on_the_page(name):
    (row,) = (line for line in PAGE.splitlines() if line.startswith(f"| `{name}` |"))
    for rate_hz, cell in ((16_000, 3), (8_000, 4)):
        line = make_line(Config(rate_hz=rate_hz, effects=name), 48_000)
        assert row.split("|")[cell].strip() == f"{line.chain_latency_frames / 48:.1f} ms"


def test_every_effect_is_on_the_page():
    for short, (name, home) in KINDS.items():
        said = f"| `{home.partition(':')[2]}` | `{name}`"
        assert (said if short == name else f"{said}, `{short}`") in PAGE
        assert kind_of(short)().name == name
