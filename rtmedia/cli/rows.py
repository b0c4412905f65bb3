"""Names and values in two columns: a table for a terminal, lines of any length for a pipe."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text


def print_rows(console: Console, rows: Iterable[tuple[str, str | Text]]) -> None:
    """Print `rows`; where there is no terminal nothing is wrapped or padded."""
    rows = list(rows)
    if not console.is_terminal:
        width = max((len(name) for name, _ in rows), default=0)
        for name, text in rows:
            for number, line in enumerate(str(text).split("\n")):
                console.print(f"{'' if number else name:<{width}}  {line}", soft_wrap=True)
        return
    table = Table.grid(padding=(0, 2), pad_edge=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(Text(name), text if isinstance(text, Text) else Text(text))
    console.print(table)
