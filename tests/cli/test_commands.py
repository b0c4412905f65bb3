"""The commands as a shell calls them: help, exit codes, one line for each failure, JSON for programs."""

from __future__ import annotations

import json
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import rtmedia
from rtmedia.cli import checks
from rtmedia.cli.main import COMMANDS, app
from rtmedia.cli.serve import server_options
from rtmedia.errors import SinkError

NAMES = list(COMMANDS)


@pytest.fixture
def run(tmp_path, monkeypatch):
    """``run("devices", "--json")`` in an empty folder, without credentials in the environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("CLIENT_ID", "CLIENT_SECRET", "URL", "DEBUG", "LOG_LEVEL"):
        monkeypatch.delenv(f"RTMEDIA_{name}", raising=False)
    return lambda *words: CliRunner().invoke(app, list(words))


@pytest.fixture
def no_sound_card(monkeypatch):
    monkeypatch.setattr("rtmedia.io.portaudio.list_devices", lambda instance=None: [])


@pytest.fixture
def no_pyaudio(monkeypatch):
    def missing(instance=None):
        raise SinkError("PyAudio is not installed, so there is no sound card", kind="unavailable", hint="install it")

    monkeypatch.setattr("rtmedia.io.portaudio.list_devices", missing)


def recording(path, seconds=0.5, rate_hz=16_000, channels=1, seed=7):
    samples = np.random.default_rng(seed).integers(-8000, 8000, (int(seconds * rate_hz), channels), np.int16)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def test_the_help_lists_every_command_and_the_exit_codes(run):
    result = run("--help")
    assert result.exit_code == 0
    assert all(name in result.output for name in NAMES)
    assert "Exit codes" in result.output


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help(run, name):
    result = run(name, "--help")
    assert result.exit_code == 0
    assert "Exit codes" in result.output


def test_the_help_needs_neither_numpy_nor_numba_nor_the_network():
    heavy = ("numpy", "numba", "pyaudio", "aiohttp", "requests", "websocket")
    code = f"""
import sys
from rtmedia.cli.main import COMMANDS, app
for words in ([], *([name] for name in COMMANDS)):
    try:
        app([*words, "--help"])
    except SystemExit as exc:
        assert not exc.code
assert {{f"rtmedia.cli.{{name}}" for name in COMMANDS}} < set(sys.modules)
print([name for name in {heavy} if name in sys.modules])
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(rtmedia.__file__).parent.parent
    )
    assert result.stdout.splitlines()[-1] == "[]"


def test_a_command_does_not_import_the_others():
    code = "import sys; from rtmedia.cli.main import app; app(['--version'], standalone_mode=False)\n"
    code += "print([name for name in sys.modules if name.startswith('rich') or name in ('rtmedia.cli.play', 'rtmedia.cli.bench')])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path(rtmedia.__file__).parent.parent
    )
    assert result.stdout.splitlines()[-1] == "[]"


def test_a_name_that_is_nearly_a_command_is_guessed(run):
    result = run("plya")
    assert result.exit_code == 2
    assert "play" in result.output


def test_the_version_is_the_packages(run):
    assert run("--version").output.split() == ["rtmedia", rtmedia.__version__]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["play", "--no-such-option"], 2, "no-such-option"),
        (["play", "http://example.org"], 2, "wss://"),
        (["play", "--rate", "12345"], 2, "rate_hz"),
        (["play", "--reconnect", "often"], 2, "forever"),
        (["play", "--effects", "reverb"], 2, "known effects"),
        (["play", "--max-delay-ms", "1"], 2, "max_delay_ms"),
        (["play", "--credentials", "nowhere.json"], 2, "nowhere.json"),
        (["demo", "--network", "snow=1"], 2, "snow"),
        (["demo", "--network", "channels=2"], 2, "rtmedia play"),
        (["simulate", "--trace", "nowhere.csv"], 2, "nowhere.csv"),
        (["simulate", "--trace", "model:gone"], 2, "the models are perfect"),
        (["process", "nowhere.wav", "out.wav"], 2, "nowhere.wav"),
        (["serve", "--option", "loss"], 2, "name=value"),
        (["serve", "nowhere.wav", "--port", "0"], 2, "nowhere.wav"),
        (["--log-level", "loud", "doctor"], 2, "loud"),
    ],
)
def test_a_callers_mistake_is_one_line_and_exit_code_2(run, words, code, said):
    result = run(*words)
    assert result.exit_code == code
    assert said in result.output
    assert "Traceback" not in result.output


def test_a_token_among_the_arguments_is_refused_and_not_repeated(run):
    result = run("play", "wss://example.org/media?access_token=verysecret", "--sink", "null")
    assert result.exit_code == 2
    assert "RTMEDIA_URL" in result.output
    assert "verysecret" not in result.output


def test_an_unforeseen_error_is_one_line_and_a_traceback_only_on_request(run, monkeypatch):
    def broken(*arguments, **options):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("rtmedia.cli.checks.run_checks", broken)
    result = run("doctor")
    assert result.exit_code == 1
    assert "unexpected: ZeroDivisionError" in result.output
    assert "Traceback" not in result.output
    assert "Traceback" in run("--debug", "doctor").output


