"""The benchmarks of this layer, once and tiny, so that they cannot rot."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


def load(name):
    spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("rate_hz", [16_000, 48_000])
def test_the_kernels_benchmark_reports_every_candidate(rate_hz, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["dsp_kernels.py", "--rate", str(rate_hz), "--blocks", "3", "--json"])
    load("dsp_kernels").main()
    results = json.loads(capsys.readouterr().out)["results"]
    assert {"copy", "gain", "limiter", "compressor", "gate", "chain", "level"} <= set(results)
    assert all(result["p50_us"] > 0 for result in results.values())


def test_the_parity_benchmark_reports_the_worst_case(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["compressor_parity.py", str(BENCHMARKS.parent / "tests" / "data" / "compressor"), "--json"])
    load("compressor_parity").main()
    assert json.loads(capsys.readouterr().out)["worst"]["max_error"] < 2e-5
