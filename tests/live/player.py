"""One engine in a process of its own, watched from inside; `play` starts it from a test and brings back what it saw.

The child is told by one JSON object what to play, for how long and under which hostility, and answers with its
statistics, its events, and every record of its telemetry: blocks made, calls of the device, packets' ways.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
CALM_DEVICE_MS = 25.0  # it asks every 10 ms and has 30 ms in hand
CALM_ARRIVALS_MS = 35.0


@dataclass
class Played:
    """What the child saw.

    Attributes
    ----------
    stats
        `rtmedia.Stats.as_dict` after the end.
    ticks, marks, packets
        Records of `rtmedia.rooms.doorways`: one a block, one a call of the device, one a packet heard.
    events
        As dictionaries, with their ``kind``.
    facts
        Chain latency, how long the stop took, the hostility's own figures, and what else the child measured.
    exit_s
        From the call of `stop` until the process had gone.
    """

    stats: dict[str, Any]
    ticks: Any
    marks: Any
    packets: Any
    events: list[dict[str, Any]]
    facts: dict[str, Any] = field(default_factory=dict)
    exit_s: float = 0.0


def play(
    environ: dict[str, str],
    folder: Path,
    *,
    seconds: float,
    hostility: dict[str, Any] | None = None,
    hostile_after_s: float = 1.0,
    freeze: int | str = 0,
    listen: bool = True,
    server_first: bool = False,
    timeout_s: float = 60.0,
    **config: Any,
) -> Played:
    """Play in a child process.

    Parameters
    ----------
    environ, folder
        The child's environment (`SoundServer.env`), and where it leaves its answer.
    seconds
        From the start of the engine until `stop` is called.
    hostility, hostile_after_s
        Arguments of `tests.live.hostility.Hostility`, and when it begins.
    freeze
        A process that is frozen 0.3 s before the stop: its number, or ``"server"`` for the engine's loopback server.
    listen
        Whether anybody reads the engine's events.
    server_first
        Whether the engine's loopback server runs before everybody else (`tests.live.hostility.put_first`).
    config
        Of ``rtmedia.Config``; ``jitter`` and ``realtime`` may be dictionaries.
    """
    request = {
        "config": {"metrics_interval_s": 0, **config},
        "seconds": seconds,
        "hostility": hostility or {},
        "hostile_after_s": hostile_after_s,
        "freeze": freeze,
        "listen": listen,
        "server_first": server_first,
    }
    answer = folder / "answer"
    child = subprocess.run(
        [sys.executable, "-m", "tests.live.player", json.dumps(request), str(answer)],
        env=environ,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )
    if child.returncode != 0:
        raise AssertionError(f"the player ended with {child.returncode}:\n{child.stderr[-4000:]}")
    gone_s = time.monotonic()
    played = read(answer)
    played.exit_s = gone_s - played.facts["stopping_at_s"]
    return played


def read(answer: Path) -> Played:
    """What a child has left in ``ANSWER.json`` and ``ANSWER.npz``."""
    said = json.loads(answer.with_suffix(".json").read_text("utf-8"))
    with np.load(answer.with_suffix(".npz")) as records:
        return Played(said["stats"], records["ticks"], records["marks"], records["packets"], said["events"], said["facts"])


Result = TypeVar("Result")


def longest_device_wait_ms(played: Played) -> float:
    """The longest time between two calls of the device, past its first ones. No engine can make a device late."""
    return float(np.diff(played.marks["time_ns"][10:-2]).max(initial=0) / 1e6)


def arrival_spread_ms(played: Played) -> float:
    """By how much packets that were sent at an even pace came unevenly, before any room but receive has seen them."""
    transit_ms = played.packets["arrival_ns"] / 1e6 - played.packets["media_pos"] * 1000.0 / played.facts["rate_hz"]
    return float(np.ptp(transit_ms)) if len(transit_ms) else 0.0


def on_a_calm_machine(run: Callable[[], Result], played: Callable[[Result], Played], *, even_arrivals: bool = False) -> Result:
    """The first of three runs that the machine did not disturb, or the last.

    A machine whose cores others take away keeps even the device's own thread waiting, and the sound server then plays
    silence, whoever plays. What tells is how the device called and, with `even_arrivals`, how packets arrived: never what is
    asserted afterwards, so that a fault which shows in one run of three is not run away from.
    """
    for _ in range(3):
        result = run()
        one = played(result)
        if longest_device_wait_ms(one) < CALM_DEVICE_MS and not (even_arrivals and arrival_spread_ms(one) > CALM_ARRIVALS_MS):
            break
    return result


def main(request: dict[str, Any], answer: Path) -> None:
    import rtmedia
    from rtmedia.config import Jitter
    from rtmedia.engine import Engine
    from rtmedia.rooms.doorways import LEDGER_DTYPE, MARK_DTYPE, TICK_DTYPE
    from tests.live.hostility import Hostility, put_first

    taken: dict[str, list[Any]] = {"ticks": [], "marks": [], "packets": []}

    class Watched(Engine):
        """Keeps a copy of all telemetry before anybody has read it."""

        def _build(self) -> None:
            super()._build()
            assert self._control is not None
            self._control.keep_ticks = taken["ticks"]
            ledger = self._control.ledger
            add_calls, add_packets = ledger.add_calls, ledger.add_packets

            def calls(marks: Any) -> None:
                taken["marks"].append(marks.copy())
                add_calls(marks)

            def packets(records: Any) -> None:
                taken["packets"].append(records.copy())
                add_packets(records)

            ledger.add_calls, ledger.add_packets = calls, packets  # type: ignore[method-assign]

    settings = dict(request["config"])
    if "jitter" in settings:
        settings["jitter"] = Jitter(**settings["jitter"])
    if "effects" in settings:
        settings["effects"] = tuple(settings["effects"])
    if "realtime" in settings:
        settings["realtime"] = rtmedia.Realtime(**settings["realtime"])
    events: list[dict[str, Any]] = []
    facts: dict[str, Any] = {}

    def listen(engine: Engine) -> None:
        for event in engine.events():
            values = {name: getattr(event, name) for name in type(event).__dataclass_fields__}
            events.append({"kind": type(event).__name__, **values})

    hostility = Hostility(**request["hostility"])
    began = time.monotonic()
    engine = Watched(rtmedia.Config(**settings))
    with engine:
        facts["start_s"] = time.monotonic() - began
        listener = threading.Thread(target=listen, args=(engine,), daemon=True)
        if request["listen"]:
            listener.start()
        line = engine._line
        assert line is not None
        facts.update(
            chain_latency_frames=line.chain_latency_frames,
            effects=len(line.effects),
            rate_hz=line.rate_hz,
            device_rate_hz=line.device_rate_hz,
            resampler_delay_frames=line.resampler.delay_frames,
        )
        if request["server_first"] and engine._server is not None:
            facts["server_first"] = put_first(engine._server.pid or 0)
        deadline = time.monotonic() + request["seconds"]
        if request["hostility"]:
            engine.wait(request["hostile_after_s"])
            if hostility.stop_ms and engine._server is not None:
                hostility.pid = engine._server.pid or 0
            hostility.begin()
        engine.wait(max(0.0, deadline - time.monotonic()))
        hostility.end()
        frozen = engine._server.pid if request["freeze"] == "server" and engine._server is not None else request["freeze"]
        if frozen:
            os.kill(frozen, signal.SIGSTOP)
            engine.wait(0.3)
        facts["lead_frames"] = line.render.lead.frames
        facts["largest_call_frames"] = int(line.play.cell.read()[3])
        facts["stopping_at_s"] = time.monotonic()
    facts["stop_s"] = time.monotonic() - facts["stopping_at_s"]
    if request["listen"]:
        listener.join(1.0)
    facts.update(longest_python_ms=hostility.longest_ms, holds=hostility.holds, left_behind=engine._left_behind)
    facts["allocated_mib"] = hostility.allocated_mib
    facts["threads"] = sorted(thread.name for thread in threading.enumerate() if thread.name.startswith("rtm"))
    said = {"stats": engine.stats().as_dict(), "events": events, "facts": facts}
    answer.with_suffix(".json").write_text(json.dumps(said), "utf-8")
    kinds = {"ticks": TICK_DTYPE, "marks": MARK_DTYPE, "packets": LEDGER_DTYPE}
    np.savez(answer.with_suffix(".npz"), **{name: np.concatenate([np.zeros(0, kinds[name]), *taken[name]]) for name in kinds})


if __name__ == "__main__":
    usual = {"hostility": {}, "hostile_after_s": 1.0, "freeze": 0, "listen": True, "server_first": False}
    main(usual | json.loads(sys.argv[1]), Path(sys.argv[2]))
