"""How closely the compressor reproduces recorded output of Chromium's DynamicsCompressorNode.

Usage: ``python benchmarks/compressor_parity.py FOLDER``; the folder holds ``manifest.json`` and the ``.npz`` files it names.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.dsp.compressor import QUANTUM, Compressor
from rtmedia.ports import Format

SETTINGS = {"threshold": "threshold_db", "knee": "knee_db", "ratio": "ratio", "attack": "attack_s", "release": "release_s"}


def render(case: dict[str, Any], signal: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.float32], dict[int, float]]:
    """The output of one case, shaped like `signal`, and the meter after each quantum by frame."""
    frames = signal.shape[-1]
    whole = -(-frames // QUANTUM) * QUANTUM
    x = np.zeros((whole, case["channels"]), np.float32)
    x[:frames] = np.atleast_2d(signal).T
    settings = dict(case["params"])
    compressor = Compressor(**{SETTINGS[name]: value for name, value in settings.items()})
    made = compressor.make(Format(case["sample_rate"], case["channels"]), QUANTUM)
    changes = {change["frame"]: change for change in case.get("automation", [])}
    meter = {0: 0.0}
    for start in range(0, whole, QUANTUM):
        if start in changes:
            settings[changes[start]["param"]] = changes[start]["value"]
            made.update(tuple(settings[name] for name in SETTINGS))
        made.process(x[start : start + QUANTUM])
        meter[start + QUANTUM] = float(made.state["reduction_db"][0])
    return np.ascontiguousarray(x[:frames].T).reshape(signal.shape), meter


def compare(case: dict[str, Any], arrays: Any) -> dict[str, float]:
    """Errors of one case, relative to ``max(1, golden peak)``."""
    golden = arrays[case["output"]]
    got, meter = render(case, arrays[case["input"]])
    scale = max(1.0, float(np.abs(golden).max(initial=0.0)))
    error = got.astype(float) - golden
    marks = [(max(meter), case["final_reduction_db"]), *(case.get("reduction_db") or [])]
    return {
        "max_error": float(np.abs(error).max()) / scale,
        "rms_error": float(np.sqrt(np.mean(error**2))) / scale,
        "meter_error_db": max(abs(meter[int(frame)] - value) for frame, value in marks),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    manifest = json.loads((arguments.folder / "manifest.json").read_text("utf-8"))
    files = {name: np.load(arguments.folder / name) for name in {case["file"] for case in manifest["cases"]}}
    results = {case["id"]: compare(case, files[case["file"]]) for case in manifest["cases"]}
    worst = {key: max(result[key] for result in results.values()) for key in ("max_error", "rms_error", "meter_error_db")}
    if arguments.json:
        print(json.dumps({"worst": worst, "cases": results}, indent=1))
        return
    for name, result in results.items():
        print(f"{name:36s} max {result['max_error']:.1e}  rms {result['rms_error']:.1e}  meter {result['meter_error_db']:.1e} dB")
    exact = sum(result["max_error"] == 0 for result in results.values())
    print(f"{len(results)} cases, {exact} to the bit; worst: " + ", ".join(f"{key} {value:.1e}" for key, value in worst.items()))


if __name__ == "__main__":
    main()
