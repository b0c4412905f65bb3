"""The shape of the code, checked by machine: which module may know which, and what a kernel may say."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "rtmedia"
BELOW_ROOMS = ("protocol", "codec", "jitter", "dsp")
#: numpy's array constructors: memory is made at open, never in a kernel.
CONSTRUCTORS = {
    "empty",
    "zeros",
    "ones",
    "full",
    "arange",
    "linspace",
    "array",
    "copy",
    "concatenate",
    "empty_like",
    "zeros_like",
    "ones_like",
}
#: Python that numba would compile into an allocation, a lock of the interpreter's, or an exception.
FORBIDDEN = (
    *(ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp),
    *(ast.JoinedStr, ast.Raise, ast.Assert, ast.Try, ast.With, ast.Lambda, ast.Yield, ast.Import, ast.ImportFrom),
)


def sources(*folders: str) -> list[Path]:
    return sorted(path for folder in folders or ("",) for path in (PACKAGE / folder).rglob("*.py"))


def decorators(function: ast.FunctionDef) -> set[str]:
    calls = (item.func if isinstance(item, ast.Call) else item for item in function.decorator_list)
    return {call.id for call in calls if isinstance(call, ast.Name)}


def kernels(path: Path) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef) and decorators(node) & {"kernel", "callback"}:
            yield node


def offences(function: ast.FunctionDef) -> Iterator[str]:
    for statement in function.body:
        for node in ast.walk(statement):
            if isinstance(node, FORBIDDEN):
                yield f"line {node.lineno}: {type(node).__name__}"
            elif isinstance(node, ast.Call):
                called = node.func
                if isinstance(called, ast.Name) and called.id in ("print", "list", "dict", "set", "str", "open"):
                    yield f"line {node.lineno}: {called.id}()"
                elif isinstance(called, ast.Attribute) and ast.unparse(called.value) == "np" and called.attr in CONSTRUCTORS:
                    yield f"line {node.lineno}: np.{called.attr}()"


def test_imports_point_down() -> None:
    pytest.importorskip("importlinter")
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    result = subprocess.run([sys.executable, "-c", command, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout[result.stdout.find("Broken contracts") :] + result.stderr


@pytest.mark.parametrize("path", [path for path in sources() if any(kernels(path))], ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_kernel_allocates_raises_or_prints(path: Path) -> None:
    found = [f"{function.name}, {offence}" for function in kernels(path) for offence in offences(function)]
    assert not found


def test_the_kernel_rule_sees_what_it_forbids() -> None:
    bad = ast.parse("@kernel('f8(f8)')\ndef f(x):\n    a = np.zeros(3)\n    b = [x for _ in a]\n    raise ValueError\n")
    (function,) = (node for node in bad.body if isinstance(node, ast.FunctionDef))
    assert len(list(offences(function))) == 3


@pytest.mark.parametrize("path", sources(*BELOW_ROOMS), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_below_the_rooms_nothing_is_random(path: Path) -> None:
    names = {node.attr for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Attribute)}
    assert not names & {"random", "default_rng", "urandom", "getpid"}
