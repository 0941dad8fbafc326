"""One run of a command: its connection, and how its answer is shown, as the API sent it or for people."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.client import LONGEST_POLL, Answer, Api, path_of
from cli.credentials import connection
from cli.exits import CommandError, ExitCode
from cli.terminal import note, print_json, safe, stderr, warn

UrlOption = Annotated[
    str | None,
    typer.Option("--url", envvar="SLUICE_URL", help="Address of the API; else that of var/credentials.json."),
]
KeyOption = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        envvar="SLUICE_API_KEY",
        help="API key; the environment is the better place, other users can see options.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the API's answer as it came, and nothing else.")]
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="Id of the request; its review has the same.")]

RUNNING = frozenset({"running", "held"})
DECIDERS = ("reviewer", "senior-reviewer")
"""Roles whose keys decide; the first one that there is a key for is used."""
REVIEW_READERS = (*DECIDERS, "operator", "auditor")
REQUEST_READERS = ("service", "operator", "auditor")


@dataclass(frozen=True)
class Session:
    """What a command works with."""

    api: Api
    as_json: bool

    def show(self, answer: Answer, render: Callable[[dict[str, Any]], None]) -> None:
        """Put the answer on standard output: unchanged with ``--json``, otherwise as ``render`` prints it."""
        if self.as_json:
            print_json(answer.text)
        else:
            render(answer.data)

    def note(self, text: str) -> None:
        """Information on the way, on standard error; scripts do not get it."""
        if not self.as_json:
            note(text)

    def wait(self, answer: Answer, deadline: float, *, through_hold: bool) -> Answer:
        """The request in ``answer`` again, once it has ended or ``deadline`` (see ``deadline_in``) is past.

        Without ``through_hold`` a held request is not waited for: people take longer than programs wait.
        """
        path = path_of("requests", str(answer.data.get("id")))
        while answer.data.get("status") == "running" or (through_hold and answer.data.get("status") == "held"):
            left = deadline - clock()
            if left < 0.5:
                break
            # Whole seconds, at least one, so that no poll asks for nothing and comes back at once.
            answer = self.api.get(path, wait=poll_seconds(left, through_hold=through_hold))
        return answer


def clock() -> float:
    """Seconds that only grow, for waits."""
    return time.monotonic()


def pause(seconds: float) -> None:
    """Wait between two looks."""
    time.sleep(seconds)


def deadline_in(seconds: float) -> float:
    """The moment of ``clock`` that is ``seconds`` away."""
    return clock() + seconds


def poll_seconds(left: float, *, through_hold: bool) -> int:
    """How long one call waits. Short where a hold has to be noticed, since the API wakes only for an end."""
    return max(1, min(LONGEST_POLL if through_hold else 2, round(left)))


@contextmanager
def session(url: str | None, key: str | None, as_json: bool, *roles: str, warned: bool = False) -> Iterator[Session]:
    """A session with the key of the first of ``roles`` that there is one for.

    ``warned`` says that the same command has told before how its key could leak. An error that the API itself answered
    is printed unchanged with ``as_json``, because it is the answer.
    """
    found = connection(url or None, key or None, roles, Path.cwd(), _ignore if warned else warn)
    try:
        with Api(found) as api:
            yield Session(api=api, as_json=as_json)
    except CommandError as error:
        if as_json and error.answer is not None:
            print_json(error.answer)
        raise


def has_key(url: str | None, key: str | None, *roles: str) -> bool:
    """Whether there is a key that may be of one of ``roles``: one that was given, or one in the credentials file."""
    if key:
        return True
    try:
        connection(url or None, None, roles, Path.cwd(), _ignore)
    except CommandError:
        return False
    return True


def _ignore(_text: str) -> None:
    """Takes a warning that was given before, or will be."""


def complain(error: CommandError) -> None:
    """Say on standard error what went wrong and what to do."""
    console = stderr()
    console.print("error: " + safe(error.message), style="red", soft_wrap=True)
    if error.remedy is not None:
        console.print("  try: " + safe(error.remedy), soft_wrap=True)


def not_ended(message: str, remedy: str) -> CommandError:
    """The error for a wait that was too short; the answer itself was printed already."""
    return CommandError(ExitCode.NOT_ENDED, message, remedy)
