"""The package as others meet it: what an import costs, what is registered, what the README promises."""

from __future__ import annotations

import configparser
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

import rtmedia
from tests.sound_server import SoundServer

ROOT = Path(__file__).parent.parent
HEAVY = ("numba", "llvmlite", "numpy", "pyaudio", "requests", "websocket", "aiohttp", "typer", "rich")
#: In README.md: ``<!-- example: NAME -->``, then a block of Python that a test runs.
EXAMPLE = re.compile(r"<!-- example: (\w+) -->\n+```python\n(.*?)```", re.DOTALL)


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", "utf-8")
    return parser


def entry_points() -> list[EntryPoint]:
    section = setup_cfg()["options.entry_points"]
    return [
        EntryPoint(*(part.strip() for part in line.split("=")), group)
        for group, lines in section.items()
        for line in lines.strip().splitlines()
    ]


def python(code: str, *arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    environment = dict(options.pop("env", os.environ)) | {"PYTHONPATH": str(ROOT)}  # type: ignore[call-overload]
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment, **options)  # type: ignore[call-overload,no-any-return]


def test_importing_rtmedia_imports_nothing_heavy() -> None:
    loaded = python("import rtmedia, sys; print(*sys.modules)", check=True).stdout.split()
    assert "rtmedia" in loaded
    assert not set(HEAVY) & set(loaded)


def test_describing_an_engine_needs_neither_a_compiler_nor_a_sound_library() -> None:
    loaded = python("import rtmedia, sys; rtmedia.Config(); print(*sys.modules)", check=True).stdout.split()
    assert not {"numba", "pyaudio", "requests", "websocket"} & set(loaded)


def test_every_public_name_can_be_had() -> None:
    assert [name for name in rtmedia.__all__ if getattr(rtmedia, name, None) is None] == []
    assert set(rtmedia.__all__) <= set(dir(rtmedia))
    with pytest.raises(AttributeError, match="no_such_name"):
        rtmedia.no_such_name  # noqa: B018


def test_the_version_is_said_once_and_the_same() -> None:
    assert setup_cfg()["metadata"]["version"] == rtmedia.__version__
    assert f"## [{rtmedia.__version__}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


@pytest.mark.parametrize("point", entry_points(), ids=lambda point: f"{point.group}:{point.name}")
def test_every_registered_name_leads_somewhere(point: EntryPoint) -> None:
    assert callable(point.load())


def test_the_type_marker_and_the_embedded_conversation_are_packaged() -> None:
    data = setup_cfg()["options.package_data"]
    for package, patterns in data.items():
        folder = ROOT / package.replace(".", "/")
        if folder.is_dir():  # a package of people's windows may be absent
            importlib.import_module(package)
            assert any(any(folder.glob(pattern.strip())) for pattern in patterns.split(",")), f"{package}: none of {patterns}"


def readme_example(name: str) -> str:
    examples = dict(EXAMPLE.findall((ROOT / "README.md").read_text("utf-8")))
    assert name in examples, f"README.md has no block marked <!-- example: {name} -->"
    return examples[name]


def test_the_readme_simulates_as_it_says(tmp_path: Path, scaled: Callable[[float], float]) -> None:
    result = python(readme_example("simulate"), cwd=tmp_path, timeout=scaled(240))
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "heard.wav").stat().st_size > 44
    assert "'concealed_pct'" in result.stdout or "concealed" in result.stdout


def test_the_readme_cleans_a_recording_as_it_says(tmp_path: Path, scaled: Callable[[float], float]) -> None:
    result = python(readme_example("process"), cwd=tmp_path, timeout=scaled(240))
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.split()) == 2


@pytest.mark.live
def test_the_readme_plays_as_it_says(tmp_path: Path, sound_server: SoundServer, scaled: Callable[[float], float]) -> None:
    pytest.importorskip("pyaudio")
    result = python(readme_example("play"), cwd=tmp_path, timeout=scaled(240), env=sound_server.env)
    assert result.returncode == 0, result.stderr
    assert "Transcript(" in result.stdout
