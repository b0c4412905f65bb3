"""What the shell is told: exit codes, and errors as one line.

====  =====================================================================
0     fine; also a session that was ended by Ctrl-C, ``q`` or SIGTERM
1     unexpected: a fault in rtmedia, or a failed check of ``doctor``
2     usage or configuration
3     the sound device or output file cannot be used
4     the source cannot be reached, or broke the protocol
5     credentials were refused
130   interrupted before there was anything to end in order
====  =====================================================================
"""

from __future__ import annotations

from rtmedia.errors import AuthError, ConfigError, RoomError, RtmediaError, SinkError, SourceError, StateError

OK, UNEXPECTED, USAGE, SINK, SOURCE, AUTH, INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

EPILOG = (
    "Exit codes: 0 fine (also after Ctrl-C in a running session), 1 unexpected, 2 usage or configuration, "
    "3 sound device or file, 4 source unreachable, 5 credentials refused, 130 interrupted."
)

# In order: an AuthError is a SourceError too.
_CODES: tuple[tuple[type[RtmediaError], int], ...] = (
    (AuthError, AUTH),
    (SourceError, SOURCE),
    (SinkError, SINK),
    (ConfigError, USAGE),
    (StateError, UNEXPECTED),
    (RoomError, UNEXPECTED),
)


def exit_code(exc: BaseException) -> int:
    """The exit code of what ended a command."""
    if isinstance(exc, KeyboardInterrupt):
        return INTERRUPTED
    return next((code for kind, code in _CODES if isinstance(exc, kind)), UNEXPECTED)


def one_line(exc: BaseException) -> str:
    """What is said about `exc`: its message, or for one that nobody foresaw, how to learn more."""
    if isinstance(exc, RtmediaError) and not isinstance(exc, RoomError | StateError):
        text = str(exc)
    elif isinstance(exc, KeyboardInterrupt):
        text = "interrupted"
    else:
        said = str(exc) if isinstance(exc, RtmediaError) else f"{type(exc).__name__}: {exc}".rstrip(": ")
        text = f"unexpected: {said}; run it again as `rtmedia --debug …` to see where"
    return " ".join(text.split())
