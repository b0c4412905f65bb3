"""The hot kernels take no more instructions than they did: counted, not timed, wherever valgrind is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

import instructions  # noqa: E402


def test_no_hot_kernel_has_become_slower(tmp_path):
    """A finding is a quarter more than benchmarks/instructions.json has; ``benchmarks/instructions.py --update`` accepts it.

    Without valgrind: four times as long, measured against a plain filter in the same run.
    """
    kept = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "instructions.py"), "--json", str(kept)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(kept.read_text("utf-8"))
    rows = figures["rows"]
    assert all(row["kept"] is not None for row in rows), "a kernel is not in instructions.json: run benchmarks/instructions.py --update"
    assert [row for row in rows if row["too much"]] == []


def test_every_figure_that_is_kept_is_still_taken():
    kept = json.loads(instructions.KEPT.read_text("utf-8"))
    from _hot import hot_kernels

    kernels = hot_kernels(2)
    assert {hot.name for hot in kernels} == set(kept["instructions"]["x86_64"])
    assert {hot.name for hot in kernels if hot.timed} == set(kept["ratios"])


@pytest.mark.parametrize(("kept", "found", "finding"), [(1000, 1249, False), (1000, 1251, True), (20, 49, False), (20, 51, True)])
def test_a_quarter_more_is_a_finding_and_a_handful_is_not(kept, found, finding):
    assert (found > instructions.limit(kept, instructions.ALLOWED, instructions.SPARE)) is finding
