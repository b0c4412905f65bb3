"""Arrival traces: which packet came when, or never.

A trace is a CSV file, one row per packet in sequence order::

    # trace wifi_spikes
    seq,send_ms,arrival_ms
    0,0,40.00
    1,20,60.13
    2,40,

``send_ms`` is media time on the sender's clock, ``arrival_ms`` the arrival on the receiver's clock with the same
origin; an empty ``arrival_ms`` is a lost packet. Lines that start with ``#`` and empty lines are comments, the header
line may be missing, and a name that ends in ``.gz`` is compressed. A packet number without a row is a lost packet too.

A *bundle* is many traces in one ``.npz`` file: for each name the delays of a regular stream, in hundredths of a
millisecond. 20 traces of 80 to 120 s take 140 kB.
"""

from __future__ import annotations

import gzip
import math
import zipfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rtmedia.errors import ConfigError

_HEADER = "seq,send_ms,arrival_ms"
_LIMIT_MS = 1e10  # four months; keeps every time exact in nanoseconds (and finds seconds or microseconds in the wrong column)
_MAX_PACKETS = 10_000_000
_LOST = np.iinfo(np.int32).min


@dataclass(frozen=True, eq=False)
class Trace:
    """One stream's packets, in sequence order.

    Attributes
    ----------
    name : str
    seq : int64 array
        Strictly increasing, unwrapped.
    send_ms, arrival_ms : float64 arrays
        `arrival_ms` is NaN for a lost packet.
    """

    name: str
    seq: npt.NDArray[np.int64]
    send_ms: npt.NDArray[np.float64]
    arrival_ms: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        for array in (self.seq, self.send_ms, self.arrival_ms):
            array.flags.writeable = False

    def __len__(self) -> int:
        return int(self.seq.size)

    @property
    def packet_ms(self) -> float:
        """The usual distance of two packets at the sender."""
        if len(self) < 2:
            return 20.0
        return float(np.median(np.diff(self.send_ms) / np.diff(self.seq)))

    @property
    def duration_ms(self) -> float:
        """Media time from the first packet's start to the last one's end."""
        return float(self.send_ms[-1] - self.send_ms[0]) + self.packet_ms

    @property
    def lost(self) -> int:
        """Packets that never arrived, those without a row included."""
        return int(self.seq[-1] - self.seq[0]) + 1 - int(np.isfinite(self.arrival_ms).sum())


