"""``python -m api``: serves the HTTP API until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from types import FrameType

import structlog
import uvicorn

from adapters.logs import configure_logs
from adapters.memory import spare_the_collector
from adapters.settings import Settings
from api.app import build_services, create_app
from domain.errors import SluiceError

_GRACE_SECONDS = 10
_KEEP_ALIVE_SECONDS = 75
"""Longer than what load balancers usually keep idle connections, so that they close first."""


class ServeError(SluiceError):
    """The API could not be served."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. Raises ``ServeError`` with the remedy."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno is not None else type(error).__name__
        raise ServeError(f"cannot listen on {host}:{port} ({reason}); correct SLUICE_HOST and SLUICE_PORT") from None
    # Connections inherit it; without it head and body of an answer wait for each other for 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


async def serve(settings: Settings, listening: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM; calls under way get some seconds to end."""
    async with build_services(settings) as services:
        spare_the_collector()
        config = uvicorn.Config(
            create_app(services),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=_GRACE_SECONDS,
        )
        host, port = listening.getsockname()[:2]
        structlog.get_logger("api").info("listening", host=host, port=port)
        await uvicorn.Server(config).serve(sockets=[listening])


def _leave(_signal: int, _frame: FrameType | None) -> None:
    """Ends the process before it serves, and after: the server raises the signal anew once it has shut down."""
    raise SystemExit(0)


def main() -> int:
    """Run the process; its exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    try:
        settings = Settings.load()
        configure_logs("api", settings.log_level)
        with listen(settings.host, settings.port) as listening:
            asyncio.run(serve(settings, listening))
    except SluiceError as error:
        print(f"api: {error}", file=sys.stderr)
        return 1
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else 1
    return 0


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of the Temporal client can abort an interpreter that ends in the ordinary way.
    os._exit(code)
