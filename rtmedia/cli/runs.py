"""Which runs a ``rtmedia simulate`` is: every trace at every price."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rtmedia.errors import ConfigError
from rtmedia.sim.names import bundle_member

if TYPE_CHECKING:
    from rtmedia.config import Config

SUFFIXES = (".csv", ".csv.gz")
PRICES_MS = (100.0, 1e6)  # as `rtmedia.config.Jitter` checks


@dataclass(frozen=True, slots=True)
class Run:
    """One simulation of several.

    Attributes
    ----------
    name : str
        Of the trace, short, and no other trace's.
    trace : str or None
        As `rtmedia.simulate` takes it; None is the network model.
    price_ms : float
        Of the jitter buffer.
    stem : str
        For the names of its files; no other run's.
    """

    name: str
    trace: str | None
    price_ms: float
    stem: str


@dataclass(frozen=True, slots=True)
class Task:
    """A run, and what is wanted of it; everything in it can be sent to another process."""

    run: Run
    config: Config
    speech: str | None = None
    seed: int | None = None
    audio: bool = True
    oracles: bool = True
    out: Path | None = None
    ticks: Path | None = None
    plot: Path | None = None


def runs_of(traces: Sequence[str], prices_ms: Sequence[float], network: str = "") -> list[Run]:
    """Every trace at every price, all traces at the first price first.

    Parameters
    ----------
    traces
        Files, folders, bundles; empty for the network model.
    network
        What the model is called: its query.

    Raises
    ------
    ConfigError
        A trace that is not there, or that no reader is known for.
    """
    found: list[tuple[str, str | None]] = list(_named(expanded(traces))) if traces else [(network or "perfect network", None)]
    runs: list[Run] = []
    stems: set[str] = set()
    for price_ms in prices_ms:
        for name, trace in found:
            wanted = _safe(name if trace is not None else "network") + (f"-{price_ms:g}" if len(prices_ms) > 1 else "")
            stem, number = wanted, 2
            while stem.lower() in stems:  # some file systems hold A and a for the same
                stem, number = f"{wanted}-{number}", number + 1
            stems.add(stem.lower())
            runs.append(Run(name, trace, price_ms, stem))
    return runs


def _safe(name: str) -> str:
    """`name` as a file may be called anywhere."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in name).strip(".") or "trace"


def parse_prices(text: str) -> list[float]:
    """``3000,10000`` as numbers, in the order given."""
    low, high = PRICES_MS
    prices_ms: list[float] = []
    for word in text.split(","):
        try:
            price_ms = float(word)
        except ValueError:
            raise ConfigError(f"--price-ms has {word.strip()!r}; give numbers of milliseconds, e.g. 3000,10000,30000") from None
        if not low <= price_ms <= high:
            raise ConfigError(f"--price-ms has {price_ms:g}; a price lies between {low:g} and {high:g} ms: the default is 10000")
        if price_ms in prices_ms:
            raise ConfigError(f"--price-ms has {price_ms:g} twice; give each price once")
        prices_ms.append(price_ms)
    return prices_ms


def expanded(given: Sequence[str]) -> list[str]:
    """Folders and bundles as the traces in them, each trace once, in the order given."""
    traces: dict[str, None] = {}
    for text in given:
        bundled = bundle_member(text)
        if text.startswith("model:"):
            from rtmedia.sim.models import trace_from_text

            trace_from_text(text)  # refused here and not by every run of it
            traces[text] = None
        elif bundled is not None:
            traces.update(dict.fromkeys(_bundled(*bundled)))
        elif Path(text).is_dir():
            traces.update(dict.fromkeys(_inside(Path(text))))
        elif not Path(text).is_file():
            raise ConfigError(f"--trace {text} does not exist; check the path")
        elif text.lower().endswith(".npz"):
            traces.update(dict.fromkeys(_bundled(text, "")))
        elif text.lower().endswith(SUFFIXES):
            traces[text] = None
        else:
            raise ConfigError(f"--trace {text} is no trace by its name; name a .csv, .csv.gz or .npz file, or a folder of them")
    return list(traces)


def _inside(folder: Path) -> list[str]:
    found = sorted(path for path in folder.rglob("*") if path.name.lower().endswith(SUFFIXES) and path.is_file())
    if not found:
        bundle = next(iter(sorted(folder.rglob("*.npz"))), None)
        hint = f"name the bundle itself: --trace {bundle}" if bundle else "name a folder that does, or a file"
        raise ConfigError(f"--trace {folder} is a folder without any *.csv or *.csv.gz; {hint}")
    return [str(path) for path in found]


def _bundled(path: str, member: str) -> list[str]:
    if not Path(path).is_file():
        raise ConfigError(f"--trace {path} does not exist; check the path")
    from rtmedia.sim.trace import read_bundle

    names = sorted(read_bundle(path))
    if member and member not in names:
        raise ConfigError(f"trace bundle {path} has no {member!r}; it has {', '.join(names)}")
    if not names:
        raise ConfigError(f"trace bundle {path} is empty; write it again with rtmedia.sim.trace.write_bundle")
    return [f"{path}:{name}" for name in ([member] if member else names)]


def _named(traces: Sequence[str]) -> list[tuple[str, str]]:
    """Each trace with its name: that of the file, and as many of its folders as it takes to tell it from the others.

    Where that does not tell them apart, the file's whole name does (``a.csv`` and ``a.csv.gz`` in one folder), or else a number
    (one file by two paths).
    """
    short = [_parts(trace) for trace in traces]
    counts = Counter(short)
    parts = [(*own[:-1], Path(trace).name) if counts[own] > 1 else own for own, trace in zip(short, traces, strict=True)]
    names: list[str] = []
    for own in parts:
        depth = next(
            (n for n in range(1, len(own)) if sum(other[-n:] == own[-n:] for other in parts) == 1),
            len(own) if parts.count(own) == 1 else 1,
        )
        wanted = "/".join(own[-depth:])
        name, number = wanted, 2
        while name in names:
            name, number = f"{wanted}-{number}", number + 1
        names.append(name)
    return list(zip(names, traces, strict=True))


def _parts(trace: str) -> tuple[str, ...]:
    if trace.startswith("model:"):
        return (trace.removeprefix("model:"),)
    bundled = bundle_member(trace)
    if bundled is not None:
        path, member = bundled
        return (*Path(path).with_suffix("").parts, member)
    name = Path(trace).name
    for suffix in reversed(SUFFIXES):
        if name.lower().endswith(suffix):
            name = name[: -len(suffix)]
            break
    return (*Path(trace).parts[:-1], name or Path(trace).name)
