"""Results of benchmarks as one Markdown page: what was asked, what came out, on which machine, and whether it is what was aimed at.

Made of the JSON files alone, so that it can be written again at any time, and of any number of runs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rtmedia.cli.benchmarks import Benchmark, pictures_of
from rtmedia.cli.files import replacing
from rtmedia.cli.terminal import clock

Result = Mapping[str, Any]
Row = Mapping[str, Any]

#: A table with more rows is folded away; one with more columns stands on its side.
_MOST_ROWS, _MOST_COLUMNS = 30, 9
_TIMES = ("p50_ns", "p99_ns", "worst_ns", "ratio")
_VERDICTS = {True: "met", False: "**missed**", None: "not measured"}
#: Of the machine's facts, those that differ from run to run.
_OF_THE_HOUR = ("load_1min",)


def write_report(path: Path, results: Path, kept: Sequence[tuple[Benchmark, Result]]) -> None:
    """Write the page; its pictures stay in `results` and are linked from there."""
    # First those that aim at something: they are what a reader has come for.
    ordered = sorted(kept, key=lambda one: not one[1].get("targets"))
    text = "\n".join(_page(path.parent, results, ordered))
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", "utf-8")


def _page(here: Path, results: Path, kept: Sequence[tuple[Benchmark, Result]]) -> Iterator[str]:
    yield "# What was measured"
    yield ""
    yield (
        "Written by `rtmedia bench`. Peers are timed in turn within one run, so that whatever else the machine does hits them "
        "all alike: compare *ratios*, and figures of one table. Nanoseconds belong to one machine and one hour."
    )
    if any(result.get("tiny") for _, result in kept):
        yield "\n**Some of these runs were made with `--tiny`: they show that the benchmarks run, and measure nothing.**"
    yield from _machine(kept)
    yield from _overview(kept)
    yield from _targets(kept)
    yield from _missing(kept)
    for one, result in kept:
        yield from _section(here, results, one, result)


def _machine(kept: Sequence[tuple[Benchmark, Result]]) -> Iterator[str]:
    facts: Result = next((result["machine"] for _, result in kept if result.get("machine")), {})
    shown = [(name, value) for name, value in facts.items() if value is not None and name not in _OF_THE_HOUR]
    if not shown:
        return
    yield "\n## The machine\n"
    yield from _table(["", ""], [[name, _cell(value)] for name, value in shown], "ll")
    loads = [float(load) for _, result in kept if (load := result.get("machine", {}).get("load_1min")) is not None]
    if loads:
        yield f"\nLoad (1 min) at the end of the runs: {min(loads):g} to {max(loads):g}; the runs themselves are part of it."


def _overview(kept: Sequence[tuple[Benchmark, Result]]) -> Iterator[str]:
    rows = []
    for one, result in kept:
        met = [target["met"] for target in result.get("targets", ())]
        took_s = result.get("run", {}).get("took_s")
        state = "**failed**" if result.get("failed") else f"{met.count(True)} of {len(met)} met" if met else ""
        rows.append([f"[`{one.name}`](#{one.name})", one.question, state, "" if took_s is None else clock(took_s)])
    yield "\n## The questions\n"
    yield from _table(["Benchmark", "Question", "Targets", "Took"], rows, "lllr")


def _targets(kept: Sequence[tuple[Benchmark, Result]]) -> Iterator[str]:
    rows = [
        [str(target["name"]), str(target["wanted"]), str(target["found"]), _VERDICTS[target["met"]], f"[`{one.name}`](#{one.name})"]
        for one, result in kept
        for target in result.get("targets", ())
    ]
    if rows:
        yield "\n## What was aimed at\n"
        yield from _table(["Figure", "Wanted", "Found", "", "From"], rows, "lrrll")


def _missing(kept: Sequence[tuple[Benchmark, Result]]) -> Iterator[str]:
    rows = [(one.name, _reasons(result.get("missing")) + _reasons(result.get("skipped"))) for one, result in kept]
    if any(reasons for _, reasons in rows):
        yield "\nWhat was left out:\n"
        for name, reasons in rows:
            if reasons:
                yield f"- `{name}`: {_escaped('; '.join(reasons))}"


def _reasons(left_out: Any) -> list[str]:
    """Names, or names and why."""
    if isinstance(left_out, Mapping):
        return [f"{name} ({why})" for name, why in left_out.items()]
    return [str(name) for name in left_out or ()]


def _section(here: Path, results: Path, one: Benchmark, result: Result) -> Iterator[str]:
    yield f"\n## {one.name}\n"
    yield f"**{one.question}**"
    if one.about:
        yield f"\n{_prose(one.about)}"
    yield f"\n{_circumstances(one, result)}"
    if result.get("failed"):
        yield f"\nThis run **failed**: {_escaped(str(result['failed']))}\n"
        yield from ("```", *map(str, result.get("log", ())), "```")
    targets = [f"{_VERDICTS[t['met']]}: {_escaped(t['name'])}, {t['found']} (wanted {t['wanted']})" for t in result.get("targets", ())]
    if targets:
        yield ""
        yield from (f"- {target}" for target in targets)
    for picture in pictures_of(one.name, results):
        yield f"\n![{one.name}]({Path(os.path.relpath(picture, here)).as_posix()})"
    for title, rows in _by_comparison(result.get("rows", ())):
        yield from _of_rows(title, rows)


def _prose(text: str) -> str:
    """A docstring's paragraphs; what is indented, an example or a table, keeps its lines."""
    blocks = []
    for paragraph in text.split("\n\n"):
        indented = any(line[:1].isspace() for line in paragraph.splitlines())
        blocks.append(f"```\n{paragraph}\n```" if indented or "====" in paragraph else " ".join(paragraph.split()))
    return "\n\n".join(blocks)


