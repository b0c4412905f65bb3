"""The kernels' cache: every edit is noticed, and no state of the disk keeps a program from starting."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rtmedia.rt import cache
from rtmedia.rt.cache import closure, closure_hash, remove_old_generations

ROOT = Path(cache.__file__).resolve().parents[2]

FILES = {
    "rtmedia/__init__.py": "",
    "rtmedia/rt/__init__.py": "",
    "rtmedia/rt/low.py": "ONE = 1\n",
    "rtmedia/rt/passed_on.py": "TWO = 2\n",
    "rtmedia/rt/alone.py": "# imports nothing\n",
    "rtmedia/dsp/__init__.py": "from rtmedia.rt.passed_on import TWO\n",
    "rtmedia/dsp/caller.py": "from rtmedia.rt.low import ONE\n",
    "rtmedia/dsp/far.py": "import numpy\nimport rtmedia.dsp.caller as caller\n",
    "rtmedia/dsp/listed.py": "from rtmedia.rt import (  # (low) is below\n    alone,\n    low as renamed,\n)\n",
    "rtmedia/dsp/inside.py": "def make():\n    from rtmedia.rt import low\n    return low\n",
    "rtmedia/dsp/relative.py": "from ..rt import low\nfrom . import caller\n",
    "rtmedia/dsp/continued.py": "from rtmedia.rt import alone, \\\n    low\n",
    "rtmedia/dsp/by_package.py": "from rtmedia.dsp import TWO\n",
    "rtmedia/dsp/circle.py": "import rtmedia.dsp.round\n",
    "rtmedia/dsp/round.py": "import rtmedia.dsp.circle, rtmedia.rt.low\n",
    "rtmedia/dsp/text.py": '"""Nothing from rtmedia.rt.low is imported here."""\n# from rtmedia.rt import low\n',
    "plugin/effects/__init__.py": "",
    "plugin/effects/gain.py": "from rtmedia.rt import low\nfrom effects.kernels import k\nimport numpy\n",
    "plugin/effects/kernels.py": "from .deeper import k\n",
    "plugin/effects/deeper.py": "k = 1\n",
    "plugin/script.py": "import beside\n",
    "plugin/beside.py": "k = 1\n",
}


@pytest.fixture
def tree(tmp_path):
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def edit(path: Path) -> None:
    status = path.stat()
    path.write_text(path.read_text() + "# edited\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))  # content decides, not the clock


@pytest.mark.parametrize("module", ["caller", "far", "listed", "inside", "relative", "continued", "circle", "round"])
def test_an_edit_in_a_callee_opens_a_new_directory_for_its_callers(tree, module):
    path = tree / f"rtmedia/dsp/{module}.py"
    before = closure_hash(path, tree)
    edit(tree / "rtmedia/rt/low.py")
    assert closure_hash(path, tree) != before


@pytest.mark.parametrize("module", ["dsp/text", "rt/alone", "dsp/by_package"])
def test_an_edit_elsewhere_changes_nothing(tree, module):
    path = tree / f"rtmedia/{module}.py"
    before = closure_hash(path, tree)
    edit(tree / "rtmedia/rt/low.py")
    assert closure_hash(path, tree) == before


def test_a_name_that_a_package_passes_on_is_followed_to_its_module(tree):
    assert tree / "rtmedia/rt/passed_on.py" in closure(tree / "rtmedia/dsp/by_package.py", tree)


@pytest.mark.parametrize(
    ("module", "callee"),
    [
        ("plugin/effects/gain.py", "plugin/effects/deeper.py"),
        ("plugin/effects/gain.py", "rtmedia/rt/low.py"),
        ("plugin/script.py", "plugin/beside.py"),
    ],
)
def test_an_edit_in_what_a_plug_in_calls_is_noticed(tree, module, callee):
    before = closure_hash(tree / module, tree)
    edit(tree / callee)
    assert closure_hash(tree / module, tree) != before


def test_an_import_that_is_added_is_followed_at_once(tree):
    path = tree / "rtmedia/rt/alone.py"
    assert closure(path, tree) == [path]
    path.write_text("from rtmedia.rt import low\n")
    assert closure(path, tree) == [path, tree / "rtmedia/rt/low.py"]


def test_two_files_that_change_places_make_another_hash(tree):
    here, there = tree / "rtmedia/rt/low.py", tree / "rtmedia/rt/passed_on.py"
    (tree / "rtmedia/rt/alone.py").write_text("from rtmedia.rt import low, passed_on\n")
    before = closure_hash(tree / "rtmedia/rt/alone.py", tree)
    texts = here.read_text(), there.read_text()
    here.write_text(texts[1])
    there.write_text(texts[0])
    assert closure_hash(tree / "rtmedia/rt/alone.py", tree) != before


def test_the_rings_depend_on_the_kernels_and_not_on_the_dsp():
    members = {path.relative_to(ROOT).as_posix() for path in closure(ROOT / "rtmedia/rt/ring.py", ROOT)}
    assert {"rtmedia/rt/ring.py", "rtmedia/rt/kernel.py", "rtmedia/rt/memory.py"} <= members
    assert not any(name.startswith("rtmedia/dsp") for name in members)


@pytest.fixture
def generations(tmp_path, monkeypatch):
    """Five generations of one module, the first the oldest, and one of another."""
    monkeypatch.setenv("RTMEDIA_CACHE_DIR", str(tmp_path))
    made = []
    for age, name in enumerate(["rt.ring-e", "rt.ring-d", "rt.ring-c", "rt.ring-b", "rt.ring-a", "rt.cell-a"]):
        path = tmp_path / "kernels" / name
        path.mkdir(parents=True)
        (path / "kernel.nbi").write_bytes(b"x")
        os.utime(path, (1_000 + age, 1_000 + age))
        made.append(path)
    return made


def test_old_generations_go_and_the_newest_of_each_module_stay(generations):
    assert remove_old_generations(keep=2) == 3
    assert [path.name for path in generations if path.exists()] == ["rt.ring-b", "rt.ring-a", "rt.cell-a"]
    assert remove_old_generations(keep=2) == 0


def test_a_generation_that_is_used_again_counts_as_new(generations, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "closure_hash", lambda path, root: "e")
    cache.kernel_cache_dir.cache_clear()
    try:
        assert cache.kernel_cache_dir(str(ROOT / "rtmedia/rt/ring.py")) == generations[0]
    finally:
        cache.kernel_cache_dir.cache_clear()
    remove_old_generations(keep=1)
    assert [path.name for path in generations if path.exists()] == ["rt.ring-e", "rt.cell-a"]


def test_cleaning_a_cache_that_is_not_there_removes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("RTMEDIA_CACHE_DIR", str(tmp_path / "nowhere"))
    assert remove_old_generations() == 0


# Whole processes. One small module with a callee, so that each compiles in about a second.

MODULE = """
from rtmedia.rt.kernel import kernel
from twice import twice

