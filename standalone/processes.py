"""Child processes of the embedded stack: started with their own log file, stopped in order, never left behind."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from domain.errors import SluiceError

_PR_SET_PDEATHSIG = 1
_TAIL_LINES = 12


class StackError(SluiceError):
    """The embedded stack cannot start or has lost a part. The message says what to do."""


class Process:
    """One child process with a log file."""

    def __init__(self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the running child."""
        if self._process is None:
            raise StackError(f"{self.name} was not started")
        return self._process.pid

    def start(self) -> None:
        """Start the child in a process group of its own: Ctrl-C reaches only this program, which stops it in order."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._environment},
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )

    @property
    def running(self) -> bool:
        """Whether the child is alive."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    async def stop(self, grace: float = 15.0) -> None:
        """SIGTERM, then SIGKILL after ``grace`` seconds."""
        if self._process is None or not self.running:
            return
        self._process.terminate()
        try:
            await asyncio.to_thread(self._process.wait, grace)
        except subprocess.TimeoutExpired:
            self.kill()

    def tail(self) -> str:
        """The last lines of its log."""
        try:
            return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-_TAIL_LINES:])
        except OSError:
            return "(no log)"

    async def until(self, ready: Callable[[], Awaitable[bool]], seconds: float) -> None:
        """Wait until ``ready`` says so. Raises ``StackError`` with the end of its log if it dies or takes too long."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not await ready():
            if not self.running:
                raise StackError(f"{self.name} ended while starting; its log {self.log} ends:\n{self.tail()}")
            if asyncio.get_running_loop().time() > deadline:
                raise StackError(f"{self.name} was not ready within {seconds:g} s; see {self.log}:\n{self.tail()}")
            await asyncio.sleep(0.1)


def _die_with_parent() -> None:
    """Have the kernel end this child when its parent is killed, so that no part of a stack is ever orphaned."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def port_is_free(host: str, port: int) -> bool:
    """Whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """A port nobody listens on at this moment.

    It lies below the range in which the system itself hands out ports: one of those may be given to a connection, or
    to a part of the Temporal dev server, before it is used here.
    """
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        if port_is_free("127.0.0.1", port):
            return port


async def port_answers(host: str, port: int) -> bool:
    """Whether a server accepts connections there."""
    try:
        _, writer = await asyncio.open_connection(host, port)
    except OSError:
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
