"""Runs the application until a signal stops it."""

import asyncio
import contextlib
import errno
import signal
import socket
from collections.abc import Iterator
from types import FrameType

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from mmrun.deploy.serve.app import App
from mmrun.errors import ConfigError

HEADER_SECONDS = 10.0  # in which a new connection has to send the head of its first request
IDLE_SECONDS = 15  # after which a connection without requests is closed
STOP_SECONDS = 30  # in which requests in flight are answered once the server stops
MAX_CONNECTIONS = 1000
BACKLOG = 512


class PatientProtocol(H11Protocol):  # type: ignore[misc]  # mypy reads uvicorn as Any where it is not installed
    """HTTP/1.1, closing a connection that sends no request."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Start the clock of a new connection."""
        super().connection_made(transport)
        self.loop.call_later(HEADER_SECONDS, self._close_if_silent)

    def _close_if_silent(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


class Server(uvicorn.Server):  # type: ignore[misc]
    """A server whose end by a signal is a success: requests in flight are answered first."""

    should_exit: bool
    force_exit: bool

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop at SIGINT and SIGTERM while the context is open; at once if one arrives twice."""
        previous = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.force_exit = self.should_exit
        self.should_exit = True


def open_socket(host: str, port: int) -> socket.socket:
    """Reserve an address.

    Args:
        host: name or address of this machine.
        port: of TCP; 0: any that is free.

    Raises:
        ConfigError: there is no such address, or it is in use.
    """
    try:
        [(family, kind, protocol, _, address), *_] = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(
            f"--host {host}: {error.strerror or error}; use 127.0.0.1, or an address of this machine"
        ) from None
    opened = socket.socket(family, kind, protocol)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        opened.bind(address)
        opened.listen(BACKLOG)
    except OSError as error:
        opened.close()
        raise _refuse_address(host, port, error) from None
    return opened


def _refuse_address(host: str, port: int, error: OSError) -> ConfigError:
    if error.errno == errno.EADDRINUSE:
        return ConfigError(f"--port {port}: is in use; name another one, or --port 0 for any that is free")
    if error.errno == errno.EACCES:
        return ConfigError(f"--port {port}: this user may not use it; name one above 1023")
    return ConfigError(f"--host {host}: {error.strerror}; use 127.0.0.1, or an address of this machine")


def run_server(app: App, address: socket.socket) -> None:
    """Answer requests until SIGINT or SIGTERM; those in flight are answered first."""
    config = uvicorn.Config(
        app.asgi,
        http=PatientProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=IDLE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
        backlog=BACKLOG,
    )
    try:
        Server(config).run(sockets=[address])
    finally:
        app.close()
