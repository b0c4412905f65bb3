"""Every benchmark runs, once and tiny, so that none can rot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
BENCHMARKS = sorted(path for path in (ROOT / "benchmarks").glob("*.py") if not path.name.startswith("_"))


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_the_benchmark_runs_and_keeps_its_numbers(path, tmp_path):
    kept = tmp_path / "numbers.json"
    drawing = ["--plot", str(tmp_path)] if find_spec("matplotlib") else []
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, str(path), "--tiny", "--json", str(kept), *drawing],
        cwd=tmp_path,  # a benchmark finds its own files, wherever it is started
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    result = json.loads(kept.read_text("utf-8"))
    assert {"question", "machine", "rows"} <= set(result)
    assert result["rows"]
    # By these names `rtmedia bench` finds them, and no other benchmark's.
    pictures = [picture.stem for picture in tmp_path.glob("*.png")]
    assert all(name == path.stem or name.startswith(f"{path.stem}-") for name in pictures), pictures
