"""``rtmedia process``: one recording or many, whole files or none, and figures that are true."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from rtmedia.cli.cleaning import places
from rtmedia.cli.hearing import Hearing, Spectrogram
from rtmedia.cli.main import app
from rtmedia.cli.recordings import open_recording, wav_writer
from rtmedia.cli.workers import WorkerLost, carry_out
from rtmedia.dsp.meters import loudness
from rtmedia.errors import ConfigError, SinkError
from rtmedia.ports import Format
from rtmedia.processing import process
from rtmedia.sim.speech import read_speech
from tests.cli.test_commands import recording

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: CliRunner().invoke(app, ["process", *words])


def samples_of(path):
    with wave.open(str(path)) as file:
        return np.frombuffer(file.readframes(1 << 30), "<i2").reshape(-1, file.getnchannels())


@pytest.mark.parametrize("preset", ["voice", "voice-low-latency", "transparent"])
def test_a_file_becomes_what_the_function_makes_of_it(run, tmp_path, preset):
    source = recording(tmp_path / "in.wav", seconds=1.5, channels=2)
    assert run("in.wav", "out.wav", "--preset", preset, "--ceiling-db", "-6").exit_code == 0
    wanted = process(samples_of(source), 16_000, preset, ceiling_db=-6.0)
    assert np.array_equal(samples_of(tmp_path / "out.wav"), np.clip(np.rint(wanted * 32768), -32768, 32767))


def test_the_figures_are_those_of_the_files(run, tmp_path):
    recording(tmp_path / "in.wav", seconds=2.0)
    report = json.loads(run("in.wav", "out.wav", "--json").stdout)
    for side, name in (("in", "in.wav"), ("out", "out.wav")):
        assert report[f"loudness_{side}_lufs"] == pytest.approx(
            loudness(read_speech(tmp_path / name).block, 16_000).integrated_lufs, abs=0.1
        )
    assert report["seconds"] == 2.0
    assert report["effects"] == ["spectral_gate", "loudness_normalizer", "compressor"]
    assert report["true_peak_out_db"] <= -1.0
    assert report["times_real_time"] > 0


def test_silence_has_no_loudness(run, tmp_path):
    with wav_writer(tmp_path / "in.wav", 8_000, 1, 8_000) as writer:
        writer.write(np.zeros((8_000, 1), np.float32))
    report = json.loads(run("in.wav", "out.wav", "--json").stdout)
    assert report["loudness_in_lufs"] is None
    assert report["true_peak_out_db"] is None
    assert "silence" in run("in.wav", "out.wav").output


def test_the_normaliser_can_be_aimed(run, tmp_path):
    recording(tmp_path / "in.wav")
    result = run("in.wav", "out.wav", "--target-lufs", "-30")
    assert result.exit_code == 0, result.output
    result = run("in.wav", "out.wav", "--effects", "gate", "--target-lufs", "-30")
    assert result.exit_code == 2
    assert "add normalizer to --effects" in result.output
    assert "target_lufs" in run("in.wav", "out.wav", "--target-lufs", "-300").output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["in.wav"], "not where the result goes"),
        (["in.wav", "out.wav", "--ceiling-db", "3"], "--ceiling-db is 3"),
        (["in.wav", "other.wav", "folder/file.wav", "in.wav"], "is a file, and there are 3 recordings"),
        (["empty", "out"], "holds no sound file"),
        (["*.mp3", "out"], "no file is called like"),
        (["in.wav", "a/in.wav", "out"], "would both become"),
        (["in.wav", "out.wav", "--plot", "picture.bmp"], ".png or .svg or .pdf"),
        (["in.wav", "other.wav", "out", "--plot", "picture.png"], "there are 2 recordings"),
        (["in.wav", "out.wav", "--effects", "reverb"], "known effects"),
        (["in.wav", "out.mp3"], "call it out.wav"),
    ],
)
def test_a_callers_mistake_is_told_before_anything_is_written(run, tmp_path, words, said):
    recording(tmp_path / "in.wav")
    recording(tmp_path / "other.wav")
    (tmp_path / "empty").mkdir()
    (tmp_path / "a").mkdir()
    recording(tmp_path / "a" / "in.wav")
    result = run(*words)
    assert result.exit_code == 2
    assert said in result.output.replace("\n", " ")
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "out.wav").exists()


def test_a_bad_file_is_counted_and_the_others_are_cleaned(run, tmp_path):
    for name in ("a.wav", "b/c.wav", "b/d.wav"):
        (tmp_path / "calls" / name).parent.mkdir(parents=True, exist_ok=True)
        recording(tmp_path / "calls" / name)
    recording(tmp_path / "calls" / "odd.wav", rate_hz=22_050)
    (tmp_path / "calls" / "broken.wav").write_bytes(b"RIFF    WAVEnonsense")
    result = run("calls", "out", "--json", "--plot", "pictures")
    assert result.exit_code == 2
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert written == ["a.wav", "b/c.wav", "b/d.wav"]
    assert sorted(path.name for path in (tmp_path / "pictures").iterdir()) == ["a.png", "c.png", "d.png"]
    report = json.loads(result.stdout)
    assert [Path(file["in"]).name for file in report["files"] if "error" in file] == ["broken.wav", "odd.wav"]
    assert report["failed"] == 2
    assert report["seconds"] == 1.5
    assert "2 of 5 recordings could not be processed" in result.stderr
    assert "22050 Hz" in result.stderr


def test_many_files_in_many_processes_are_the_same_to_the_bit(run, tmp_path):
    for name in ("a", "b", "c"):
        recording(tmp_path / f"{name}.wav", seed=ord(name))
    assert run("*.wav", "one", "--jobs", "1").exit_code == 0
    result = run("a.wav", "b.wav", "c.wav", "two", "--jobs", "2")
    assert result.exit_code == 0, result.output
    for name in ("a", "b", "c"):
        assert (tmp_path / "one" / f"{name}.wav").read_bytes() == (tmp_path / "two" / f"{name}.wav").read_bytes()
    assert "3 files, 0:01 of sound" in result.output


def test_a_folder_with_one_file_in_it_becomes_a_folder(run, tmp_path):
    (tmp_path / "calls").mkdir()
    recording(tmp_path / "calls" / "a.wav")
    assert run("calls", "out").exit_code == 0
    assert (tmp_path / "out" / "a.wav").is_file()


def test_what_is_no_recording_is_told_in_words(run, tmp_path):
    (tmp_path / "in.wav").touch()
    assert "in.wav is empty" in run("in.wav", "out.wav").output
    recording(tmp_path / "in.wav")
    pytest.importorskip("soxr")
    assert "--rate is 96000" in run("in.wav", "out.wav", "--rate", "96000").output


def test_where_files_go():
    assert places(["in.wav"], "out.wav") == [(Path("in.wav"), Path("out.wav"))]
    assert places(["in.flac"], "out/") == [(Path("in.flac"), Path("out/in.wav"))]
    assert places(["a.wav", "x/b.wav"], "out") == [(Path("a.wav"), Path("out/a.wav")), (Path("x/b.wav"), Path("out/b.wav"))]


def test_a_folder_under_the_one_that_is_read_is_not_read_again(tmp_path):
    for name in ("a.wav", "clean/a.wav", "more/b.wav", ".a.wav.7.part.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    goal = tmp_path / "clean"
    assert places([str(tmp_path)], str(goal)) == [(tmp_path / "a.wav", goal / "a.wav"), (tmp_path / "more/b.wav", goal / "more/b.wav")]
    assert len(places([str(tmp_path)], str(tmp_path))) == 3  # in place: all of them


@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_a_wav_in_blocks_is_the_wav_as_a_whole(tmp_path, bits):
    rng = np.random.default_rng(1)
    with wave.open(str(tmp_path / "in.wav"), "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(bits // 8)
        file.setframerate(8_000)
        file.writeframes(rng.bytes(20_011 * 2 * bits // 8))
    with open_recording(tmp_path / "in.wav") as found:
        blocks = list(found.blocks)
        assert (found.rate_hz, found.channels, found.frames) == (8_000, 2, 20_011)
    assert len(blocks) > 1
    assert np.array_equal(np.concatenate(blocks), read_speech(tmp_path / "in.wav").block)


def test_other_formats_come_in_blocks_too(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    x = np.random.default_rng(1).uniform(-0.5, 0.5, (20_000, 1)).astype(np.float32)
    soundfile.write(tmp_path / "in.flac", x, 8_000)
    with open_recording(tmp_path / "in.flac") as found:
        assert np.array_equal(np.concatenate(list(found.blocks)), read_speech(tmp_path / "in.flac").block)


def test_resampled_on_the_way_is_resampled_as_a_whole(tmp_path):
    soxr = pytest.importorskip("soxr")
    source = recording(tmp_path / "in.wav", seconds=3.3)
    with open_recording(source, 44_100) as found:
        got = np.concatenate(list(found.blocks))
        assert found.frames == len(got)
    assert np.abs(got - soxr.resample(read_speech(source).block, 16_000, 44_100, "HQ")).max() < 1e-4


@pytest.mark.parametrize("path", ["none.wav", "."])
def test_what_cannot_be_opened_is_named(tmp_path, monkeypatch, path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"recording"), open_recording(path):
        pass


def test_a_file_longer_than_wav_can_say_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("rtmedia.cli.recordings._MOST_WAV_OCTETS", 1_000)
    with pytest.raises(SinkError, match="4 GiB"), wav_writer(tmp_path / "out.wav", 8_000, 1, 600) as writer:
        writer.write(np.zeros((600, 1), np.float32))
    assert not list(tmp_path.iterdir())


def test_hours_are_read_and_written_without_holding_them(tmp_path):
    """Half an hour at 48 kHz, stereo, is 690 MB as float32: the command must do with a small part of it beside its kernels."""
    resource = pytest.importorskip("resource")
    seconds = 1_800
    with wav_writer(tmp_path / "in.wav", 8_000, 2, seconds * 8_000) as writer:
        block = np.random.default_rng(1).uniform(-0.1, 0.1, (8_000, 2)).astype(np.float32)
        for _ in range(seconds):
            writer.write(block)
    del resource
    code = (
        "import resource, sys, numpy\n"
        "from rtmedia.cli.cleaning import Job, clean_one\n"
        "from pathlib import Path\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "made = []\n"
        "def tell(seconds):\n"
        "    made.append(peak())\n"
        "found = clean_one(Job(Path(sys.argv[1]), Path(sys.argv[2]), 'transparent'), tell)\n"
        "assert not found.error, found.error\n"
        "print((peak() - made[5]) // 1024, len(made))\n"
    )
    words = [sys.executable, "-c", code, str(tmp_path / "in.wav"), str(tmp_path / "out.wav")]
    result = subprocess.run(words, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    grown_mib, told = map(int, result.stdout.split())
    assert told == seconds
    assert grown_mib < 30  # all of it would be 110 MiB
    assert (tmp_path / "out.wav").stat().st_size == (tmp_path / "in.wav").stat().st_size


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_ctrl_c_leaves_no_half_written_file(tmp_path, scaled, jobs):
    for name in ("a", "b"):
        with wav_writer(tmp_path / f"{name}.wav", 48_000, 2, 600 * 48_000) as writer:
            block = np.random.default_rng(1).uniform(-0.1, 0.1, (48_000, 2)).astype(np.float32)
            for _ in range(600):
                writer.write(block)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    code = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); sys.argv[0] = 'rtmedia'\n"
    code += "from rtmedia.cli.main import main; main()"  # whoever runs the tests in the background hears no Ctrl-C, nor would we
    words = [sys.executable, "-c", code, "process", "a.wav", "b.wav", "out", "--jobs", jobs]
    started = subprocess.Popen(words, cwd=tmp_path, env=environment, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + scaled(120.0)
    try:
        while not list((tmp_path / "out").glob(".*.part") if (tmp_path / "out").exists() else []):
            assert started.poll() is None, started.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.killpg(started.pid, signal.SIGINT)  # as a terminal does: to all of them
        said = started.communicate(timeout=scaled(30.0))[1]
    finally:
        if started.poll() is None:
            os.killpg(started.pid, signal.SIGKILL)
            started.wait()
    assert started.returncode == 130
    assert said.strip() == "rtmedia: interrupted"
    assert list((tmp_path / "out").iterdir()) == []


def die(task, tell):
    if task == "dies":
        os._exit(9)
    tell(1.0)
    return task.upper()


def test_a_worker_that_is_killed_costs_its_own_task_only():
    found, amounts = {}, []

    def told(number, amount, result):
        amounts.append(amount)
        if result is not None:
            found[number] = result

    carry_out(die, ["a", "dies", "b", "c"], 2, told)
    assert isinstance(found.pop(1), WorkerLost)
    assert found == {0: "A", 2: "B", 3: "C"}
    assert sum(amounts) == 3.0


@pytest.mark.parametrize("rate_hz", [8_000, 44_100])
@pytest.mark.parametrize("frames", [10, 4_000, 90_000])
def test_a_spectrogram_shows_a_sine_where_it_is_and_as_loud_as_it_is(rate_hz, frames):
    t = np.arange(90_000)
    x = (0.1 * np.sin(2 * np.pi * 1_000 / rate_hz * t))[:, None].astype(np.float32)
    got = Spectrogram(Format(rate_hz), frames)
    for piece in np.array_split(x, 7):
        got.feed(piece)
    levels = got.levels_db()
    middle = levels[len(levels) // 2]
    hz = np.linspace(0, rate_hz / 2, levels.shape[1])
    assert abs(hz[middle.argmax()] - 1_000) <= hz[1]
    assert middle.max() == pytest.approx(-20.0, abs=1.5)
    assert len(levels) <= 1_402


def test_a_spectrogram_is_the_same_whatever_the_pieces():
    x = np.random.default_rng(1).uniform(-1, 1, (50_000, 2)).astype(np.float32)
    found = []
    for size in (50_000, 777, 8_000):
        made = Spectrogram(Format(16_000, 2), 5_000_000)  # windows further apart than long
        for start in range(0, len(x), size):
            made.feed(x[start : start + size])
        found.append(made.levels_db())
    assert np.allclose(found[0], found[1])
    assert np.allclose(found[0], found[2])


def test_the_course_of_loudness_is_the_meters_own():
    x = np.random.default_rng(1).uniform(-0.3, 0.3, (33_333, 1)).astype(np.float32)
    hearing = Hearing(Format(16_000), len(x), True)
    for start in range(0, len(x), 1_111):
        hearing.feed(x[start : start + 1_111])
    assert np.allclose(hearing.momentary_lufs[3:], loudness(x, 16_000).momentary_lufs, atol=0.01)


def test_the_picture_is_drawn_whatever_is_in_it(run, tmp_path):
    pytest.importorskip("matplotlib")
    for name, seconds, level in (("short", 0.05, 1.0), ("silent", 1.0, 0.0), ("same", 1.0, 1.0)):
        with wav_writer(tmp_path / f"{name}.wav", 8_000, 1, 10) as writer:
            noise = np.random.default_rng(1).uniform(-0.3, 0.3, (int(seconds * 8_000), 1))
            writer.write((level * noise).astype(np.float32))
        result = run(f"{name}.wav", "out.wav", "--preset", "transparent", "--plot", f"{name}.svg")
        assert result.exit_code == 0, result.output
        assert (tmp_path / f"{name}.svg").stat().st_size > 5_000
