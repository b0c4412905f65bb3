"""How closely does the compressor reproduce recorded output of Chromium's DynamicsCompressorNode?

Without a folder: the recordings that the tests use. A folder holds ``manifest.json`` and the ``.npz`` files it names.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rtmedia.dsp.compressor import Compressor
from rtmedia.dsp.compressor_frames import QUANTUM
from rtmedia.ports import Format

RECORDINGS = Path(__file__).resolve().parents[1] / "tests" / "data" / "compressor"
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
    from _bench import parser_for, report  # here: the tests load this file for `compare`, without its folder

    parser = parser_for(__doc__ or "")
    parser.add_argument("folder", type=Path, nargs="?", default=RECORDINGS)
    asked = parser.parse_args()
    cases = json.loads((asked.folder / "manifest.json").read_text("utf-8"))["cases"]
    cases = cases[:3] if asked.tiny else cases
    files = {name: np.load(asked.folder / name) for name in {case["file"] for case in cases}}
    rows = [{"case": case["id"], **compare(case, files[case["file"]])} for case in cases]
    worst = {key: max(row[key] for row in rows) for key in rows[0] if key != "case"}
    exact = sum(row["max_error"] == 0 for row in rows)
    summary = {"cases": len(rows), "exact_to_the_bit": exact, **{f"worst_{key}": value for key, value in worst.items()}}
    report(__doc__ or "", [], asked, {"errors, relative to the larger of 1 and the recorded peak": rows, "all": [summary]})


if __name__ == "__main__":
    main()
