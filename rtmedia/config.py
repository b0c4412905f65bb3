"""The description of an engine: frozen values, checked once, with no running part."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from rtmedia.errors import ConfigError
from rtmedia.ports import RATES_HZ, Effect
from rtmedia.presets import check_bypass, check_effects, names_of
from rtmedia.realtime import Realtime
from rtmedia.units import without_query

#: What the media API asks for (both are needed).
SCOPES = ("media:streaming:read", "platform:media:streaming")

#: Named sets of defaults: what a setting is that nobody gave; those but the first are of `Jitter`.
PROFILES: dict[str, dict[str, float]] = {
    # 20 ms of rendered sound survive a machine that is late by a block; 10 ms of target a sender that stamps late.
    "default": {"lead_ms": 20.0, "price_ms": 10_000.0, "min_delay_ms": 10.0, "start_delay_ms": 20.0},
    # One block: render has the 10 ms between two calls to make the next. Packets may come 5 ms late before that is heard, and
    # a late one now and then is no reason to be late all the time.
    "kiosk-low": {"lead_ms": 10.0, "price_ms": 3_000.0, "min_delay_ms": 5.0, "start_delay_ms": 5.0},
}

#: What the limiter can be set to, as `rtmedia.dsp.limiter` has it: known without loading it.
CEILING_DB = (-40.0, 0.0)


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True, slots=True)
class Credentials:
    """An OAuth 2.0 client (RFC 6749 section 4.4). The secret never appears in a repr.

    Parameters
    ----------
    client_id, client_secret
        From the identity provider.
    environment
        Names the token URL ``https://{environment}.mygenesys.cloud/oauth/token``.
    token_url
        Any other token URL; wins over `environment`.
    authentication
        ``"body"`` sends the client in the form, ``"basic"`` in an HTTP Basic header.
    scopes
        Asked for in the request.
    """

    client_id: str
    client_secret: str = field(repr=False)
    environment: str = ""
    token_url: str = ""
    authentication: Literal["body", "basic"] = "body"
    scopes: tuple[str, ...] = SCOPES

    def __post_init__(self) -> None:
        _check(bool(self.client_id), "client_id is empty; set RTMEDIA_CLIENT_ID or give it in the credentials file")
        _check(bool(self.client_secret), "client_secret is empty; set RTMEDIA_CLIENT_SECRET or give it in the credentials file")
        _check(
            bool(self.environment or self.token_url),
            "neither environment nor token_url is set; set RTMEDIA_ENVIRONMENT or RTMEDIA_TOKEN_URL",
        )
        _check(
            self.authentication in ("body", "basic"),
            f"authentication is {self.authentication!r}; it must be 'body' or 'basic'",
        )

    @property
    def url(self) -> str:
        """Where tokens are fetched."""
        return self.token_url or f"https://{self.environment}.mygenesys.cloud/oauth/token"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Credentials | None:
        """Read ``RTMEDIA_CLIENT_ID``, ``_CLIENT_SECRET``, ``_ENVIRONMENT``, ``_TOKEN_URL``, ``_OAUTH_AUTHENTICATION``.

        Returns
        -------
        Credentials or None
            None where no client id is set.
        """
        if not environ.get("RTMEDIA_CLIENT_ID"):
            return None
        return cls(
            client_id=environ["RTMEDIA_CLIENT_ID"],
            client_secret=environ.get("RTMEDIA_CLIENT_SECRET", ""),
            environment=environ.get("RTMEDIA_ENVIRONMENT", ""),
            token_url=environ.get("RTMEDIA_TOKEN_URL", ""),
            authentication=environ.get("RTMEDIA_OAUTH_AUTHENTICATION", "body"),  # type: ignore[arg-type]
        )

    @classmethod
    def from_file(cls, path: str | Path) -> Credentials:
        """Read a JSON object with the same names as the parameters."""
        try:
            data = json.loads(Path(path).read_text("utf-8"))
        except OSError as exc:
            raise ConfigError(f"credentials file {path} cannot be read ({exc.strerror}); check the path") from exc
        except ValueError as exc:
            # `from None`: the decoder's exception carries the document, and so the secret.
            raise ConfigError(f"credentials file {path} is not JSON (line {getattr(exc, 'lineno', '?')}); write one object") from None
        known = {item.name for item in fields(cls)}
        if not isinstance(data, dict) or not set(data) <= known:
            wrong = sorted(set(data) - known) if isinstance(data, dict) else type(data).__name__
            raise ConfigError(f"credentials file {path} holds {wrong}; the keys are {sorted(known)}")
        if "scopes" in data:
            scopes = data["scopes"]  # a list, or one text with spaces as in RFC 6749 section 3.3
            data["scopes"] = tuple(scopes.split() if isinstance(scopes, str) else scopes)
        data.setdefault("client_id", "")
        data.setdefault("client_secret", "")
        return cls(**data)


@dataclass(frozen=True, slots=True)
class Jitter:
    """The jitter buffer's settings.

    Parameters
    ----------
    profile
        ``"conversation"`` (at most 1.5 s behind; a longer stall's backlog is skipped) or ``"listening"`` (every word is played,
        up to 20 s behind; the delay is then worked off by faster speech). After a stall of 3 s the first skips 2.9 s of
        words, the second none; on networks without such stalls both are the same.
    transport
        ``"tcp"`` (in order, nothing lost, stalls) or ``"udp"``; ``"auto"``: the source says. With 3 % lost in bursts
        ``"udp"`` conceals 2.15 %, ``"tcp"`` 1.36 %, because it closes gaps at once; on stalls they are the same.
    price_ms
        Delay, in ms, that is worth as much as 100 % concealment: 10 000 means that 1 % of concealment costs as
        much as 100 ms of delay. None: the profile's of `Config`, 10 000 or (``"kiosk-low"``) 3000. Higher is
        smoother and later: 3000, 10 000, 30 000 give 48, 64, 84 ms of mean delay with
        1.06, 0.74, 0.62 % concealed over the twenty recorded networks of ``tests/data/traces``; so are the figures below.
    min_delay_ms
        Least target delay; None: the profile's of `Config`, 10 or (``"kiosk-low"``) 5. 40 instead of 10: 17 ms more mean delay,
        0.60 instead of 0.74 % concealed; 5 changes nothing.
    max_delay_ms
        Largest target delay, 1000 or (``"listening"``) 4000 where None. 100: 57 ms of mean delay with 0.91 % concealed; from
        400 on it changes nothing.
    start_delay_ms
        Least target until two seconds have been measured; None: the profile's of `Config`, 20 or (``"kiosk-low"``) 5. 60 instead
        of 20: 1.2 ms more mean delay over 80 s, 0.72 instead of 0.74 % concealed.
    drift
        How the delay is brought back to its target, be it that the clocks of sender and sound card differ or that the
        network changed. ``"splice"``: one pitch period is cut out or repeated now and then; for speech. ``"resample"``: the
        sound is played up to 0.5 % faster or slower; for music. Clocks that differ by 500 ppm are then followed without a
        splice. It works off at most 5 ms a second, is helped by splices above 40 ms, and costs 10 ms of delay (one more
        block kept ready) and 1.5 ms where source and device have the same rate of 16 kHz (24 frames of the slower one).
    """

    profile: Literal["conversation", "listening"] = "conversation"
    transport: Literal["auto", "tcp", "udp"] = "auto"
    # None only until a `Config` takes it up: whoever reads a configuration finds numbers.
    price_ms: float = None  # type: ignore[assignment]
    min_delay_ms: float = None  # type: ignore[assignment]
    max_delay_ms: float | None = None
    start_delay_ms: float = None  # type: ignore[assignment]
    drift: Literal["splice", "resample"] = "splice"

    def __post_init__(self) -> None:
        _check(self.profile in ("conversation", "listening"), f"profile is {self.profile!r}; choose 'conversation' or 'listening'")
        _check(self.transport in ("auto", "tcp", "udp"), f"transport is {self.transport!r}; choose 'auto', 'tcp' or 'udp'")
        price = self.price_ms
        _check(price is None or 100 <= price <= 1e6, f"price_ms is {price}; it must lie between 100 and 1000000")
        least, start = self.min_delay_ms, self.start_delay_ms
        _check(least is None or 0 <= least <= 2000, f"min_delay_ms is {least}; it must lie between 0 and 2000")
        top = self.max_delay_ms
        _check(
            top is None or max(40.0, least or 0.0) <= top <= 10_000,
            f"max_delay_ms is {top}; it must lie between 40 (and min_delay_ms) and 10000",
        )
        _check(start is None or 0 <= start <= 2000, f"start_delay_ms is {start}; it must lie between 0 and 2000")
        _check(self.drift in ("splice", "resample"), f"drift is {self.drift!r}; choose 'splice' or 'resample'")

    @property
    def limit_ms(self) -> float:
        """The largest target delay."""
        if self.max_delay_ms is not None:
            return self.max_delay_ms
        return 1000.0 if self.profile == "conversation" else 4000.0


@dataclass(frozen=True, slots=True)
class Config:
    """Everything an engine needs to know. Building one opens and starts nothing.

    Parameters
    ----------
    source
        ``wss://…`` or ``ws://…``, or ``"loopback:?loss=0.02&jitter_ms=30"``: a media server of our own in its own
        process on 127.0.0.1 that speaks the embedded conversation.
    conversation_id
        Named in the subscription.
    credentials
        The OAuth client; ``None`` connects without a token (the loopback brings its own).
    token_in
        Where the media server wants the token: ``"query"`` (``access_token``) or ``"header"`` (``Authorization``).
    protocol, header, codec, rate_hz, channels
        How the stream is written; `header` is ``"aligned"`` or ``"packed"``.
    reconnect
        Attempts in a row before the source is given up, or ``"forever"``.
    handshake_timeout_s, ping_interval_s, pong_timeout_s, idle_timeout_s
        Limits of the connection; `idle_timeout_s` is the longest time without any message (0: no limit).
    sink, device
        ``"portaudio"``, ``"wav:FILE"``, ``"null"``; `device` is a part of the device's name.
    device_rate_hz
        Rate of the sink; ``None`` takes the device's own (16 kHz stays 16 kHz for files and null).
    profile
        What the settings are that nobody gives. ``"default"``, or ``"kiosk-low"`` for the lowest latency on a good network and a
        machine that is on time: `lead_ms` 10, and of `Jitter` ``min_delay_ms`` and ``start_delay_ms`` 5, ``price_ms``
        3000. From packet to device
        that is 15 to 20 ms less. It costs what those would have absorbed: a machine that is late by 10 ms is heard, unless
        real-time settings keep it from that; a packet that is late by more than 5 ms is concealed until the
        buffer has learned from the first ones. Each underrun makes the lead 10 ms longer again.
    block_ms, lead_ms
        Length of a rendered block, and how much rendered audio waits for the device; None: the profile's, 20 or
        (``"kiosk-low"``) 10. Below 20 there is one block, where the device asks for a part or a multiple of 10 ms each time.
    jitter
        See `Jitter`. What is None there is the profile's.
    effects
        In order, or the name of a preset (`rtmedia.presets`); ``None`` is ``"voice-low-latency"``, ``()`` or ``"transparent"``
        is none. The limiter always follows.
    bypass
        Names of effects that begin switched off. They keep running and keep their delay: ``engine.update(bypass=())``
        switches them on without a click. An effect that shall never be heard is better left out of `effects`.
    gain_db, ceiling_db
        Gain before the limiter, and the limiter's ceiling.
    on_pause, hold_limit_s
        ``"live"``: a pause is silence and the stream goes on. ``"hold"``: playback waits, at most `hold_limit_s`.
    metrics_interval_s
        Period of the QA line; 0 switches it off.
    capture
        A file, overwritten, that takes the whole session, for ``simulate(capture=…)``. It holds the audio and the transcripts.
    realtime
        What to ask of the machine for the compiled threads, see `Realtime`; ``None`` asks for nothing. A simulation has no use for it.
    """

    source: str = "loopback:"
    conversation_id: str = "demo"
    credentials: Credentials | None = None
    token_in: Literal["query", "header"] = "query"
    protocol: str = "media_v1"
    header: Literal["aligned", "packed"] = "aligned"
    codec: str = "pcm_s16le"
    rate_hz: int = 16_000
    channels: int = 1
    reconnect: int | Literal["forever"] = 5
    handshake_timeout_s: float = 10.0
    ping_interval_s: float = 5.0
    pong_timeout_s: float = 10.0
    idle_timeout_s: float = 0.0
    sink: str = "portaudio"
    device: str | None = None
    device_rate_hz: int | None = None
    profile: Literal["default", "kiosk-low"] = "default"
    block_ms: float = 10.0
    lead_ms: float = None  # type: ignore[assignment]  # never None once the configuration is made
    jitter: Jitter = field(default_factory=Jitter)
    effects: str | tuple[Effect, ...] | None = None
    bypass: tuple[str, ...] = ()
    gain_db: float = 0.0
    ceiling_db: float = -1.0
    on_pause: Literal["live", "hold"] = "live"
    hold_limit_s: float = 30.0
    metrics_interval_s: float = 2.0
    capture: str | None = None
    realtime: Realtime | None = None
    # What was given where a profile decides: a copy of another profile (`with_`) begins with that.
    _given: dict[str, Any] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        _check(
            isinstance(self.profile, str) and self.profile in PROFILES, f"profile is {self.profile!r}; the profiles are {sorted(PROFILES)}"
        )
        self._given.update(lead_ms=self.lead_ms, jitter=self.jitter)
        chosen = PROFILES[self.profile]
        if self.lead_ms is None:
            object.__setattr__(self, "lead_ms", chosen["lead_ms"])
        wanted: dict[str, Any] = {name: chosen[name] for name in list(chosen)[1:] if getattr(self.jitter, name) is None}
        object.__setattr__(self, "jitter", replace(self.jitter, **wanted))
        if isinstance(self.effects, list):
            object.__setattr__(self, "effects", tuple(self.effects))
        check_effects(self.effects)
        object.__setattr__(self, "bypass", check_bypass(self.bypass, names_of(self.effects)))
        scheme = self.source.partition(":")[0]
        _check(
            scheme in ("ws", "wss", "loopback"),
            f"source is {without_query(self.source)!r}; it must start with wss://, ws:// or loopback:",
        )
        _check(self.token_in in ("query", "header"), f"token_in is {self.token_in!r}; choose 'query' or 'header'")
        _check(self.header in ("aligned", "packed"), f"header is {self.header!r}; choose 'aligned' or 'packed'")
        _check(self.rate_hz in RATES_HZ, f"rate_hz is {self.rate_hz}; the supported rates are {RATES_HZ}")
        _check(self.channels in (1, 2), f"channels is {self.channels}; it must be 1 or 2")
        _check(
            self.device_rate_hz is None or self.device_rate_hz in (*RATES_HZ, 96_000),
            f"device_rate_hz is {self.device_rate_hz}; the supported rates are {(*RATES_HZ, 96_000)}",
        )
        _check(
            self.reconnect == "forever" or (isinstance(self.reconnect, int) and self.reconnect >= 0),
            f"reconnect is {self.reconnect!r}; give a number of attempts or 'forever'",
        )
        for name, low, high in (
            ("handshake_timeout_s", 0.1, 120),
            ("ping_interval_s", 0.5, 600),
            ("pong_timeout_s", 0.5, 600),
            ("idle_timeout_s", 0, 86_400),
            ("lead_ms", 5, 500),
            ("gain_db", -60, 40),
            ("ceiling_db", *CEILING_DB),
            ("hold_limit_s", 0.1, 300),
            ("metrics_interval_s", 0, 3600),
        ):
            value = getattr(self, name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            _check(number and low <= value <= high, f"{name} is {value!r}; it must be a number between {low} and {high}")
        _check(
            self.realtime is None or isinstance(self.realtime, Realtime),
            f"realtime is {self.realtime!r}; give an rtmedia.Realtime, such as Realtime(scheduling='auto'), or None",
        )
        _check(self.block_ms == 10.0, f"block_ms is {self.block_ms}; only 10 ms blocks are supported")
        _check(self.on_pause in ("live", "hold"), f"on_pause is {self.on_pause!r}; choose 'live' or 'hold'")

    def __repr__(self) -> str:
        """As for any dataclass, but the source without its query: tokens may live there."""
        shown = {item.name: getattr(self, item.name) for item in fields(self) if item.init}
        if not self.source.startswith("loopback:"):
            shown["source"] = without_query(self.source)
        return f"Config({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def with_(self, **changes: Any) -> Config:
        """A copy with some fields changed, checked again."""
        try:
            return replace(self, **(self._given | changes))
        except TypeError as exc:
            known = sorted(item.name for item in fields(self) if item.init)
            raise ConfigError(f"{sorted(changes)} holds an unknown setting; the settings are {known}") from exc
