"""``rtmedia play``: any stream, with everything that can be set."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import parse_qsl, urlsplit

import typer

from rtmedia.cli import options as opt
from rtmedia.errors import ConfigError

_TOKENS = ("access_token", "token", "client_secret")


def play(
    context: typer.Context,
    url: Annotated[
        str, typer.Argument(metavar="URL", envvar="RTMEDIA_URL", help='wss://…, ws://… or "loopback:?loss=0.02".', show_default=False)
    ] = "loopback:",
    conversation: Annotated[
        str, typer.Option("--conversation", metavar="ID", help="Named in the subscription.", rich_help_panel=opt.CONNECTION)
    ] = "demo",
    credentials: Annotated[
        str | None,
        typer.Option(
            "--credentials",
            metavar="FILE",
            help="JSON with client_id, client_secret and environment or token_url; otherwise RTMEDIA_CLIENT_ID, "
            "RTMEDIA_CLIENT_SECRET and RTMEDIA_ENVIRONMENT or RTMEDIA_TOKEN_URL.",
            rich_help_panel=opt.CONNECTION,
        ),
    ] = None,
    token_in: Annotated[
        opt.TokenIn, typer.Option("--token-in", help="Where the token travels.", rich_help_panel=opt.CONNECTION)
    ] = opt.TokenIn.query,
    reconnect: Annotated[
        str, typer.Option("--reconnect", metavar="N|forever", help="Attempts in a row before giving up.", rich_help_panel=opt.CONNECTION)
    ] = "5",
    codec: opt.Codec = "pcm_s16le",
    rate: opt.Rate = 16_000,
    channels: opt.Channels = 1,
    header: opt.HeaderOption = opt.Header.aligned,
    sink: Annotated[
        str, typer.Option("--sink", metavar="NAME", help="portaudio, wav:FILE or null.", rich_help_panel=opt.SOUND)
    ] = "portaudio",
    device: opt.DeviceOption = None,
    effects: opt.EffectsOption = "voice-low-latency",
    bypass: opt.Bypass = "",
    gain_db: opt.GainDb = 0.0,
    lead_ms: Annotated[
        float | None,
        typer.Option(
            "--lead-ms",
            metavar="MS",
            help="Rendered sound that waits for the device; the profile's own (20 or 10) otherwise.",
            rich_help_panel=opt.SOUND,
        ),
    ] = None,
    profile: opt.ProfileOption = opt.Profile.conversation,
    min_delay_ms: opt.MinDelayMs = None,
    max_delay_ms: opt.MaxDelayMs = None,
    price_ms: opt.PriceMs = None,
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
    """Play a media stream, with captions.

    Space pauses, + and - change the volume, q or Ctrl-C ends.
    """
    refuse_tokens(url, str(getattr(context.get_parameter_source("url"), "name", "")))
    from rtmedia.cli.effects import parse_effects, parse_names
    from rtmedia.cli.listening import Listening
    from rtmedia.config import Config, Credentials, Jitter

    client = Credentials.from_file(credentials) if credentials is not None else Credentials.from_environment()
    wanted_reconnect: Any = parse_reconnect(reconnect)
    config = Config(
        source=url,
        conversation_id=conversation,
        credentials=client,
        token_in=token_in.value,
        header=header.value,
        codec=codec,
        rate_hz=rate,
        channels=channels,
        reconnect=wanted_reconnect,
        sink=sink,
        device=device,
        profile=profile.of_config,
        lead_ms=lead_ms,  # type: ignore[arg-type]  # None: the profile's
        jitter=Jitter(
            profile=profile.of_jitter,
            price_ms=price_ms,  # type: ignore[arg-type]
            min_delay_ms=min_delay_ms,  # type: ignore[arg-type]
            max_delay_ms=max_delay_ms,
            drift=drift.value,
        ),
        effects=parse_effects(effects),
        bypass=parse_names(bypass),
        gain_db=gain_db,
        capture=capture,
        realtime=opt.realtime_of(realtime, realtime_priority, lock_memory, cpus, switch_interval_ms, freeze_gc),
    )
    settings = opt.settings_of(context)
    Listening(json=json, quiet=quiet, log_level=log_level or settings.log_level, duration_s=duration, stats_json=stats_json).run(config)


def refuse_tokens(url: str, given_by: str) -> None:
    """Every user of a machine can read the arguments of its processes.

    Raises
    ------
    ConfigError
        The URL came as an argument and its query holds a token.
    """
    names = {name.lower() for name, _ in parse_qsl(urlsplit(url).query, keep_blank_values=True)}
    if given_by.upper() == "COMMANDLINE" and names & set(_TOKENS):
        raise ConfigError(
            "the URL holds a token, and arguments can be read by every user of this machine: "
            "set RTMEDIA_URL instead, or give credentials (--credentials FILE)"
        )


def parse_reconnect(text: str) -> int | str:
    """A number of attempts or ``forever``."""
    if text == "forever":
        return text
    try:
        return int(text)
    except ValueError:
        raise ConfigError(f"reconnect is {text!r}; give a number of attempts or 'forever'") from None
