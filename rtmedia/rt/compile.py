"""One kernel's machine code: compiled once into an object of its own, and linked into the process.

numba links the code of everything a function calls into the function, level after level, and optimises
all of it again each time. Here a kernel ends at its own edges: what it calls is either a part of it
(`inline=True`) or an external symbol, and the object holds nothing but its one function. The object that
has just been compiled is loaded in the same way as one from the disk (`rtmedia.rt.machine`).

This module is numba's side: nothing imports it before something has to be compiled.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numba
from llvmlite import ir
from numba.core import config, dispatcher, registry, sigutils, types, typing
from numba.core.compiler import Compiler
from numba.core.compiler_lock import global_compiler_lock
from numba.core.errors import NumbaError
from numba.core.runtime import rtsys
from numba.extending import intrinsic

from rtmedia.rt import edges
from rtmedia.rt.cache import discard, kernel_cache_dir
from rtmedia.rt.signature import Array, Number, Numbers, Other, Signature


def _no_references() -> Any:
    """Reference counting that does nothing: an array in a kernel is a view that owns nothing.

    Whatever else of numba's memory manager a kernel asks for stays missing, on purpose.
    """
    module = ir.Module("no_references")
    for name in ("NRT_incref", "NRT_decref"):
        function = ir.Function(module, ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer()]), name)
        function.attributes.add("alwaysinline")
        ir.IRBuilder(function.append_basic_block()).ret_void()
    return llvm.parse_assembly(str(module))


def _bare(flags: Any) -> Any:
    """Numba's compiler up to unoptimised code: no wrappers, nothing loaded."""
    flags.no_cpython_wrapper = True
    flags.no_cfunc_wrapper = True
    flags.no_compile = True
    flags.enable_pyobject = False
    return flags


_NUMBERS = {
    types.boolean: "bool",
    types.void: "void",
    **{kind: kind.name for kind in (types.int8, types.int16, types.int32, types.int64, types.float32, types.float64)},
    **{kind: kind.name for kind in (types.uint8, types.uint16, types.uint32, types.uint64)},
}


def signature_of(text: Any) -> Any:
    """Numba's signature object; explicit results only."""
    arguments, returned = sigutils.normalize_signature(text)
    return typing.signature(returned, *arguments)


def _described(kind: Any) -> Any:
    if kind in _NUMBERS:
        return Number(_NUMBERS[kind])
    if isinstance(kind, types.Array) and kind.layout == "C" and kind.dtype in _NUMBERS:
        return Array(Number(_NUMBERS[kind.dtype]), kind.ndim)
    if isinstance(kind, types.UniTuple) and kind.dtype in _NUMBERS:  # type: ignore[attr-defined,unused-ignore]
        return Numbers(Number(_NUMBERS[kind.dtype]), kind.count)
    return Other(str(kind))


def described(given: Any) -> Signature:
    """Our description of a signature that `rtmedia.rt.signature.parse` does not understand, or that is numba's object already."""
    signature = signature_of(given)
    return Signature(_described(signature.return_type), tuple(_described(kind) for kind in signature.args))


def type_of(value: Any) -> Any:
    """What a kernel's body sees of `value`, something of numba's or for numba."""
    context = registry.cpu_target.typing_context
    context.refresh()
    registry.cpu_target.target_context.refresh()
    return context.resolve_value_type(value)


@contextmanager
def _cache_of(directory: Path | None) -> Iterator[None]:
    """Point numba's cache at `directory` for one decoration, and nobody else's.

    The setting is numba's own and process-wide, so the compiler's lock is held: two threads that import
    two modules at once must not file one module's kernels under the other's hash.
    """
    with global_compiler_lock:
        before = config.CACHE_DIR
        config.CACHE_DIR = str(directory) if directory else before
        try:
            yield
        finally:
            config.CACHE_DIR = before


def inline_dispatcher(function: Callable[..., Any], signature: Any) -> Any:
    """Numba's own function for a kernel that is part of its callers; what they take over is kept on disk.

    numba lets the disk's troubles through: a file cut short by a power failure, a full disk, a directory
    that another process removed. All of them end in one uncached compilation, after which the next start
    finds no broken file.
    """
    options = {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    directory = kernel_cache_dir(function.__code__.co_filename)
    with _cache_of(directory):
        try:
            return numba.njit(signature, cache=directory is not None, **options)(function)
        except NumbaError:
            raise  # the kernel's own fault: compiling it again would only say so again
        except Exception:
            if directory is None:
                raise
            discard(directory)
            return numba.njit(signature, **options)(function)


def compile_object(function: Callable[..., Any], signature: Any, symbol: str) -> tuple[bytes, tuple[str, ...]]:
    """Compile `function` into an object that defines `symbol`; returns it and the symbols that it needs."""
    with global_compiler_lock:
        target = registry.cpu_target
        target.typing_context.refresh()
        target.target_context.refresh()
        options = {"nopython": True, "error_model": "numpy"}
        compiler: Any = dispatcher._FunctionCompiler(function, target, options, {}, Compiler)  # type: ignore[attr-defined,unused-ignore]
        compiler._customize_flags = _bare
        result = compiler.compile(signature.args, signature.return_type)
        library = result.library
        module = library.create_ir_module(symbol)
        ways_in = edges.define(result.target_context, module, result.fndesc, signature, symbol)
        library.add_ir_module(module)
        final = library._final_module
        final.link_in(_no_references())
        for linked in dict.fromkeys(library._linking_libraries):
            if linked is not rtsys.library:
                final.link_in(linked._get_module_for_linking(), preserve=True)
        for defined in (*final.functions, *final.global_variables):
            if not defined.is_declaration and defined.name not in ways_in:
                defined.linkage = llvm.Linkage.internal
        library._optimize_final_module()
        final.verify()
        needs = tuple(found.name for found in final.functions if found.is_declaration and not found.name.startswith("llvm."))
        owned = [name for name in needs if name.startswith(("NRT_", "numba_"))]
        if owned:
            raise NumbaError(f"{function.__qualname__} allocates or asks the interpreter ({', '.join(owned)}): a kernel may do neither")
        return bytes(library.codegen._tm.emit_object(final)), needs


def python_dispatcher(function: Callable[..., Any], signature: Any, keep_gil: bool) -> Any:
    """Numba's own way from Python, for what gives back more than a number."""
    return numba.njit(signature, nogil=not keep_gil, error_model="numpy")(function)


def caller_type(function: Callable[..., Any], signature: Any, symbol: str) -> Any:
    """What numba sees where a kernel is called that stands alone: an intrinsic that calls its symbol."""

    def definition(typingctx, *arguments):  # type: ignore[no-untyped-def]
        if len(arguments) != len(signature.args):
            return None
        if any(typingctx.can_convert(given, wanted) is None for given, wanted in zip(arguments, signature.args, strict=True)):
            return None
        return signature, lambda context, builder, _, values: edges.call(context, builder, signature, symbol, values)

    names = inspect.signature(function).parameters
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    definition.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in ("typingctx", *names)])  # type: ignore[attr-defined]
    definition.__name__ = definition.__qualname__ = function.__name__
    return type_of(intrinsic(definition))
