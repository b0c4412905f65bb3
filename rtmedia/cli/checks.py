"""What `doctor` looks at. Each check answers with one line, and with what to do where it is not content."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import socket
import sys
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from rtmedia.cli.box import BOX
from rtmedia.cli.check import Check
from rtmedia.errors import RtmediaError, SinkError


def run_checks() -> list[Check]:
    """All of them, in order; one that breaks is itself a finding."""
    return [_looked(name, look) for name, look in CHECKS]


def _looked(name: str, look: Callable[[str], Check]) -> Check:
    try:
        return look(name)
    except RtmediaError as exc:
        return Check(name, "fail", str(exc), "see the message")
    except Exception as exc:
        return Check(name, "fail", f"the check itself broke ({type(exc).__name__}: {exc})", "report it, with this line")


def _python(name: str) -> Check:
    text = f"{platform.python_implementation()} {platform.python_version()} on {platform.system()} {platform.machine()}"
    if sys.version_info < (3, 10) or platform.python_implementation() != "CPython":
        return Check(name, "fail", text, "use CPython 3.10 or newer: numba compiles for no other")
    return Check(name, "ok", text)


def _numba(name: str) -> Check:
    try:
        import llvmlite
        import numba
        import numpy
    except ImportError as exc:
        return Check(name, "fail", f"cannot be imported ({exc})", "install rtmedia again into a fresh environment")
    if numba.config.DISABLE_JIT:
        return Check(name, "fail", "NUMBA_DISABLE_JIT is set", "unset it: the audio path must be compiled")
    return Check(name, "ok", f"numba {numba.__version__}, llvmlite {llvmlite.__version__}, numpy {numpy.__version__}")


def _kernels(name: str) -> Check:
    from rtmedia.cli.kernels import cold_modules, kernel_modules
    from rtmedia.rt.cache import cache_root, kernel_cache_dir

    root, modules = cache_root(), kernel_modules()
    if kernel_cache_dir(str(modules[0].path)) is None:
        return Check(
            name, "warn", f"{root} cannot be written: each start compiles for half a minute", "set RTMEDIA_CACHE_DIR to a writable folder"
        )
    cold = cold_modules(modules)
    if cold:
        return Check(name, "warn", f"{len(cold)} of {len(modules)} modules are not compiled yet, in {root}", "run `rtmedia warmup`")
    return Check(name, "ok", f"{sum(module.kernels for module in modules)} compiled, in {root}")


def _portaudio(name: str) -> Check:
    try:
        import pyaudio
    except ImportError as exc:
        hint = "pip install 'rtmedia[audio]' (on Debian first: apt-get install portaudio19-dev); --sink wav:FILE and null need none"
        return Check(name, "warn", f"PyAudio cannot be imported ({exc})", hint)
    from rtmedia.io.portaudio import c_library

    version = f"PyAudio {metadata.version('PyAudio')}, {pyaudio.get_portaudio_version_text().partition(',')[0]}"
    if c_library() is None:
        hint = "it works, but a busy interpreter is heard; a PyAudio that links PortAudio as a library (Linux, macOS) does better"
        return Check(name, "warn", f"{version}; no compiled callback (blocking write)", hint)
    return Check(name, "ok", f"{version}; compiled callback")


def _device(name: str) -> Check:
    from rtmedia.io.portaudio import choose_device, list_devices

    try:
        found = list_devices()
        device = choose_device(found, None)
    except SinkError as exc:
        hint = "connect one, or start a sound server; --sink wav:FILE and null need none" if exc.kind == "missing" else exc.hint
        return Check(name, "warn", str(exc).partition(";")[0], hint)
    text = f"{device.name} through {device.host_api}, {device.rate_hz} Hz, {device.low_latency_ms:.0f} ms ({len(found)} in all)"
    return (
        Check(name, "ok", text)
        if device.default
        else Check(name, "warn", f"none is the default; the first is {text}", "choose one with --device")
    )


def _sound_server(name: str) -> Check:
    if sys.platform == "win32" or sys.platform == "darwin":
        return Check(name, "ok", "the system's own")
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR") or f"/run/user/{os.getuid()}")
    pulse = os.environ.get("PULSE_SERVER", "").removeprefix("unix:")
    for what, path in (
        ("PipeWire", runtime / "pipewire-0"),
        ("PulseAudio", Path(pulse) if pulse.startswith("/") else runtime / "pulse" / "native"),
        ("PulseAudio", Path(os.environ.get("PULSE_RUNTIME_PATH") or runtime / "pulse") / "native"),
    ):
        if _answers(path):
            return Check(name, "ok", f"{what} answers at {path}")
    if pulse and not pulse.startswith("/"):
        return Check(name, "ok", "PulseAudio by PULSE_SERVER (not on this machine's sockets; not tried)")
    if Path("/proc/asound/cards").exists() and "no soundcards" not in Path("/proc/asound/cards").read_text("utf-8", "replace"):
        return Check(name, "ok", "none; ALSA has cards of its own, one program at a time may use each")
    installed = [program for program in ("pipewire", "pulseaudio") if shutil.which(program)]
    hint = f"start {installed[0]}" if installed else "install PipeWire or PulseAudio; a service needs the user's XDG_RUNTIME_DIR"
    return Check(name, "warn", f"none answers in {runtime}, and ALSA has no card", hint)


def _answers(path: Path) -> bool:
    """Whether somebody listens on the socket; a dead server leaves its file behind."""
    with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        probe.connect(str(path))
        return True
    return False


def _clock(name: str) -> Check:
    resolution_ms = time.get_clock_info("monotonic").resolution * 1e3
    late_ms = []
    for _ in range(30):
        began_ns = time.perf_counter_ns()
        time.sleep(0.001)
        late_ms.append((time.perf_counter_ns() - began_ns) / 1e6 - 1.0)
    typical_ms = sorted(late_ms)[len(late_ms) // 2]
    worst_ms = max(late_ms)
    text = f"resolution {resolution_ms * 1e3:.3g} µs; a sleep of 1 ms ends {typical_ms:.2f} ms late, at worst {worst_ms:.1f} ms"
    if typical_ms > 2.0 or worst_ms > 15.0:
        return Check(name, "warn", text, "the machine is busy or its timers are coarse: raise --lead-ms if there are underruns")
    return Check(name, "ok", text)


def _loopback(name: str) -> Check:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(1)
            port = listener.getsockname()[1]
            with socket.create_connection(("127.0.0.1", port), timeout=2.0):
                return Check(name, "ok", "127.0.0.1 can be listened on and reached")
    except OSError as exc:
        return Check(
            name, "fail", f"127.0.0.1 cannot be used ({exc.strerror or exc})", "allow loopback: `rtmedia demo` and `serve` need it"
        )


def _credentials(name: str) -> Check:
    from rtmedia.config import Credentials

    try:
        credentials = Credentials.from_environment()
    except RtmediaError as exc:
        return Check(name, "warn", str(exc).partition(";")[0], str(exc).partition(";")[2].strip())
    if credentials is None:
        return Check(name, "ok", "none in the environment (RTMEDIA_CLIENT_ID); demo and loopback need none")
    from rtmedia.units import without_query

    return Check(name, "ok", f"a client for {without_query(credentials.url)} is in the environment")


def _extras(name: str) -> Check:
    from importlib.util import find_spec

    missing = [module for module in ("soundfile", "soxr") if find_spec(module) is None]
    if missing:
        return Check(name, "ok", f"{' and '.join(missing)} not installed: files that are not WAV, or at another rate, cannot be read")
    return Check(name, "ok", "soundfile and soxr are installed")


CHECKS: tuple[tuple[str, Callable[[str], Check]], ...] = (
    ("python", _python),
    ("numba", _numba),
    ("kernels", _kernels),
    ("portaudio", _portaudio),
    ("device", _device),
    ("sound server", _sound_server),
    *BOX,
    ("clock", _clock),
    ("loopback", _loopback),
    ("credentials", _credentials),
    ("extras", _extras),
)
