"""Commands about people: who decides over which queue, and who decides in somebody's place."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

import typer

from cli.client import path_of, path_of_member
from cli.exits import CommandError, ExitCode
from cli.session import REVIEW_READERS, JsonOption, KeyOption, UrlOption, session

_DELEGATORS = ("reviewer", "senior-reviewer", "operator")


def queues(
    queue: Annotated[str | None, typer.Argument(metavar="[QUEUE]", help="The queue whose members change.")] = None,
    add: Annotated[str | None, typer.Option("--add", metavar="NAME", help="Let this person decide over it.")] = None,
    remove: Annotated[str | None, typer.Option("--remove", metavar="NAME", help="Take this person out of it.")] = None,
    url: UrlOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the queues with their members; as an operator, change the members of one.

    A queue without members is open to every reviewer. With the first member it is closed to all others.
    """
    from cli.people_view import print_one_queue, print_queues

    if add is None and remove is None:
        if queue is not None:
            raise CommandError(ExitCode.USAGE, "say with --add or --remove what to change", "sluice queues lists them")
        with session(url, api_key, as_json, *REVIEW_READERS) as current:
            current.show(current.api.get("/v1/queues"), print_queues)
        return
    if queue is None or (add is not None and remove is not None):
        raise CommandError(ExitCode.USAGE, "give one QUEUE, and either --add NAME or --remove NAME")
    path = path_of_member(queue, add if add is not None else str(remove))
    with session(url, api_key, as_json, "operator") as current:
        answer = current.api.put(path) if add is not None else current.api.delete(path)
        current.show(answer, print_one_queue)


def delegate(
    to: Annotated[str | None, typer.Argument(metavar="[NAME]", help="Who decides in your place.")] = None,
    lasts: Annotated[
        str | None, typer.Option("--for", metavar="DURATION", help="How long, such as 90m, 12h or 7d.")
    ] = None,
    until: Annotated[
        str | None, typer.Option("--until", metavar="MOMENT", help="Until when, such as 2026-12-24T08:00Z.")
    ] = None,
    starts: Annotated[str | None, typer.Option("--from", metavar="MOMENT", help="From when on; now if absent.")] = None,
    queue: Annotated[str | None, typer.Option("--queue", help="Only this queue; all of yours if absent.")] = None,
    of: Annotated[str | None, typer.Option("--of", metavar="NAME", help="As an operator: whose part.")] = None,
    revoke: Annotated[str | None, typer.Option("--revoke", metavar="ID", help="End this delegation now.")] = None,
    url: UrlOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let another reviewer decide in your place for a time; without NAME list the delegations, or --revoke one."""
    from cli.people_view import print_delegations, print_one_delegation

    timing = (lasts, until, starts, queue, of)
    if to is None and any(timing):
        raise CommandError(ExitCode.USAGE, "say to whom: sluice delegate NAME --for 7d")
    if to is not None and revoke is not None:
        raise CommandError(ExitCode.USAGE, "either delegate to NAME or --revoke a delegation, not both")
    body = None if to is None else _delegation(to, lasts, until, starts, queue, of)
    roles = ("operator", *_DELEGATORS) if of is not None else _DELEGATORS
    with session(url, api_key, as_json, *(roles if to or revoke else REVIEW_READERS)) as current:
        if body is not None:
            # Not repeated after a lost answer: each would be a delegation of its own. The list shows what arrived.
            current.show(current.api.post("/v1/delegations", body), print_one_delegation)
        elif revoke is not None:
            current.show(current.api.delete(path_of("delegations", revoke)), print_one_delegation)
        else:
            current.show(current.api.get("/v1/delegations"), print_delegations)


def _delegation(
    to: str, lasts: str | None, until: str | None, starts: str | None, queue: str | None, of: str | None
) -> dict[str, Any]:
    if (lasts is None) == (until is None):
        raise CommandError(ExitCode.USAGE, "say how long with --for, or until when with --until; one of the two")
    begins = datetime.now(UTC) if starts is None else _moment(starts, "--from")
    ends = begins + _duration(lasts) if lasts is not None else _moment(str(until), "--until")
    given = {
        "delegate": to,
        "ends_at": ends.isoformat(),
        "starts_at": None if starts is None else begins.isoformat(),
        "queue": queue,
        "delegator": of,
    }
    return {name: value for name, value in given.items() if value is not None}


def _moment(written: str, option: str) -> datetime:
    """A point in time as a person writes it; without an offset it is that of this machine."""
    try:
        return datetime.fromisoformat(written).astimezone(UTC)
    except (ValueError, OverflowError):
        raise CommandError(
            ExitCode.USAGE, f"{option}: {written!r} is no moment", "write it like 2026-12-24T08:00Z"
        ) from None


def _duration(written: str) -> timedelta:
    from pydantic import TypeAdapter, ValidationError

    from domain.duration import Duration

    adapter: TypeAdapter[timedelta] = TypeAdapter(Duration)
    try:
        return adapter.validate_python(written)
    except ValidationError as error:
        problem = str(error.errors(include_url=False, include_input=False)[0]["msg"]).removeprefix("Value error, ")
        raise CommandError(ExitCode.USAGE, f"--for: {problem}") from None
