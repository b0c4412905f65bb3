"""What can go wrong, by who is to blame and whether trying again can help.

======================  =========================================================================
`ConfigError`           the caller's mistake; raised before any thread or device exists
`StateError`            a call that the engine's present state does not allow
`SourceError`           the connection; ``retryable`` says whether another attempt can help
`AuthError`             credentials or scopes were refused (a `SourceError`)
`WireError`             the peer broke the protocol beyond repair (a `SourceError`)
`SinkError`             the sound device or file; ``kind`` and ``hint`` say what to do
`RoomError`             a room ended by an unexpected exception; ``room`` names it
======================  =========================================================================

Foreign exceptions are translated at the edge where they arise and chained. No message holds a token,
a secret or a URL's query.
"""

from __future__ import annotations


class RtmediaError(Exception):
    """Base of every exception that rtmedia raises on purpose."""


class ConfigError(RtmediaError, ValueError):
    """A setting is impossible. The message names the value, the limit and the next step."""


class StateError(RtmediaError, RuntimeError):
    """The engine is not in a state that allows this call."""


class SourceError(RtmediaError):
    """The stream cannot be reached or was ended by the peer.

    Attributes
    ----------
    retryable : bool
        Whether another attempt may succeed without anybody changing anything.
    retry_after_s : float or None
        How long the peer asked to wait.
    """

    def __init__(self, message: str, *, retryable: bool = True, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after_s = retry_after_s


class AuthError(SourceError):
    """The identity provider or the media server refused us."""

    def __init__(self, message: str, *, retryable: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(message, retryable=retryable, retry_after_s=retry_after_s)


class WireError(SourceError):
    """The session is unusable: the peer does not speak the protocol."""

    def __init__(self, message: str, *, retryable: bool = False, retry_after_s: float | None = None) -> None:
        super().__init__(message, retryable=retryable, retry_after_s=retry_after_s)


class SinkError(RtmediaError):
    """The place where sound goes cannot be used.

    Attributes
    ----------
    kind : str
        ``"missing"`` (no such device), ``"busy"``, ``"unavailable"`` (no audio system or library),
        ``"format"`` (rate or channels refused), ``"lost"`` (gone while playing), ``"file"``.
    device : str
        The device or file as it was asked for.
    hint : str
        What to do next.
    """

    def __init__(self, message: str, *, kind: str, device: str = "", hint: str = "") -> None:
        super().__init__(f"{message}; {hint}" if hint else message)
        self.kind = kind
        self.device = device
        self.hint = hint


class RoomError(RtmediaError):
    """A room's thread ended by an exception that nobody foresaw; the cause is chained."""

    def __init__(self, message: str, *, room: str) -> None:
        super().__init__(message)
        self.room = room