@kernel("i8(i8)")
def answer(number):
    return twice(number)

if __name__ == "__main__":
    print(answer(21), int(answer.from_cache))
"""
CALLEE = """
from rtmedia.rt.kernel import kernel

@kernel("i8(i8)")
def twice(number):
    return number * 2
"""


@pytest.fixture
def program(tmp_path):
    """Start the small program; returns the running process."""
    (tmp_path / "program.py").write_text(MODULE)
    (tmp_path / "twice.py").write_text(CALLEE)

    def start(cache_dir):
        environment = {**os.environ, "RTMEDIA_CACHE_DIR": str(cache_dir), "PYTHONPATH": str(ROOT)}
        environment.pop("NUMBA_CACHE_DIR", None)
        return subprocess.Popen(
            [sys.executable, str(tmp_path / "program.py")], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return start


def result_of(process):
    """What it answered, and whether the answer's code came from the cache."""
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    answer, hits = output.split()
    return int(answer), bool(int(hits))


def test_the_second_start_loads_what_the_first_compiled(program, tmp_path):
    assert result_of(program(tmp_path / "cache")) == (42, False)
    assert result_of(program(tmp_path / "cache")) == (42, True)


def test_an_edited_callee_is_never_run_stale(program, tmp_path):
    result_of(program(tmp_path / "cache"))
    (tmp_path / "twice.py").write_text(CALLEE.replace("* 2", "* 3"))
    assert result_of(program(tmp_path / "cache")) == (63, False)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="/proc is where even root cannot make a folder")
def test_a_place_that_cannot_be_written_means_compiling_at_each_start(program):
    assert result_of(program("/proc/nope")) == (42, False)


def test_a_file_where_the_directory_should_be_means_compiling_at_each_start(program, tmp_path):
    (tmp_path / "cache").write_text("not a directory")
    assert result_of(program(tmp_path / "cache")) == (42, False)


def cut(octets):
    return octets[:-100]


def flipped(octets):
    return octets[:-100] + bytes([octets[-100] ^ 1]) + octets[-99:]


@pytest.mark.parametrize(
    "harm", [lambda octets: b"", lambda octets: b"no kernel at all", cut, flipped], ids=["empty", "other", "cut", "flipped"]
)
def test_a_broken_file_is_never_run_and_the_start_goes_on(program, tmp_path, harm):
    """A power failure leaves files like these."""
    result_of(program(tmp_path / "cache"))
    for path in (tmp_path / "cache").rglob("*.kernel"):
        path.write_bytes(harm(path.read_bytes()))
    assert result_of(program(tmp_path / "cache")) == (42, False)
    assert result_of(program(tmp_path / "cache"))[0] == 42  # compiled and stored afresh
    assert result_of(program(tmp_path / "cache")) == (42, True)


def test_two_processes_may_warm_one_cache_at_once(program, tmp_path):
    both = [program(tmp_path / "cache") for _ in range(2)]
    assert [result_of(process)[0] for process in both] == [42, 42]
    assert result_of(program(tmp_path / "cache")) == (42, True)
