"""One kernel's machine code: compiled once into an object of its own, and linked into the process.

numba links the code of everything a function calls into the function, level after level, and optimises
all of it again each time. Here a kernel ends at its own edges: what it calls is either a part of it
(`inline=True`) or an external symbol, and the object holds nothing but its one function. The object that
has just been compiled is loaded in the same way as one from the disk.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import dispatcher, registry, sigutils, typing
from numba.core.compiler import Compiler
from numba.core.compiler_lock import global_compiler_lock
from numba.core.errors import NumbaError
from numba.core.runtime import rtsys
from numba.extending import intrinsic

from rtmedia.rt import entry


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


def signature_of(text: Any) -> Any:
    """Numba's signature object; explicit results only."""
    arguments, returned = sigutils.normalize_signature(text)
    return typing.signature(returned, *arguments)


def code_model() -> str:
    """What machine code depends on beside its source."""
    return repr(registry.cpu_target.target_context.codegen().magic_tuple())


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
        ways_in = entry.define(result.target_context, module, result.fndesc, signature, symbol)
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


def link(code: bytes, symbol: str, python_symbol: str) -> tuple[int, int]:
    """Load an object; returns where C and where Python calls it. The code stays as long as the process."""
    with global_compiler_lock:
        engine = registry.cpu_target.target_context.codegen()._engine._ee
        engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        address = int(engine.get_function_address(symbol))
        llvm.add_symbol(symbol, address)
        return address, address if python_symbol == symbol else int(engine.get_function_address(python_symbol))


def can_link(needs: tuple[str, ...]) -> bool:
    """Whether the process has every symbol; one that is missing would end it."""
    return all(llvm.address_of_symbol(name) for name in needs)


def caller_type(function: Callable[..., Any], signature: Any, symbol: str) -> Any:
    """What numba sees where a kernel is called that stands alone: an intrinsic that calls its symbol."""

    def definition(typingctx, *arguments):  # type: ignore[no-untyped-def]
        if len(arguments) != len(signature.args):
            return None
        if any(typingctx.can_convert(given, wanted) is None for given, wanted in zip(arguments, signature.args, strict=True)):
            return None
        return signature, lambda context, builder, _, values: entry.call(context, builder, signature, symbol, values)

    names = inspect.signature(function).parameters
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    definition.__signature__ = inspect.Signature([inspect.Parameter(name, kind) for name in ("typingctx", *names)])  # type: ignore[attr-defined]
    definition.__name__ = definition.__qualname__ = function.__name__
    made = intrinsic(definition)
    context = registry.cpu_target.typing_context
    context.refresh()
    return context.resolve_value_type(made)
