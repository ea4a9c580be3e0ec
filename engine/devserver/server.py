"""Runs the service: socket, signals, announcement, end."""

import ipaddress
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial

import anyio
import uvicorn
from anyio.abc import TaskStatus
from msgspec.structs import replace
from starlette.applications import Starlette

from .access import HEAD_BYTES_MAX
from .app import create_app
from .config import Config
from .connection import Crowd, crowded, most_connections
from .errors import SetupError
from .memory import keep_what_was_freed

_GRACE_S = 5  # for answers already on their way
_PARENT_EVERY_S = 0.5
_BACKLOG = 128


class _Server(uvicorn.Server):
    """A uvicorn that leaves signals to us and ends running uploads when it stops."""

    def __init__(self, config: uvicorn.Config, app: Starlette, announce: Callable[[], None]) -> None:
        super().__init__(config)
        self._app = app
        self._announce = announce

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone: a stop by signal is an ordinary end with status 0."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        if self.started:
            self._announce()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let running uploads settle where they are, then end."""
        self._app.state.bodies.stop()
        await super().shutdown(sockets)


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(config: Config) -> socket.socket:
    if not _is_loopback(config.host) and config.key_file is None:
        raise SetupError(f"listening on {config.host} lets others in; give a --key-file")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            config.host, config.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        raise SetupError(f"cannot listen on {config.host} port {config.port}: {error}") from error
    listener.settimeout(0)
    return listener


def _endpoint(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"


def _announce(endpoint: str, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps({"endpoint": endpoint}) + "\n")
        sys.stdout.flush()
    else:
        sys.stderr.write(f"SpeechStream listens at {endpoint}\n")


def _read_key() -> str:
    """Take the first line of stdin, byte by byte, so that nothing of what follows is swallowed."""
    line = bytearray()
    while (byte := os.read(sys.stdin.fileno(), 1)) and byte != b"\n":
        line += byte
    return line.decode("utf-8", "replace").strip()


def _stop_at_end_of_stdin(server: uvicorn.Server) -> None:
    def watch() -> None:
        with suppress(OSError):
            while os.read(sys.stdin.fileno(), 4096):
                pass
        server.should_exit = True

    threading.Thread(target=watch, name="stdin", daemon=True).start()


async def _stop_with_parent(server: uvicorn.Server, parent: int) -> None:
    while os.getppid() == parent:  # noqa: ASYNC110 - no event tells of a parent's end everywhere
        await anyio.sleep(_PARENT_EVERY_S)
    server.should_exit = True


async def _stop_at_signal(server: uvicorn.Server, *, task_status: TaskStatus[None] = anyio.TASK_STATUS_IGNORED) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            server.should_exit = True


async def _run(server: _Server, config: Config, listener: socket.socket, parent: int) -> None:
    async with anyio.create_task_group() as tasks:
        if threading.current_thread() is threading.main_thread():
            await tasks.start(_stop_at_signal, server)
        if config.exit_with_parent:
            tasks.start_soon(_stop_with_parent, server, parent)
        await server.serve(sockets=[listener])
        tasks.cancel_scope.cancel()


def serve(config: Config) -> None:
    """Run the service until SIGTERM, SIGINT, or the end that ``config`` ties it to.

    Raises:
        SetupError: It cannot start.
    """
    parent = os.getppid()
    keep_what_was_freed()
    if config.keys_from_stdin:
        config = replace(config, keys=(*config.keys, f"local:{_read_key()}"))
    if config.access_log:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s", stream=sys.stderr)
    with _listen(config) as listener:
        app = create_app(config)
        settings = uvicorn.Config(
            app,
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            http=crowded(Crowd(most_connections(config.connections), head_s=config.head_timeout_s)),
            lifespan="on",
            timeout_graceful_shutdown=_GRACE_S,
            h11_max_incomplete_event_size=HEAD_BYTES_MAX,
        )
        announce = partial(_announce, _endpoint(listener), as_json=config.announce)
        server = _Server(settings, app, announce)
        if config.keys_from_stdin:
            _stop_at_end_of_stdin(server)
        anyio.run(_run, server, config, listener, parent)
