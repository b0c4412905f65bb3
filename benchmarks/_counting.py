"""Asking callgrind to count, from compiled code: exactly the calls in question, and nothing of the interpreter around them.

A client request is a sequence of instructions that does nothing on a processor and that valgrind recognises (valgrind.h,
"Client requests"; callgrind.h for the codes). `request` is that sequence; kernels put it before and after what is counted.
"""

from __future__ import annotations

import platform
from pathlib import Path

import llvmlite.binding as llvm
import numpy as np

from rtmedia.rt.kernel import kernel
from rtmedia.rt.later import intrinsic, ir, types

_BASE = ord("C") << 24 | ord("T") << 16
TOGGLE, DUMP_AT, START = _BASE + 2, _BASE + 3, _BASE + 4

#: By architecture: the magic instructions; where the result goes, the arguments' address and the default come from; what it may change.
_SEQUENCES = {
    "x86_64": (
        "rolq $$3, %rdi; rolq $$13, %rdi; rolq $$61, %rdi; rolq $$51, %rdi; xchgq %rbx, %rbx",
        "={rdx},{rax},{rdx},~{cc},~{memory},~{dirflag},~{fpsr},~{flags}",
    ),
    "aarch64": (
        "ror x12, x12, #3; ror x12, x12, #13; ror x12, x12, #51; ror x12, x12, #61; orr x10, x10, x10",
        "={x3},{x4},{x3},~{cc},~{memory}",
    ),
}


llvm.initialize_native_target()
llvm.initialize_native_asmparser()  # which instructions written as text need


@intrinsic
def request(typingctx, words):  # type: ignore[no-untyped-def]
    """Tell valgrind what the six words at an address say. On a processor: five instructions for nothing."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        word = ir.IntType(64)
        if platform.machine() not in _SEQUENCES:
            return word(0)
        text, constraint = _SEQUENCES[platform.machine()]
        return builder.asm(ir.FunctionType(word, [word, word]), text, constraint, [args[0], word(0)], side_effect=True)

    return types.int64(types.int64), codegen


@kernel("i8(i8)")
def ask(words):
    """`request`, for Python."""
    return request(words)


def words_for(code: int, argument: int = 0) -> np.ndarray:
    """The six words of a request; keep them alive."""
    return np.array([code, argument, 0, 0, 0, 0], np.int64)


def counted(folder: Path) -> dict[str, int]:
    """Instructions by the name of each dump that callgrind has left in a folder."""
    found = {}
    for path in folder.glob("callgrind.out.*"):
        name, total = "", 0
        for line in path.read_text("utf-8", "replace").splitlines():
            if line.startswith("desc: Trigger: Client Request: "):
                name = line.removeprefix("desc: Trigger: Client Request: ")
            elif line.startswith(("totals: ", "summary: ")):
                total = int(line.split()[1])
        if name:
            found[name] = total
    return found
