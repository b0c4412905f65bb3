"""Kernels are found by reading, and known to be compiled or not."""

from __future__ import annotations

import os
import re
from importlib import import_module
from pathlib import Path

import pytest

import rtmedia
from rtmedia.cli import kernels
from rtmedia.cli.kernels import KernelModule, cold_modules, compile_elsewhere, kernel_modules, load
from rtmedia.rt.cache import kernel_cache_dir
from rtmedia.rt.compiled import Kernel

PACKAGE = Path(rtmedia.__file__).parent

TWICE = """
from rtmedia.rt.kernel import kernel

@kernel("i8(i8)")
def twice(number):
    return number * 2
"""
FOUR_TIMES = """
from low import twice
from rtmedia.rt.kernel import kernel

@kernel("i8(i8)")
def four_times(number):
    return twice(twice(number))
"""


def test_every_module_with_a_kernel_is_found():
    with_kernels = {path for path in PACKAGE.rglob("*.py") if re.search(r"^@(kernel|callback)\b", path.read_text("utf-8"), re.MULTILINE)}
    modules = kernel_modules()
    assert {module.path for module in modules} == with_kernels
    some = {"rtmedia.rt.ring", "rtmedia.dsp.gate_frames", "rtmedia.codec.kernels", "rtmedia.rooms.render"}
    assert some <= {module.name for module in modules}


def test_what_others_import_comes_first():
    layers = [module.name.split(".")[1] for module in kernel_modules()]
    assert layers == sorted(layers, key=("rt", "dsp", "codec", "jitter", "rooms", "io", "sim").index)


def test_a_module_is_warm_when_every_kernel_has_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr("rtmedia.cli.kernels.kernel_cache_dir", lambda source: tmp_path)
    module = KernelModule("package.module", tmp_path / "module.py", 3, 2)  # the third is a part of its callers
    assert cold_modules([module]) == [module]
    (tmp_path / "one.kernel").write_bytes(b"")
    assert not module.warm
    (tmp_path / "two.kernel").write_bytes(b"")
    assert module.warm


def test_every_kernel_that_stands_alone_is_expected_to_have_a_file():
    for module in kernel_modules():
        made = [value for value in vars(import_module(module.name)).values() if isinstance(value, Kernel)]
        own = [value for value in made if value.py_func.__module__ == module.name]
        assert (len(own), sum(not kernel.inline for kernel in own)) == (module.kernels, module.files), module.name


def test_nothing_is_compiled_before_what_it_imports():
    modules = kernel_modules()
    needs = {module.name: needed for module, needed in kernels._needs(modules)}
    assert {"rtmedia.jitter.timeline", "rtmedia.rt.memory"} <= needs["rtmedia.jitter.buffer"]
    assert needs["rtmedia.rt.memory"] == set()
    compiled = set()
    while len(compiled) < len(needs):  # no circle
        ready = {name for name, needed in needs.items() if needed <= compiled} - compiled
        assert ready
        compiled |= ready


@pytest.fixture
def small_package(tmp_path, monkeypatch):
    """Two modules of one kernel, one of which calls the other's, and an empty cache."""
    (tmp_path / "low.py").write_text(TWICE)
    (tmp_path / "high.py").write_text(FOUR_TIMES)
    monkeypatch.setenv("RTMEDIA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(PACKAGE.parent)]))
    kernel_cache_dir.cache_clear()
    yield [KernelModule(name, tmp_path / f"{name}.py", 1, 1) for name in ("high", "low")]
    kernel_cache_dir.cache_clear()


def test_other_processes_leave_everything_warm(small_package):
    said = []
    compile_elsewhere(small_package, 2, said.append, said.append)
    assert cold_modules(small_package) == []
    assert sorted(module.name for module in said) == ["high", "high", "low", "low"]


def test_a_kernel_that_cannot_be_compiled_ends_the_others_and_is_left_to_the_importer(small_package):
    high, low = small_package
    low.path.write_text(TWICE.replace("number * 2", "number.nothing"))
    done = []
    compile_elsewhere([high, low], 2, lambda module: None, done.append)
    assert low not in done
    assert low in cold_modules(small_package)


def test_where_nothing_can_be_kept_everything_is_cold(monkeypatch):
    monkeypatch.setattr("rtmedia.cli.kernels.kernel_cache_dir", lambda source: None)
    modules = kernel_modules()
    assert cold_modules(modules) == modules


def test_loading_tells_each_name_before_it_imports():
    modules = kernel_modules()[:3]
    told = []
    load(modules, told.append)
    assert told == modules