def _circumstances(one: Benchmark, result: Result) -> str:
    said = [f"`benchmarks/{one.path.name}{' --tiny' if result.get('tiny') else ''}"]
    run = result.get("run", {})
    said[0] += "".join(f" {word}" for word in run.get("arguments", ())) + "`"
    if "took_s" in run:
        said.append(clock(run["took_s"]))
    load = result.get("machine", {}).get("load_1min")
    if load is not None:
        said.append(f"load {load:g}")
    return ", ".join(said)


def _by_comparison(rows: Iterable[Row]) -> list[tuple[str, list[Row]]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(str(row.get("comparison", "")), []).append(row)
    return list(found.items())


def _of_rows(title: str, rows: Sequence[Row]) -> Iterator[str]:
    yield f"\n### {_escaped(title) or 'Figures'}\n"
    if all(set(_TIMES) <= set(row) for row in rows):
        heads, cells = _times(rows)
        marks = "l" + "r" * (len(heads) - 1)
    else:
        heads, cells, marks = _facts(rows)
    lines = list(_table(heads, cells, marks))
    if len(cells) > _MOST_ROWS:
        lines = [f"<details><summary>{len(cells)} rows</summary>\n", *lines, "\n</details>"]
    yield from lines


def _times(rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    heads = ["", "p50", "p99", "worst", "ratio"]
    shares = any(row.get("share_pct") is not None for row in rows)
    cells = []
    for row in rows:
        line = [str(row["peer"]), *(duration(row[name]) for name in _TIMES[:3]), f"{row['ratio']:.3g}"]
        share = row.get("share_pct")
        cells.append([*line, *([] if not shares else ["" if share is None else f"{share:.3g} %"])])
    return [*heads, *(["of the block"] if shares else [])], cells


def _facts(rows: Sequence[Row]) -> tuple[list[str], list[list[str]], str]:
    keys = [key for key in dict.fromkeys(key for row in rows for key in row) if key != "comparison"]
    keys = [key for key in keys if any(row.get(key) is not None for row in rows) and not any(_is_nested(row.get(key)) for row in rows)]
    if len(keys) <= _MOST_COLUMNS or len(rows) > len(keys):
        words = [any(isinstance(row.get(key), str) for row in rows) for key in keys]
        return [_head(key) for key in keys], [[_cell(row.get(key)) for key in keys] for row in rows], "".join("rl"[word] for word in words)
    # Many figures of few: they go down the page, and whose they are stands above.
    first, *others = keys
    heads = ["", *(_cell(row.get(first)) for row in rows)]
    return heads, [[_head(key), *(_cell(row.get(key)) for row in rows)] for key in others], "l" + "r" * len(rows)


def _is_nested(value: Any) -> bool:
    """A table within a cell: that is for who reads the JSON."""
    inside = list(value.values()) if isinstance(value, Mapping) else list(value) if isinstance(value, list | tuple) else []
    return any(isinstance(item, Mapping | list | tuple) for item in inside)


def _head(key: str) -> str:
    """``worst_gap_ms`` is ``worst gap, ms``: a unit at the end of a name is set off."""
    words = key.split("_")
    units = {"ms": "ms", "ns": "ns", "us": "µs", "s": "s", "pct": "%", "hz": "Hz", "mib": "MiB", "kib": "KiB", "db": "dB"}
    if len(words) > 1 and words[-1] in units:
        return f"{' '.join(words[:-1])}, {units[words[-1]]}"
    return " ".join(words) if "_" in key else key


def duration(time_ns: float) -> str:
    """Nanoseconds in the unit that suits them."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if abs(time_ns) >= size:
            return f"{_digits(time_ns / size)} {unit}"
    return f"{_digits(time_ns)} ns"


def _digits(value: float) -> str:
    """Three of them that count, and no exponent."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def _cell(value: Any) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            return str(value)
        return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{_head(str(key))} {_cell(item)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(_cell(item) for item in value)
    return str(value)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]], marks: str) -> Iterator[str]:
    """A Markdown table; `marks` says for each column ``l`` or ``r``."""
    yield f"| {' | '.join(map(_escaped, heads))} |"
    yield f"|{'|'.join({'l': '---', 'r': '---:'}[mark] for mark in marks)}|"
    for row in rows:
        yield f"| {' | '.join(map(_escaped, row))} |"


def _escaped(text: str) -> str:
    """Text for a cell: a bar would end it, an angle bracket would begin a tag."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