def parse_trace(text: str, name: str) -> Trace:
    """Read a trace's CSV; `name` is used where the file does not name itself.

    Raises
    ------
    ConfigError
        Names the line, what is wrong with it, and what belongs there.
    """
    rows: list[tuple[int, float, float]] = []
    for number, raw in enumerate(text.lstrip("\ufeff").split("\n"), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            words = line[1:].split()
            if len(words) == 2 and words[0] == "trace" and not rows:
                name = words[1]
            continue
        fields = [field.strip() for field in line.split(",")]
        if not rows and fields == _HEADER.split(","):
            continue
        rows.append(_row(fields, f"trace {name}, line {number}", rows[-1] if rows else None))
    if not rows:
        raise ConfigError(f"trace {name} holds no packets; its rows are {_HEADER}")
    if rows[-1][0] - rows[0][0] >= _MAX_PACKETS:
        raise ConfigError(f"trace {name} spans {rows[-1][0] - rows[0][0] + 1} packets; at most {_MAX_PACKETS} can be used: cut it")
    seq, send_ms, arrival_ms = zip(*rows, strict=True)
    return Trace(name, np.array(seq, np.int64), np.array(send_ms, np.float64), np.array(arrival_ms, np.float64))


def _row(fields: list[str], where: str, before: tuple[int, float, float] | None) -> tuple[int, float, float]:
    if len(fields) != 3:
        raise ConfigError(f"{where} has {len(fields)} columns; it needs three: {_HEADER}")
    try:
        seq = int(fields[0])
    except ValueError:
        raise ConfigError(f"{where}: seq is {fields[0]!r}; it must be a whole number") from None
    if not 0 <= seq < 2**62:
        raise ConfigError(f"{where}: seq is {seq}; it must lie between 0 and 2^62")
    send_ms = _time(fields[1], "send_ms", where)
    arrival_ms = _time(fields[2], "arrival_ms", where) if fields[2] else math.nan
    if before is not None and seq <= before[0]:
        raise ConfigError(f"{where}: seq is {seq} after {before[0]}; rows must be in sequence order, each packet once")
    if before is not None and send_ms <= before[1]:
        raise ConfigError(f"{where}: send_ms is {send_ms} after {before[1]}; it must increase")
    return seq, send_ms, arrival_ms


def _time(field: str, column: str, where: str) -> float:
    try:
        value = float(field)
    except ValueError:
        value = math.nan
    if not abs(value) <= _LIMIT_MS:
        raise ConfigError(f"{where}: {column} is {field!r}; it must be a number of milliseconds (leave arrival_ms empty for a lost packet)")
    return value


def read_trace(path: str | Path) -> Trace:
    """Read a trace file (``.csv`` or ``.csv.gz``)."""
    path = Path(path)
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        text = data.decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as exc:
        raise ConfigError(f"trace file {path} cannot be read ({exc}); check the path and the file") from exc
    return parse_trace(text, path.name.partition(".")[0])


def format_trace(trace: Trace, comments: Iterable[str] = ()) -> str:
    """A trace as CSV text, times to a microsecond."""
    lines = [f"# trace {trace.name}", *(f"# {comment}" for comment in comments), _HEADER]
    for seq, send_ms, arrival_ms in zip(trace.seq.tolist(), trace.send_ms.tolist(), trace.arrival_ms.tolist(), strict=True):
        lines.append(f"{seq},{_shortest(send_ms)},{_shortest(arrival_ms)}")
    return "\n".join(lines) + "\n"


def _shortest(time_ms: float) -> str:
    return "" if math.isnan(time_ms) else f"{time_ms:.3f}".rstrip("0").rstrip(".")


def write_trace(trace: Trace, path: str | Path, comments: Iterable[str] = ()) -> None:
    """Write a trace file; a name that ends in ``.gz`` is compressed, the same octets for the same trace."""
    path = Path(path)
    data = format_trace(trace, comments).encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def read_bundle(path: str | Path, only: str | None = None) -> dict[str, Trace]:
    """All traces of a bundle, by name; or `only` one, and none where the bundle lacks it."""
    try:
        with np.load(path) as stored:
            packet_ms = float(stored["packet_ms"])
            names = [name for name in stored.files if name != "packet_ms" and only in (None, name)]
            delays = {name: stored[name].astype(np.int64) for name in names}
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as exc:
        raise ConfigError(f"trace bundle {path} cannot be read ({exc}); check the path and the file") from exc
    bundle = {}
    for name, delay in delays.items():
        seq = np.arange(delay.size, dtype=np.int64)
        send_ms = seq * packet_ms
        # Hundredths first: the sum is then the same double that the CSV's text reads as.
        arrival_ms = np.where(delay == _LOST, np.nan, np.round(send_ms + delay / 100.0, 2))
        bundle[name] = Trace(name, seq, send_ms, arrival_ms)
    return bundle


def write_bundle(traces: Iterable[Trace], path: str | Path) -> None:
    """Write regular traces that all have the same packet length and start with packet 0 at 0 ms."""
    arrays: dict[str, npt.NDArray[np.generic]] = {}
    lengths_ms = set()
    for trace in traces:
        seq = np.arange(len(trace))
        if not (np.array_equal(trace.seq, seq) and np.allclose(trace.send_ms, seq * trace.packet_ms, rtol=0, atol=1e-6)):
            raise ConfigError(f"trace {trace.name} is not regular from packet 0 on; write it as CSV")
        lengths_ms.add(trace.packet_ms)
        delay = np.rint((trace.arrival_ms - trace.send_ms) * 100.0)
        arrays[trace.name] = np.where(np.isnan(delay), float(_LOST), delay).astype(np.int32)
    if len(lengths_ms) != 1:
        raise ConfigError(f"the traces' packets last {sorted(lengths_ms)} ms; a bundle needs one length: write several bundles")
    arrays["packet_ms"] = np.array(lengths_ms.pop())
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
