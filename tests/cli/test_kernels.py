"""Kernels are found by reading, and known to be compiled or not."""

from __future__ import annotations

import re
from pathlib import Path

import rtmedia
from rtmedia.cli.kernels import KernelModule, cold_modules, kernel_modules, load

PACKAGE = Path(rtmedia.__file__).parent


def test_every_module_with_a_kernel_is_found():
    with_kernels = {path for path in PACKAGE.rglob("*.py") if re.search(r"^@(kernel|callback)\b", path.read_text("utf-8"), re.MULTILINE)}
    modules = kernel_modules()
    assert {module.path for module in modules} == with_kernels
    assert {"rtmedia.rt.ring", "rtmedia.dsp.gate", "rtmedia.codec.kernels", "rtmedia.rooms.render"} <= {module.name for module in modules}


def test_what_others_import_comes_first():
    layers = [module.name.split(".")[1] for module in kernel_modules()]
    assert layers == sorted(layers, key=("rt", "dsp", "codec", "jitter", "rooms", "io", "sim").index)


def test_a_module_is_warm_when_every_kernel_has_its_file(tmp_path, monkeypatch):
    monkeypatch.setattr("rtmedia.cli.kernels.kernel_cache_dir", lambda source: tmp_path)
    source = tmp_path / "package" / "module.py"
    source.parent.mkdir()
    source.write_text("")
    module = KernelModule("package.module", source, 2)
    assert cold_modules([module]) == [module]
    module.folder.mkdir()
    (module.folder / "one.nbi").write_bytes(b"")
    assert not module.warm
    (module.folder / "two.nbi").write_bytes(b"")
    assert module.warm


def test_where_nothing_can_be_kept_everything_is_cold(monkeypatch):
    monkeypatch.setattr("rtmedia.cli.kernels.kernel_cache_dir", lambda source: None)
    modules = kernel_modules()
    assert cold_modules(modules) == modules


def test_loading_tells_each_name_before_it_imports():
    modules = kernel_modules()[:3]
    told = []
    load(modules, told.append)
    assert told == modules
