"""Captures on the command line: written by a session, replayed and turned into a trace by `replay`."""

from __future__ import annotations

import csv
import json
import wave

import numpy as np
import pytest
from typer.testing import CliRunner

from rtmedia.cli.figures import _held_against
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


def test_a_session_is_replayed_and_held_against_what_it_was(run, captured, tmp_path):
    path, lived = captured
    result = run("replay", str(path), "--json", "--out", "heard.wav", "--report", "report.json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report == json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert report["ticks_compared"] == len(lived.ticks)
    assert report["ticks_different"] == 0
    assert report["neteq"]["concealedSamples"] > 0
    with wave.open(str(tmp_path / "heard.wav")) as file:
        heard = np.frombuffer(file.readframes(1 << 24), "<i2")
    assert np.array_equal(heard, np.clip(np.rint(lived.audio[:, 0] * 32768), -32768, 32767).astype("<i2"))


def test_the_figures_for_a_person_begin_with_the_comparison(run, captured):
    result = run("replay", str(captured[0]), "--ticks", "t.csv")
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].startswith("session")
    assert "s.rtcap" in lines[0]
    assert lines[1] == f"compared   {len(captured[1].ticks)} ticks, each as it was live, to the bit"
    assert "t.csv" in result.stdout
    assert "faster than real time" in lines[-1]


def test_what_was_cut_off_is_told(run, captured, tmp_path):
    octets = captured[0].read_bytes()
    (tmp_path / "cut.rtcap").write_bytes(octets[: len(octets) * 2 // 3])
    result = run("replay", "cut.rtcap")
    assert result.exit_code == 0, result.output
    assert "cut short" in result.stdout


def test_differences_are_counted_and_the_first_is_named():
    report = {"ticks_compared": 400, "ticks_different": 12, "first_difference": 33}
    assert _held_against(report) == "12 of 400 ticks differ from the live session, the first is number 33"
    assert "no ticks" in _held_against(report | {"ticks_compared": 0})


def test_every_tick_of_a_replay_can_be_written(run, captured, tmp_path):
    path, lived = captured
    assert run("replay", str(path), "--ticks", "t.csv", "--quiet").stdout == ""
    with (tmp_path / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(lived.ticks)
    assert float(rows[0]["time_ms"]) == 0.0
    assert [int(row["concealed_frames"]) for row in rows] == lived.ticks["concealed"].tolist()
    assert {row["resample_ratio"] for row in rows} == {"1.000000"}
    assert run("replay", str(path), "--ticks", "t.npz", "--quiet").exit_code == 0
    assert np.array_equal(np.load(tmp_path / "t.npz")["delay_ms"], lived.ticks["delay_ms"])


@pytest.mark.parametrize("name", ["t.csv", "t.csv.gz"])
def test_a_capture_becomes_a_trace_that_simulates(run, captured, tmp_path, name):
    assert run("replay", str(captured[0]), "--write-trace", name, "--quiet").exit_code == 0
    assert read_trace(tmp_path / name).name == "s"
    result = run("simulate", "--trace", name, "--effects", "none", "--no-oracles", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["concealment_events"] > 0


@pytest.mark.parametrize(("option", "name"), [("--write-trace", "t.txt"), ("--write-trace", "t.npz"), ("--ticks", "t.txt")])
def test_a_file_that_cannot_be_written_so_is_refused_before_anything_is_replayed(run, captured, option, name):
    result = run("replay", str(captured[0]), option, name)
    assert result.exit_code == 2
    assert name in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(("content", "words"), [(None, "cannot be read"), (b"RIFF", "is no capture")])
def test_what_is_no_capture_is_told_in_one_line(run, tmp_path, content, words):
    if content is not None:
        (tmp_path / "x").write_bytes(content)
    result = run("replay", "x")
    assert result.exit_code == 2
    assert words in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("command", [("play", "loopback:"), ("demo",)])
def test_a_capture_that_cannot_be_written_is_told_before_anything_plays(run, command):
    result = run(*command, "--sink", "null", "--capture", "no/such/folder/s.rtcap", "--quiet")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr
