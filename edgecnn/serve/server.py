"""The server's life: a socket, the bundle, signals, and what the service manager hears of it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import uvicorn

from edgecnn.errors import UsageError
from edgecnn.serve.access import LOOPBACK, is_loopback, read_token
from edgecnn.serve.app import App
from edgecnn.serve.connection import Connection
from edgecnn.serve.keeper import Keeper
from edgecnn.serve.metrics import Metrics
from edgecnn.serve.notify import notify, watchdog_interval

GRACE_SECONDS = 30  # for what is in flight at the end
KEEP_SECONDS = 5  # that a connection may stay without a request


def run(bundle: Path, host: str, port: int, token_file: Path | None, key: Path | None) -> None:
    """Serve ``bundle`` until SIGTERM or SIGINT; SIGHUP has it read again.

    Raises UsageError for an address that cannot be had, or that others reach while there is no token, BadFileError
    for a bundle or a token file that cannot be used.
    """
    token = None if token_file is None else read_token(token_file)
    with listen(host, port) as listener:
        address = listener.getsockname()[0]
        if token is None and not is_loopback(address):
            raise UsageError(
                f"--host {host} can be reached from other machines: give --token-file FILE, a secret that requests "
                "must show, or serve 127.0.0.1 only"
            )
        names = frozenset([*LOOPBACK, address, host.lower()]) if is_loopback(address) else None
        metrics = Metrics()
        keeper = Keeper(bundle, key, metrics, say)
        app = App(keeper, metrics, token, names, say)
        with suppress(asyncio.CancelledError):  # a signal before it served
            asyncio.run(_serve(app, keeper, listener))


@contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """A socket bound to the first address of ``host``, not yet listening. Raises UsageError."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"--host {host} is no address of this machine: {reason}") from error
    with socket.socket(family, kind, protocol) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(address)
            listener.listen(128)  # now, since a port that is bound twice is refused only here
        except OSError as error:
            reason = f"{error.strerror}; choose another --host or --port (--port 0 takes one that is free)"
            raise UsageError(f"cannot listen on {host} port {port}: {reason}") from error
        yield listener


def say(line: str) -> None:
    """A line on standard error; a terminal or a reader that has gone does not end the server."""
    with suppress(OSError):
        print(f"edgecnn serve: {line}", file=sys.stderr, flush=True)


class _Server(uvicorn.Server):
    """uvicorn's server, with signals left to _serve and a call once connections are taken."""

    def __init__(self, app: App, started: Callable[[], None]) -> None:
        connection = partial(Connection, refused=app.refused)
        super().__init__(uvicorn.Config(
            app, http=connection,  # type: ignore[arg-type]  # it only calls it
            ws="none", lifespan="off", loop="asyncio", interface="asgi3", log_config=None, access_log=False,
            proxy_headers=False, server_header=False, timeout_keep_alive=KEEP_SECONDS,
            timeout_graceful_shutdown=GRACE_SECONDS,
        ))  # fmt: skip
        self._on_start = started

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_start()


async def _serve(app: App, keeper: Keeper, listener: socket.socket) -> None:
    host, port = listener.getsockname()[:2]
    url = f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
    # What uvicorn and the parser of forms have to say is said by App and Connection, a line each.
    for name in ("uvicorn.error", "python_multipart"):
        logging.getLogger(name).setLevel(logging.CRITICAL)

    def started() -> None:
        say(f"{url} serves {keeper.title}")
        notify("READY=1", f"STATUS=serves {keeper.title}")

    server = _Server(app, started)
    this = asyncio.current_task()
    assert this is not None

    def stop() -> None:
        if server.started:
            notify("STOPPING=1")
            server.force_exit = server.should_exit  # the second time at once
            server.should_exit = True
        else:
            this.cancel()

    terminal = os.isatty(2)

    def hang_up() -> None:
        if terminal and not os.isatty(2):  # it was closed: nobody could end what it left behind
            stop()
        else:
            keeper.reload()

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.add_signal_handler(signal.SIGINT, stop)
    loop.add_signal_handler(signal.SIGHUP, hang_up)
    watchdog = None
    try:
        await keeper.open()
        watchdog = asyncio.create_task(_tick(keeper))
        await server.serve([listener])
    finally:
        if watchdog is not None:
            watchdog.cancel()
        await keeper.close(at_once=server.force_exit)


async def _tick(keeper: Keeper) -> None:
    """Tell the service manager again and again that this process and the model's both work."""
    interval = watchdog_interval()
    while interval is not None:
        await asyncio.sleep(interval)
        await keeper.alive()
        notify("WATCHDOG=1")
