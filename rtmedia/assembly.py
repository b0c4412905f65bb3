"""From a description to parts: what `rtmedia.config.Config` says, as rooms and a source that can be driven.

Imports happen inside the functions: the compiler and the sound library are loaded when the first engine is built.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

from rtmedia.config import SCOPES, Config, Credentials
from rtmedia.errors import ConfigError
from rtmedia.events import Event
from rtmedia.ports import TranscriptWriter
from rtmedia.units import without_query

if TYPE_CHECKING:
    from rtmedia.io.oauth import TokenProvider
    from rtmedia.io.websocket import WebSocketConnection
    from rtmedia.rooms.line import Line
    from rtmedia.rooms.receive import ReceiveRoom
    from rtmedia.sim.loopback import LoopbackServer

#: Octets of one sample, by codec; one where the codec is not listed.
SAMPLE_OCTETS = {"pcm_s16le": 2, "pcm_s16be": 2, "pcm_f32le": 4}


def load_line(config: Config) -> None:
    """Import all that `make_line` and whoever walks the line need: most of a start, and done while others wait for the network.

    Thread: any.   Real-time: no.
    """
    from rtmedia.codec import codec_named
    from rtmedia.presets import effects_of
    from rtmedia.rt.stamp import looking_once

    with looking_once():
        for name in ("line", "control", "pool"):
            import_module(f"rtmedia.rooms.{name}")
        codec_named(config.codec)
        effects_of(config.effects)


def make_line(config: Config, device_rate_hz: int) -> Line:
    """All rooms as `config` describes them, for a device of `device_rate_hz`: what both drivers drive.

    Thread: any.   Real-time: no; loads the kernels when they are not there yet.
    """
    from rtmedia.codec import codec_named
    from rtmedia.presets import effects_of
    from rtmedia.rooms.line import Line

    jitter = config.jitter
    return Line(
        rate_hz=config.rate_hz,
        channels=config.channels,
        device_rate_hz=device_rate_hz,
        codec=codec_named(config.codec),
        effects=effects_of(config.effects),
        bypass=config.bypass,
        transport="tcp" if jitter.transport == "auto" else jitter.transport,  # every source so far is a WebSocket
        profile=jitter.profile,
        price_ms=jitter.price_ms,
        min_ms=jitter.min_delay_ms,
        max_ms=jitter.limit_ms,
        start_ms=jitter.start_delay_ms,
        drift=jitter.drift,
        gain_db=config.gain_db,
        ceiling_db=config.ceiling_db,
        lead_ms=config.lead_ms,
        hold_on_pause=config.on_pause == "hold",
        hold_limit_ms=config.hold_limit_s * 1000.0,
    )


def make_source(
    config: Config,
    *,
    stopping: threading.Event,
    write_transcript: TranscriptWriter,
    emit: Callable[[Event], None],
    server: LoopbackServer | None,
) -> tuple[ReceiveRoom, TokenProvider | None]:
    """The receive room for `config`, which can connect at once and subscribes when it is told (`ReceiveRoom.go`), and who gives it tokens.

    Parameters
    ----------
    stopping
        Ends every wait of the source.
    write_transcript, emit
        Where transcripts and events go.
    server
        Started; None for a source that is not ``loopback:``.

    Raises
    ------
    ConfigError
        The protocol is unknown.
    """
    from rtmedia.io.oauth import TokenProvider
    from rtmedia.io.together import receive as share
    from rtmedia.io.websocket import WebSocketConnection
    from rtmedia.protocol.media_v1 import MediaV1
    from rtmedia.protocol.retry import Backoff
    from rtmedia.rooms.receive import ReceiveRoom

    if config.protocol != "media_v1":
        raise ConfigError(f"protocol is {config.protocol!r}; the known protocol is 'media_v1'")
    url = config.source
    credentials = config.credentials
    if server is not None:
        url = server.media_url
        credentials = Credentials(server.client_id, server.client_secret, token_url=server.token_url)
    scopes = credentials.scopes if credentials is not None else SCOPES
    uniform = random.Random().uniform
    tokens = None
    if credentials is not None:
        tokens = TokenProvider(
            credentials.url,
            credentials.client_id,
            credentials.client_secret,
            stop=stopping,
            uniform=uniform,
            authentication=credentials.authentication,
            scopes=scopes,
        )
    frame_octets = SAMPLE_OCTETS.get(config.codec, 1) * config.channels

    def connection() -> WebSocketConnection:
        return WebSocketConnection(
            url,
            token_in=config.token_in,
            handshake_timeout_s=config.handshake_timeout_s,
            ping_interval_s=config.ping_interval_s,
            pong_timeout_s=config.pong_timeout_s,
            scopes=scopes,
        )

    receive = ReceiveRoom(
        make_connection=connection,
        protocol=MediaV1(config.header, config.conversation_id, config.rate_hz, frame_octets=frame_octets),
        write_wire=None,
        write_transcript=write_transcript,
        emit=emit,
        backoff=Backoff(config.reconnect, uniform),
        tokens=tokens,
        url=without_query(url),
        octets_per_s=config.rate_hz * frame_octets,
        idle_timeout_s=config.idle_timeout_s,
        stopping=stopping,
        share=share,
    )
    return receive, tokens
