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

A sender that pauses, or changes the length of its packets, has a ``send_ms`` that jumps or changes its step; a fourth
column, ``length_ms``, then says how much media each packet holds (without it: the usual distance of two packets, or
less where the next one comes sooner)::

    seq,send_ms,arrival_ms,length_ms
    0,0,40.00,20
    1,20,60.13,20
    2,500,541.7,60

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
_LONG_HEADER = f"{_HEADER},length_ms"
_Row = tuple[int, float, float, float]
_LIMIT_MS = 1e10  # four months; keeps every time exact in nanoseconds (and finds seconds or microseconds in the wrong column)
_LONGEST_MS = 86_400_000.0  # a day: a simulation takes as long as its times say, and one in microseconds would take for ever
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
    length_ms : float64 array or None
        Media in each packet; None where nobody said.
    """

    name: str
    seq: npt.NDArray[np.int64]
    send_ms: npt.NDArray[np.float64]
    arrival_ms: npt.NDArray[np.float64]
    length_ms: npt.NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        for array in (self.seq, self.send_ms, self.arrival_ms, self.length_ms):
            if array is not None:
                array.flags.writeable = False

    def __len__(self) -> int:
        return int(self.seq.size)

    @property
    def packet_ms(self) -> float:
        """The usual distance of two packets at the sender."""
        if len(self) < 2:
            return 20.0 if self.length_ms is None else float(self.length_ms[0])
        return float(np.median(np.diff(self.send_ms) / np.diff(self.seq)))

    @property
    def duration_ms(self) -> float:
        """Media time from the first packet's start to the last one's end."""
        return float(self.send_ms[-1] - self.send_ms[0]) + (self.packet_ms if self.length_ms is None else float(self.length_ms[-1]))

    @property
    def regular(self) -> bool:
        """Whether each packet lies where its number says, to less than half a packet: no pauses, one packet length."""
        packet_ms = self.packet_ms
        if self.length_ms is not None and np.any(self.length_ms != packet_ms):
            return False
        place_ms = (self.seq - self.seq[0]) * packet_ms
        return bool(np.all(np.abs(self.send_ms - self.send_ms[0] - place_ms) < packet_ms / 2.0))

    def timeline(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Begin and length in whole ms, on the sender's clock from 0, of *every* packet, those without a row included.

        A packet without a row is as long as the one before it, and follows it.
        """
        row = self.seq - self.seq[0]
        packets = int(row[-1]) + 1
        if self.regular:
            length = np.full(packets, round(self.packet_ms), np.int64)
            return np.arange(packets, dtype=np.int64) * length, length
        begin = np.rint(self.send_ms - self.send_ms[0]).astype(np.int64)
        if self.length_ms is not None:
            length = np.rint(self.length_ms).astype(np.int64)
        else:
            step = np.append(np.diff(begin) // np.diff(row), round(self.packet_ms))
            length = np.minimum(step, round(self.packet_ms))
        whole = np.zeros(packets, np.int64)
        whole[row] = 1
        last = np.cumsum(whole) - 1  # of each packet: the newest row
        missing = np.arange(packets) - row[last]
        return begin[last] + missing * length[last], length[last]

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
    rows: list[_Row] = []
    columns = _HEADER
    for number, raw in enumerate(text.lstrip("\ufeff").split("\n"), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            words = line[1:].split()
            if len(words) == 2 and words[0] == "trace" and not rows:
                name = words[1]
            continue
        fields = [field.strip() for field in line.split(",")]
        if not rows and fields in (_HEADER.split(","), _LONG_HEADER.split(",")):
            columns = ",".join(fields)
            continue
        if not rows and len(fields) == 4:
            columns = _LONG_HEADER
        where = f"trace {name}, line {number}"
        rows.append(_row(fields, columns, where, rows[-1] if rows else None))
        for column, time_ms in zip(("send_ms", "arrival_ms"), rows[-1][1:3], strict=True):
            if abs(time_ms - rows[0][1]) > _LONGEST_MS:
                raise ConfigError(
                    f"{where}: {column} is {time_ms}, more than 24 h from the first send_ms, {rows[0][1]}; "
                    "give milliseconds from one origin, and cut a longer trace"
                )
    if not rows:
        raise ConfigError(f"trace {name} holds no packets; its rows are {_HEADER}")
    if rows[-1][0] - rows[0][0] >= _MAX_PACKETS:
        raise ConfigError(f"trace {name} spans {rows[-1][0] - rows[0][0] + 1} packets; at most {_MAX_PACKETS} can be used: cut it")
    seq, send_ms, arrival_ms, length_ms = zip(*rows, strict=True)
    lengths = np.array(length_ms, np.float64) if columns == _LONG_HEADER else None
    return Trace(name, np.array(seq, np.int64), np.array(send_ms, np.float64), np.array(arrival_ms, np.float64), lengths)


def _row(fields: list[str], columns: str, where: str, before: _Row | None) -> _Row:
    wanted = columns.count(",") + 1
    if len(fields) != wanted:
        raise ConfigError(f"{where} has {len(fields)} columns; it needs {wanted}: {columns}")
    try:
        seq = int(fields[0])
    except ValueError:
        raise ConfigError(f"{where}: seq is {fields[0]!r}; it must be a whole number") from None
    if not 0 <= seq < 2**62:
        raise ConfigError(f"{where}: seq is {seq}; it must lie between 0 and 2^62")
    send_ms = _time(fields[1], "send_ms", where)
    arrival_ms = _time(fields[2], "arrival_ms", where) if fields[2] else math.nan
    length_ms = _time(fields[3], "length_ms", where) if wanted == 4 else math.nan
    if wanted == 4 and length_ms <= 0:
        raise ConfigError(f"{where}: length_ms is {length_ms}; a packet holds more than nothing")
    if before is not None and seq <= before[0]:
        raise ConfigError(f"{where}: seq is {seq} after {before[0]}; rows must be in sequence order, each packet once")
    if before is not None and send_ms <= before[1]:
        raise ConfigError(f"{where}: send_ms is {send_ms} after {before[1]}; it must increase")
    return seq, send_ms, arrival_ms, length_ms


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
        data = gzip.decompress(path.read_bytes()) if path.suffix.lower() == ".gz" else path.read_bytes()
        text = data.decode("utf-8")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as exc:
        raise ConfigError(f"trace file {path} cannot be read ({exc}); check the path and the file") from exc
    return parse_trace(text, path.name.partition(".")[0])


def format_trace(trace: Trace, comments: Iterable[str] = ()) -> str:
    """A trace as CSV text, times to a microsecond."""
    columns = [trace.seq.tolist(), *([_shortest(time_ms) for time_ms in times.tolist()] for times in (trace.send_ms, trace.arrival_ms))]
    if trace.length_ms is not None:
        columns.append([_shortest(length_ms) for length_ms in trace.length_ms.tolist()])
    lines = [f"# trace {trace.name}", *(f"# {comment}" for comment in comments), _HEADER if trace.length_ms is None else _LONG_HEADER]
    lines += [",".join(map(str, row)) for row in zip(*columns, strict=True)]
    return "\n".join(lines) + "\n"


def _shortest(time_ms: float) -> str:
    return "" if math.isnan(time_ms) else f"{time_ms:.3f}".rstrip("0").rstrip(".")


def write_trace(trace: Trace, path: str | Path, comments: Iterable[str] = ()) -> None:
    """Write a trace file; a name that ends in ``.gz`` is compressed, the same octets for the same trace."""
    path = Path(path)
    data = format_trace(trace, comments).encode()
    path.write_bytes(gzip.compress(data, mtime=0) if path.suffix.lower() == ".gz" else data)


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
        placed = np.array_equal(trace.seq, seq) and np.allclose(trace.send_ms, seq * trace.packet_ms, rtol=0, atol=1e-6)
        if not placed or trace.length_ms is not None:
            raise ConfigError(f"trace {trace.name} is not regular from packet 0 on; write it as CSV")
        lengths_ms.add(trace.packet_ms)
        delay = np.rint((trace.arrival_ms - trace.send_ms) * 100.0)
        arrays[trace.name] = np.where(np.isnan(delay), float(_LOST), delay).astype(np.int32)
    if len(lengths_ms) != 1:
        raise ConfigError(f"the traces' packets last {sorted(lengths_ms)} ms; a bundle needs one length: write several bundles")
    arrays["packet_ms"] = np.array(lengths_ms.pop())
    np.savez_compressed(path, **arrays)  # type: ignore[arg-type]
