"""Values that need no conversion do not wait for the one who converts.

typer, from the release on that has all values checked by pydantic, builds a validator for every option of a command before it calls
it, most of them for defaults: for ``rtmedia play`` that takes as long as opening the stream. A default of ours is of the right type
already, and a text that is given for a text is, too; all others go the usual way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from inspect import Parameter, signature
from typing import Any

from typer.core import TyperCommand

_TEXT = (str, str | None)


class QuickCommand(TyperCommand):
    """A command that spares what it can."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if self.callback is not None:
            spare_validators(self.get_params(ctx), self.callback)
        return super().parse_args(ctx, args)


def spare_validators(params: Iterable[Any], function: Callable[..., Any]) -> None:
    """Have those `params` of a command that need no conversion take their values as they are.

    Parameters
    ----------
    params
        Of the command that typer made of `function`, and ``--help`` and the like. Nothing happens where typer converts in another way.
    """
    wanted = signature(function, eval_str=True).parameters
    for param in params:
        if not hasattr(param, "get_runtime_param") or "process_value" in vars(param):
            continue
        if param.callback is not None or param.name not in wanted:
            param.process_value = _unless_absent(param)
        else:
            param.process_value = _quickly(param, wanted[param.name])


def _unless_absent(param: Any) -> Callable[[Any, Any], Any]:
    usual: Callable[[Any, Any], Any] = param.process_value

    def process(ctx: Any, value: Any) -> Any:
        if value is not None or param.required:
            return usual(ctx, value)
        return param.callback(ctx, param, value) if param.callback is not None else None

    return process


def _quickly(param: Any, wanted: Parameter) -> Callable[[Any, Any], Any]:
    usual: Callable[[Any, Any], Any] = param.process_value
    kind = getattr(wanted.annotation, "__origin__", wanted.annotation)  # of Annotated[kind, …]

    def process(ctx: Any, value: Any) -> Any:
        source = getattr(ctx.get_parameter_source(param.name), "name", "")
        if source == "DEFAULT" and wanted.default is not Parameter.empty:
            return wanted.default
        if kind in _TEXT and isinstance(value, str):
            return value
        return usual(ctx, value)

    return process
