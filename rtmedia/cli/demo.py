"""``rtmedia demo``: hear it, with nothing set up."""

from __future__ import annotations

from typing import Annotated

import typer

from rtmedia.cli import options as opt
from rtmedia.cli.terminal import stderr_console
from rtmedia.errors import ConfigError, SinkError

FALLBACK = "demo.wav"


def demo(
    context: typer.Context,
    network: opt.Network = "",
    sink: Annotated[
        str | None,
        typer.Option(
            "--sink",
            metavar="NAME",
            help=f"portaudio, wav:FILE or null; otherwise the sound card, or {FALLBACK} where there is none.",
            rich_help_panel=opt.SOUND,
        ),
    ] = None,
    device: opt.DeviceOption = None,
    effects: opt.EffectsOption = "voice-low-latency",
    bypass: opt.Bypass = "",
    gain_db: opt.GainDb = 0.0,
    drift: opt.DriftOption = opt.Drift.splice,
    realtime: opt.RealtimeOption = opt.Scheduling.off,
    realtime_priority: opt.RealtimePriority = opt.PRIORITY,
    lock_memory: opt.LockMemory = False,
    cpus: opt.Cpus = "",
    switch_interval_ms: opt.SwitchIntervalMs = None,
    freeze_gc: opt.FreezeGc = False,
    duration: opt.Duration = None,
    stats_json: opt.StatsJson = None,
    capture: opt.Capture = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
    log_level: opt.LogLevel = None,
) -> None:
    """Play the built-in conversation, with captions.

    A server in a second process sends 46 s of a telephone call over a WebSocket on 127.0.0.1, through the network that --network describes.
    """
    from rtmedia.cli.effects import parse_effects, parse_names
    from rtmedia.cli.listening import Listening
    from rtmedia.config import Config, Jitter
    from rtmedia.sim.options import ServerOptions

    query = network.removeprefix("loopback:").lstrip("?")
    options = ServerOptions.from_query(query)  # says at once what is wrong with it
    if options.channels != 1 or options.header != "aligned" or options.codec != "pcm_s16le":
        raise ConfigError("the demo plays mono PCM with aligned headers; for other streams say `rtmedia play 'loopback:?…' --codec …`")
    settings = opt.settings_of(context)
    listening = Listening(json=json, quiet=quiet, log_level=log_level or settings.log_level, duration_s=duration, stats_json=stats_json)
    config = Config(
        source=f"loopback:?{query}" if query else "loopback:",
        device=device,
        effects=parse_effects(effects),
        bypass=parse_names(bypass),
        gain_db=gain_db,
        jitter=Jitter(drift=drift.value),
        capture=capture,
        realtime=opt.realtime_of(realtime, realtime_priority, lock_memory, cpus, switch_interval_ms, freeze_gc),
    )
    if sink is not None:
        listening.run(config.with_(sink=sink))
        return
    try:
        _look_for_a_device(device)
        listening.run(config)
    except SinkError as exc:
        if exc.kind == "lost":  # it played and was pulled out
            raise
        if not quiet:
            reason = str(exc).partition(";")[0]
            stderr_console().print(f"no sound card ({reason}): writing {FALLBACK} instead", soft_wrap=True)
        listening.run(config.with_(sink=f"wav:{FALLBACK}", device=None))
        if not quiet:
            stderr_console().print(f"written: {FALLBACK}", soft_wrap=True)


def _look_for_a_device(wanted: str | None) -> None:
    """Raises `SinkError` where there is no sound card, before a view is opened and anything is compiled for it."""
    from rtmedia.cli.preparing import prepare

    prepare()
    from rtmedia.io.portaudio import choose_device, list_devices

    choose_device(list_devices(), wanted)
