"""RealtimeKit as a program's words; what it may answer instead of what was expected."""

from __future__ import annotations

import os
import subprocess

import pytest

from rtmedia.realtime import rtkit
from rtmedia.realtime.rtkit import RealtimeKit
from rtmedia.realtime.system import Refused
from tests.realtime.fakes import FakeKit


def test_a_thread_of_this_process_is_asked_for():
    kit = FakeKit()
    kit.make_realtime(4711, 10)
    assert kit.words[0][0] == "busctl"
    assert kit.words[0][-5:] == ["MakeThreadRealtimeWithPID", "ttu", str(os.getpid()), "4711", "10"]


def test_the_terms_are_two_numbers():
    assert FakeKit(highest=20, most_us=200_000).terms() == (20, 200_000)


@pytest.mark.parametrize("said", ["", "i", "i twenty\n", "a 1 2\n"])
def test_an_answer_that_is_none_is_a_refusal(said):
    with pytest.raises(Refused, match="MaxRealtimePriority"):
        RealtimeKit(lambda words: said).terms()


def test_the_bus_is_the_one_that_the_environment_names(monkeypatch):
    monkeypatch.delenv("DBUS_SYSTEM_BUS_ADDRESS", raising=False)
    kit = FakeKit()
    kit.terms()
    assert kit.words[0][1] == "--system"
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/somewhere")
    kit.terms()
    assert kit.words[-1][1] == "--address=unix:path=/somewhere"


def test_polkit_is_asked_about_this_process():
    kit = FakeKit()
    kit.look()
    assert kit.words == [["pkcheck", "--action-id", "org.freedesktop.RealtimeKit1.acquire-real-time", "--process", str(os.getpid())]]
    with pytest.raises(Refused, match=r"polkit would not allow it .Not authorized"):
        FakeKit(polkit="Not authorized.").look()


def test_without_a_program_that_knows_polkit_has_not_refused(monkeypatch):
    monkeypatch.setattr(rtkit.shutil, "which", lambda name: None)
    RealtimeKit().look()


def test_a_missing_program_is_a_refusal(monkeypatch):
    monkeypatch.setattr(rtkit.shutil, "which", lambda name: None)
    with pytest.raises(Refused, match="busctl is not installed"):
        RealtimeKit().terms()


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (subprocess.CompletedProcess([], 1, "", "a warning\nCall failed: Access denied\n"), "Call failed: Access denied"),
        (subprocess.CompletedProcess([], 3, "", ""), "ended with 3"),
        (subprocess.TimeoutExpired("busctl", 3), "did not answer"),
        (OSError("no"), "did not answer"),
    ],
)
def test_a_program_that_fails_is_quoted(monkeypatch, answer, said):
    def run(*words, **options):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(rtkit.shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(rtkit.subprocess, "run", run)
    with pytest.raises(Refused, match=said):
        RealtimeKit().make_realtime(1, 1)
