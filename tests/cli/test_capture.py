"""Captures on the command line: written by a session, replayed and turned into a trace by `simulate`."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from rtmedia.cli.main import app
from rtmedia.config import Config
from rtmedia.sim.trace import read_trace
from tests.flow.test_replay import live


@pytest.fixture(scope="module")
def captured(tmp_path_factory):
    path = tmp_path_factory.mktemp("captured") / "s.rtcap"
    return path, live(path, Config(effects=()), np.random.default_rng(3), seconds=1.5, stall=(0.6, 0.3))


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, list(words))


def test_simulate_replays_a_capture_and_says_how_it_compares(run, captured):
    path, lived = captured
    result = run("simulate", "--capture", str(path), "--json", "--out", "heard.wav")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["ticks_compared"] == len(lived.ticks)
    assert report["ticks_different"] == 0


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_a_capture_becomes_a_trace_that_simulates(run, captured, tmp_path, name):
    assert run("simulate", "--capture", str(captured[0]), "--write-trace", name, "--quiet").exit_code == 0
    assert read_trace(tmp_path / name).name == "s"
    result = run("simulate", "--trace", name, "--effects", "none", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["concealment_events"] > 0


@pytest.mark.parametrize("words", [("--rate", "8000"), ("--trace", "t.csv"), ("--seed", "1"), ("--effects", "none")])
def test_what_a_capture_brings_itself_is_refused_beside_it(run, captured, words):
    result = run("simulate", "--capture", str(captured[0]), *words)
    assert result.exit_code == 2
    assert f"{words[0]} was given together with --capture" in result.stderr


def test_a_trace_is_written_of_captures_only(run):
    result = run("simulate", "--write-trace", "t.csv")
    assert result.exit_code == 2
    assert "give --capture FILE too" in result.stderr


@pytest.mark.parametrize(("content", "words"), [(None, "cannot be read"), (b"RIFF", "is no capture")])
def test_what_is_no_capture_is_told_in_one_line(run, tmp_path, content, words):
    if content is not None:
        (tmp_path / "x").write_bytes(content)
    result = run("simulate", "--capture", "x")
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [("play", "loopback:"), ("demo",)])
def test_a_capture_that_cannot_be_written_is_told_before_anything_plays(run, command):
    result = run(*command, "--sink", "null", "--capture", "no/such/folder/s.rtcap", "--quiet")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr
