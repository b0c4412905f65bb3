"""What the simulated media server does, as one frozen value that fits in a URL's query."""

from __future__ import annotations

from dataclasses import Field, dataclass, field, fields
from typing import Any, Literal
from urllib.parse import parse_qsl, urlencode

from rtmedia.codec import codec_names, is_codec
from rtmedia.errors import ConfigError
from rtmedia.sim.network import NetworkOptions

_TRUE, _FALSE = ("1", "true", "yes", "on", ""), ("0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """A media server's behaviour; the defaults are a good server on a perfect network.

    Parameters
    ----------
    network
        See `rtmedia.sim.network.NetworkOptions`; its settings stand beside the others in a query.
    trace
        An arrival trace to replay instead (``FILE.csv``, ``FILE.csv.gz`` or ``BUNDLE.npz:NAME``). It sets the
        packets' length and the stream's; the speech repeats where it is shorter.
    speech, transcript
        A sound file and its transcript (JSON, see `rtmedia.sim.script`); empty: the embedded conversation.
    noise_dbfs
        Level of white noise under the speech; -120 is none.
    packet_ms, codec, header, channels
        How audio is sent. `packet_ms` is a multiple of 10, from 10 to 120.
    start_seq, start_timestamp_ms
        Numbers of the first packet. Later connections start at other sequence numbers, their timestamps go on.
    json_audio
        Audio as base64 in text messages instead of binary ones.
    transcripts, transcript_lead_ms
        Whether to send the utterances, and how long before their first word (negative: after).
    junk
        Share of packets that are followed by a malformed message.
    loop
        Start anew at the end instead of ending the stream.
    disconnect_after_s, disconnect_code, disconnect_times
        Close a connection so long after its subscription with this code (0: cut without a word); 0 s is never.
        Only the first `disconnect_times` connections; 0 is all of them.
    hang_after_s, hang_pong, hang_times
        Stop sending but keep the connection; whether pings are still answered.
    media_status, media_times
        Answer the first so many WebSocket requests with this HTTP status.
    token_status, token_times, retry_after
        Answer the first so many token requests with this status, and with this ``Retry-After``.
    expires_in_s
        Life of a token.
    token_required
        Whether the WebSocket wants one.
    log_sends
        A file that receives one JSON line per packet sent: connection, seq, due_ns and sent_ns on the monotonic clock.
    """

    network: NetworkOptions = field(default_factory=NetworkOptions)
    trace: str = ""
    speech: str = ""
    transcript: str = ""
    noise_dbfs: float = -120.0
    packet_ms: int = 20
    codec: str = "pcm_s16le"
    header: Literal["aligned", "packed"] = "aligned"
    channels: int = 1
    start_seq: int = 0
    start_timestamp_ms: int = 0
    json_audio: bool = False
    transcripts: bool = True
    transcript_lead_ms: float = 0.0
    junk: float = 0.0
    loop: bool = False
    disconnect_after_s: float = 0.0
    disconnect_code: int = 0
    disconnect_times: int = 0
    hang_after_s: float = 0.0
    hang_pong: bool = True
    hang_times: int = 0
    media_status: int = 0
    media_times: int = 0
    token_status: int = 0
    token_times: int = 0
    retry_after: str = ""
    expires_in_s: int = 3600
    token_required: bool = True
    log_sends: str = ""

    def __post_init__(self) -> None:
        for name, low, high in (
            ("noise_dbfs", -120, 0),
            ("packet_ms", 10, 120),
            ("channels", 1, 2),
            ("start_seq", 0, 2**32 - 1),
            ("start_timestamp_ms", 0, 2**53),
            ("transcript_lead_ms", -60_000, 600_000),
            ("junk", 0, 1),
            ("disconnect_after_s", 0, 86_400),
            ("disconnect_times", 0, 1_000_000),
            ("hang_after_s", 0, 86_400),
            ("hang_times", 0, 1_000_000),
            ("media_times", 0, 1_000_000),
            ("token_times", 0, 1_000_000),
            ("expires_in_s", 0, 10_000_000),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"{name} is {value}; it must lie between {low} and {high}")
        if self.packet_ms % 10:
            raise ConfigError(f"packet_ms is {self.packet_ms}; it must be a multiple of 10: a packet holds whole frames at every rate")
        if not is_codec(self.codec):
            raise ConfigError(f"codec is {self.codec!r}; the known codecs are {', '.join(codec_names())}")
        if self.header not in ("aligned", "packed"):
            raise ConfigError(f"header is {self.header!r}; choose 'aligned' or 'packed'")
        # 1004 to 1006 and 1015 never travel (RFC 6455 section 7.4.1): 1006 is what a cut looks like.
        if self.disconnect_code not in (0, 1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)):
            raise ConfigError(
                f"disconnect_code is {self.disconnect_code}; give 1000 to 1003, 1007 to 1014, 3000 to 4999, or 0 to cut the line"
            )
        for name in ("media_status", "token_status"):
            status = getattr(self, name)
            if status and not 400 <= status <= 599:
                raise ConfigError(f"{name} is {status}; it must be an HTTP error, 400 to 599, or 0")
        if self.transcript and not self.speech:
            raise ConfigError(f"transcript is {self.transcript!r} without speech; give the sound file that it belongs to")
        if not (self.retry_after.isascii() and self.retry_after.isprintable()):
            raise ConfigError("retry_after is no header's text; give seconds or an HTTP date")

    @classmethod
    def from_query(cls, text: str) -> ServerOptions:
        """Read ``"loopback:?loss=0.02&jitter_ms=30"``, or only what stands behind the question mark.

        Raises
        ------
        ConfigError
            An unknown or repeated name, or a value of the wrong kind.
        """
        if text.startswith("loopback:"):
            text = text[len("loopback:") :].lstrip("/")
        own, network = _settings(cls), _settings(NetworkOptions)
        given: dict[str, dict[str, Any]] = {"own": {}, "network": {}}
        for name, value in parse_qsl(text.removeprefix("?"), keep_blank_values=True):
            kind = "own" if name in own else "network"
            item = own.get(name) or network.get(name)
            if item is None:
                raise ConfigError(f"{name!r} is no setting of the loopback server; the settings are {', '.join([*network, *own])}")
            if name in given[kind]:
                raise ConfigError(f"{name} is given twice; give it once")
            given[kind][name] = _converted(name, value, item.default)
        return cls(network=NetworkOptions(**given["network"]), **given["own"])

    def to_query(self) -> str:
        """The settings that differ from the defaults, as `from_query` reads them."""
        pairs = [
            (name, int(value) if isinstance(value, bool) else value)
            for described in (self.network, self)
            for name, item in _settings(type(described)).items()
            if (value := getattr(described, name)) != item.default
        ]
        return urlencode(pairs)


def _settings(described: type[Any]) -> dict[str, Field[Any]]:
    return {item.name: item for item in fields(described) if item.name != "network"}


def _converted(name: str, value: str, default: object) -> object:
    """`value` as the type of `default`."""
    if isinstance(default, bool):
        if value.lower() in _TRUE:
            return True
        if value.lower() in _FALSE:
            return False
        raise ConfigError(f"{name} is {value!r}; give 1 or 0")
    try:
        if isinstance(default, int):
            return int(value)
        if isinstance(default, float):
            return float(value)
    except ValueError:
        wanted = "a whole number" if isinstance(default, int) else "a number"
        raise ConfigError(f"{name} is {value!r}; give {wanted}") from None
    return value