def test_an_interrupted_command_ends_with_130(run, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("rtmedia.cli.checks.run_checks", interrupted)
    assert run("doctor").exit_code == 130


@pytest.mark.usefixtures("no_sound_card")
def test_no_sound_device_is_told_kindly_with_exit_code_3(run):
    result = run("devices")
    assert result.exit_code == 3
    assert "--sink wav:FILE" in result.output
    result = run("devices", "--json")
    assert result.exit_code == 3
    assert result.stdout.startswith("[]")


@pytest.mark.usefixtures("no_pyaudio")
def test_no_sound_library_says_how_to_get_it(run):
    result = run("devices")
    assert result.exit_code == 3
    assert "PyAudio is not installed" in result.output


def test_the_doctor_has_an_answer_for_every_check(run):
    result = run("doctor", "--json")
    found = json.loads(result.stdout)
    assert [check["name"] for check in found] == [name for name, _ in checks.CHECKS]
    assert {check["status"] for check in found} <= {"ok", "warn", "fail"}
    assert all(check["hint"] for check in found if check["status"] != "ok")
    assert result.exit_code == int(any(check["status"] == "fail" for check in found))


@pytest.mark.usefixtures("no_sound_card")
def test_the_doctor_without_a_sound_card_warns_and_says_what_to_do():
    device = next(check for check in checks.run_checks() if check.name == "device")
    assert device.status == "warn"
    assert "sound server" in device.hint


def test_the_doctor_survives_a_check_that_breaks(run, monkeypatch):
    monkeypatch.setattr(checks, "CHECKS", (("broken", lambda name: 1 / 0),))
    result = run("doctor")
    assert result.exit_code == 1
    assert "broken" in result.output
    assert "ZeroDivisionError" in result.output


def test_the_doctor_never_shows_a_secret(run, monkeypatch):
    monkeypatch.setenv("RTMEDIA_CLIENT_ID", "kiosk")
    monkeypatch.setenv("RTMEDIA_CLIENT_SECRET", "verysecret")
    monkeypatch.setenv("RTMEDIA_TOKEN_URL", "https://user:verysecret@example.org/token?key=verysecret")
    output = run("doctor").output
    assert "https://example.org/token" in output
    assert "verysecret" not in output


def test_a_simulation_reports_as_json_and_writes_its_files(run, tmp_path):
    speech = recording(tmp_path / "speech.wav", seconds=1.0)
    trace = tmp_path / "trace.csv"
    trace.write_text("".join(f"{n},{20 * n},{'' if n == 20 else 20 * n + 40}\n" for n in range(50)))
    words = ("simulate", "--trace", str(trace), "--speech", str(speech), "--effects", "none", "--seed", "1")
    result = run(*words, "--json", "--out", "out.wav", "--report", "report.json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["lost_pct"] == pytest.approx(2.0)
    assert report == json.loads((tmp_path / "report.json").read_text("utf-8"))
    with wave.open(str(tmp_path / "out.wav")) as file:
        assert file.getframerate() == 16_000
        assert file.getnframes() >= 16_000
    table = run(*words).output
    assert "concealed" in table
    assert "faster than real time" in table


@pytest.mark.parametrize("channels", [1, 2])
def test_a_recording_is_processed_in_line_with_the_original(run, tmp_path, channels):
    source = recording(tmp_path / "in.wav", channels=channels)
    result = run("process", str(source), "out.wav", "--effects", "none")
    assert result.exit_code == 0, result.output
    with wave.open(str(source)) as before, wave.open(str(tmp_path / "out.wav")) as after:
        assert after.getparams() == before.getparams()
        assert after.readframes(1 << 20) == before.readframes(1 << 20)


def test_a_recording_may_be_processed_in_place(run, tmp_path):
    source = recording(tmp_path / "in.wav")
    before = source.read_bytes()
    assert run("process", "in.wav", "in.wav", "--quiet").exit_code == 0
    assert len(source.read_bytes()) == len(before)
    assert source.read_bytes() != before
    assert [path.name for path in tmp_path.iterdir()] == ["in.wav"]


def test_a_place_that_cannot_be_written_is_exit_code_3(run, tmp_path):
    recording(tmp_path / "in.wav")
    result = run("process", "in.wav", "no/such/folder/out.wav")
    assert result.exit_code == 3
    assert "cannot be written" in result.output


def test_settings_of_the_server_may_come_as_query_as_pairs_and_as_files():
    options = server_options("loopback:?loss=0.1&jitter_ms=5", ["packet_ms=40", "retry_after=Wed, 21 Oct 2015 & more"], "a b.wav", None)
    assert (options.network.loss, options.network.jitter_ms, options.packet_ms) == (0.1, 5.0, 40)
    assert options.retry_after == "Wed, 21 Oct 2015 & more"
    assert options.speech == "a b.wav"
