"""What works on many samples at once does so in the machine code: somebody's harmless edit can make a loop scalar, and nothing would fail.

The object of each kernel lies in the cache; ``objdump`` (binutils, which a C compiler brings) shows its instructions.
"""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
from importlib import import_module
from pathlib import Path

import pytest

#: Arithmetic on several float32 or float64 at once, and on one, by architecture.
PACKED = {
    "x86_64": re.compile(r"\tv?(?:add|sub|mul|div|max|min|sqrt|fn?m(?:add|sub)\d+)p[sd]\b"),
    "aarch64": re.compile(r"\tf(?:add|sub|mul|div|max|maxnm|min|minnm|sqrt|mla|mls)\tv\d+\.[24][sd]"),
}
CONVERTED = {"x86_64": re.compile(r"\tv?cvtdq2ps\b"), "aarch64": re.compile(r"\t[su]cvtf\tv\d+\.4s")}

#: The kernels of the audio path that go over many samples, bins or lags, and the least packed arithmetic in each: far below what there
#: is with AVX2, so that another processor or compiler does not fail.
AT_LEAST = {
    "dsp.fft": {"transform": 60, "fft_real": 6, "ifft_real": 8},
    "dsp.gate_frames": {"hop": 12},
    "dsp.suppress": {"follow_minima": 12, "follow_noise": 20, "estimate_speech": 30, "apply_gain": 20},
    "dsp.resample": {"resample": 10},
    "dsp.varispeed": {"varispeed": 8},
    "dsp.limiter": {"_take": 10, "_give": 5, "limiter_process": 40},
    "dsp.gain": {"gain_process": 1},
    "dsp.normalizer": {"normalizer_process": 10},
    "dsp.compressor_curve": {"loudest_channel": 8, "draw_curve": 40, "draw_shares": 25},
    "dsp.compressor_frames": {"draw_totals": 12, "delay_and_scale": 2},
    "dsp.lag_scan": {"dot": 5, "total_of": 3, "scan_lags": 20},
    "dsp.true_peak_meter": {"largest_true_peak": 15},
    "dsp.stretch": {"crossfade": 10},
    "codec.kernels": {"decode_s16le": 1, "decode_s16be": 1, "decode_f32le": 1},
}

#: Integers that become sound.
CONVERTERS = ("decode_s16le", "decode_s16be")

pytestmark = [
    pytest.mark.skipif(platform.machine() not in PACKED, reason="no table of instructions for this processor"),
    pytest.mark.skipif(shutil.which("objdump") is None, reason="objdump is not installed"),
]


def machine_code(module, name, folder):
    """What ``objdump`` says of a kernel: one line for each instruction."""
    kernel = getattr(import_module(f"rtmedia.{module}"), name)
    assert kernel.address
    if kernel._path is None or not Path(kernel._path).exists():
        pytest.skip("kernels cannot be kept on this disk")
    _, _, code = Path(kernel._path).read_bytes().split(b"\n", 2)
    object_file = folder / "kernel.o"
    object_file.write_bytes(code)
    done = subprocess.run(["objdump", "-d", "--no-show-raw-insn", str(object_file)], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"objdump does not read this: {done.stderr.strip()}")
    return done.stdout


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in AT_LEAST.items() for name in names])
def test_the_kernel_works_on_many_samples_at_once(module, name, tmp_path):
    code = machine_code(module, name, tmp_path)
    assert code.count("\n") > 10, "nothing was disassembled: this proves nothing"
    assert len(PACKED[platform.machine()].findall(code)) >= AT_LEAST[module][name]
    if name in CONVERTERS:
        assert CONVERTED[platform.machine()].search(code)


def test_a_loop_that_cannot_be_vectorised_is_seen_to_be_scalar(tmp_path):
    """The compressor's smoothing goes from sample to sample: were packed arithmetic found there, the test would see what is not there."""
    code = machine_code("dsp.compressor_frames", "move", tmp_path)
    assert PACKED[platform.machine()].search(code) is None
