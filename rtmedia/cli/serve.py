"""``rtmedia serve``: a media server to try clients against, ours or yours."""

from __future__ import annotations

import contextlib
import json as json_
import os
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlencode

import typer
from rich.text import Text

from rtmedia.cli import options as opt
from rtmedia.cli.logs import logging_to, stderr_handler
from rtmedia.cli.rows import print_rows
from rtmedia.cli.terminal import stderr_console, stdout_console
from rtmedia.errors import ConfigError, SinkError

if TYPE_CHECKING:
    from rtmedia.sim.options import ServerOptions
    from rtmedia.sim.server import Address, MediaServer

PORT = 8765


def serve(
    context: typer.Context,
    speech: Annotated[str | None, typer.Argument(metavar="SPEECH.wav", help="What is spoken; otherwise the built-in conversation.")] = None,
    transcript: Annotated[str | None, typer.Option("--transcript", metavar="FILE", help="Its words and their times, as JSON.")] = None,
    network: opt.Network = "",
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option", "-o", metavar="NAME=VALUE", help="One setting of server or network; may be repeated. A wrong name lists all."
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65_535, help="0 takes a free one.")] = PORT,
    json: opt.Json = False,
) -> None:
    """Serve a media stream, with its identity provider.

    The client's secret is new at each start. It goes into a file that only you can read, never to the terminal.
    """
    import asyncio

    options = server_options(network, option or [], speech, transcript)
    with logging_to(stderr_handler(), opt.settings_of(context).log_level):
        asyncio.run(_serve(options, host, port, json))


def server_options(network: str, pairs: list[str], speech: str | None, transcript: str | None) -> ServerOptions:
    """One value from a query, ``name=value`` pairs and files.

    Raises
    ------
    ConfigError
        A setting is unknown, given twice, or of the wrong kind.
    """
    from rtmedia.sim.options import ServerOptions

    query = [network.removeprefix("loopback:").lstrip("/?")] if network else []
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(f"--option is {pair!r}; write it as name=value")
        query.append(urlencode({name.strip(): value.strip()}))
    for name, path in (("speech", speech), ("transcript", transcript)):
        if path is not None:
            query.append(urlencode({name: path}))
    return ServerOptions.from_query("&".join(part for part in query if part))


async def _serve(options: ServerOptions, host: str, port: int, json: bool) -> None:
    import asyncio

    from rtmedia.sim.server import serve as run

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError, RuntimeError):  # Windows, or not the main thread
            loop.add_signal_handler(signum, stop.set)
    with contextlib.ExitStack() as files:

        def ready(address: Address, server: MediaServer) -> None:
            values = {"client_id": server.client_id, "client_secret": server.client_secret, "token_url": address.token_url}
            path = files.enter_context(_private_file(values, f"serve-{address.port}.json"))
            _announce(address, path, options, json)

        await run(options, host, port, ready, stop)
        if not json:
            stderr_console().print("stopped", style="dim")


@contextlib.contextmanager
def _private_file(values: dict[str, Any], name: str) -> Iterator[Path]:
    """A JSON file for this user's eyes only (mode 600 in a folder of mode 700), removed at the end."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    try:
        # Always a fresh folder: whoever can guess a path in a shared one could be there first.
        folder = Path(tempfile.mkdtemp(prefix="rtmedia-", dir=runtime if runtime and Path(runtime).is_dir() else None))
        path = folder / name
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json_.dump(values, file)
            file.write("\n")
    except OSError as exc:
        raise SinkError(
            f"the credentials file cannot be written ({exc.strerror})", kind="file", hint="set TMPDIR to a folder of your own"
        ) from exc
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            folder.rmdir()


def play_command(address: Address, credentials: Path, options: ServerOptions) -> str:
    """The command line that plays what is served."""
    words = ["rtmedia", "play", address.media_url, "--credentials", str(credentials)]
    if options.codec != "pcm_s16le":
        words += ["--codec", options.codec]
    if options.channels != 1:
        words += ["--channels", str(options.channels)]
    if options.header != "aligned":
        words += ["--header", options.header]
    import shlex

    return shlex.join(words)


def _announce(address: Address, credentials: Path, options: ServerOptions, json: bool) -> None:
    command = play_command(address, credentials, options)
    if json:
        sys.stdout.write(
            json_.dumps({"url": address.media_url, "token_url": address.token_url, "credentials": str(credentials), "play": command}) + "\n"
        )
        sys.stdout.flush()
        return
    out = stdout_console()
    behaviour = options.to_query() or "a good server on a perfect network"
    print_rows(
        out,
        [
            ("media", address.media_url),
            ("token", address.token_url),
            ("credentials", f"{credentials} (only you can read it; gone when the server stops)"),
            ("behaviour", behaviour),
        ],
    )
    out.print(Text("\nto listen, in another terminal:\n", "dim"))
    out.print(Text(f"  {command}\n", "bold"), soft_wrap=True)  # one line, whatever the width: it is there to be copied
    if address.host not in ("127.0.0.1", "::1", "localhost"):
        out.print(Text("other machines can reach this server, and nothing it sends is encrypted", "yellow"), soft_wrap=True)
    out.print(Text("Ctrl-C stops the server", "dim"))
    out.file.flush()
