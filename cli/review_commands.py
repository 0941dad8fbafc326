"""Commands around reviews: list what waits, follow it live, take one on, and see how reviewing goes."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from cli.client import path_of
from cli.exits import CommandError, ExitCode
from cli.session import DECIDERS, REVIEW_READERS, IdArgument, JsonOption, KeyOption, UrlOption, session
from cli.terminal import stdout

_LONGEST_WATCH = 7 * 86_400


class State(StrEnum):
    """Where a review stands."""

    PENDING = "pending"
    DECIDED = "decided"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    OVERRIDDEN = "overridden"


class Tier(StrEnum):
    """How risky what is held counts."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


QueueOption = Annotated[str | None, typer.Option("--queue", help="Only those of one queue.")]
PolicyOption = Annotated[str | None, typer.Option("--policy", "-p", help="Only what this policy held.")]
RiskOption = Annotated[Tier | None, typer.Option("--risk", help="Only those of this risk tier.")]
MineOption = Annotated[bool, typer.Option("--mine", help="Only those that you have claimed.")]
UnclaimedOption = Annotated[bool, typer.Option("--unclaimed", help="Only those that nobody has claimed.")]
SearchOption = Annotated[
    str | None, typer.Option("--search", "-s", metavar="TEXT", help="Only those with this in their id or subject.")
]


def _filters(
    queue: str | None, policy: str | None, risk: Tier | None, search: str | None, *, mine: bool, unclaimed: bool
) -> dict[str, str | int]:
    if mine and unclaimed:
        raise CommandError(ExitCode.USAGE, "--mine and --unclaimed exclude each other; give one")
    claimed_by = "me" if mine else "none" if unclaimed else None
    given = {"queue": queue, "policy": policy, "risk": risk, "claimed_by": claimed_by, "q": search}
    return {name: str(value) for name, value in given.items() if value}


def reviews(
    state: Annotated[State, typer.Option("--state", help="Which reviews.")] = State.PENDING,
    queue: QueueOption = None,
    policy: PolicyOption = None,
    risk: RiskOption = None,
    mine: MineOption = False,
    unclaimed: UnclaimedOption = False,
    search: SearchOption = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="How many at most.")] = 50,
    cursor: Annotated[str | None, typer.Option("--cursor", help="Go on where an earlier list ended.")] = None,
    url: UrlOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the answers that wait for a person, what expires first at the beginning."""
    from cli.queue_view import print_queue

    wanted: dict[str, str | int] = {"state": state.value, "limit": limit}
    wanted |= _filters(queue, policy, risk, search, mine=mine, unclaimed=unclaimed)
    wanted |= {"cursor": cursor} if cursor else {}
    with session(url, api_key, as_json, *REVIEW_READERS) as current:
        current.show(current.api.get("/v1/reviews", wanted), print_queue)


def watch(
    queue: QueueOption = None,
    policy: PolicyOption = None,
    risk: RiskOption = None,
    mine: MineOption = False,
    unclaimed: UnclaimedOption = False,
    search: SearchOption = None,
    every: Annotated[
        float, typer.Option("--every", min=0.2, max=3600, metavar="SECONDS", help="How often to look.")
    ] = 2.0,
    seconds: Annotated[
        int | None, typer.Option("--for", min=0, max=_LONGEST_WATCH, metavar="SECONDS", help="Stop after so long.")
    ] = None,
    url: UrlOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Follow the queue live until Ctrl-C: what comes, what is claimed, decided, and what expires.

    In a terminal the queue is shown as it stands, with the last changes below; elsewhere every change is a line. With
    --json each is {"event", "at", "review"}; what waits at the beginning comes as "waiting".
    """
    from cli.watching import follow

    wanted = _filters(queue, policy, risk, search, mine=mine, unclaimed=unclaimed)
    with session(url, api_key, as_json, *REVIEW_READERS) as current:
        follow(current, wanted, every, seconds)


def claim(
    identifier: IdArgument, url: UrlOption = None, api_key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Take a review on: nobody else can decide over it until the claim ends by itself. Again renews it."""
    with session(url, api_key, as_json, *DECIDERS) as current:
        # Claiming twice is claiming once, so a lost answer may be asked for again.
        path = path_of("reviews", identifier, "claim")
        current.show(current.api.post(path, {}, repeatable=True), _print_claim)


def release(
    identifier: IdArgument, url: UrlOption = None, api_key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Give a claim up, so that others can decide."""
    with session(url, api_key, as_json, *DECIDERS) as current:
        current.show(current.api.delete(path_of("reviews", identifier, "claim")), _print_claim)


def reassign(
    identifier: IdArgument,
    to: Annotated[str, typer.Argument(metavar="NAME", help="Who works on it from now on.")],
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; it goes into the timeline.")],
    url: UrlOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give the claim on a review to somebody else; for senior reviewers and operators."""
    with session(url, api_key, as_json, "senior-reviewer", "operator") as current:
        path = path_of("reviews", identifier, "reassign")
        current.show(current.api.post(path, {"to": to, "reason": reason}), _print_claim)


def _print_claim(data: dict[str, object]) -> None:
    from cli.output import facts
    from cli.review_view import claim_in_words

    stdout().print(facts([("claimed by", claim_in_words(data) or "nobody")]))


def figures(
    days: Annotated[int, typer.Option("--days", min=1, max=366, help="Decisions of so many days.")] = 30,
    url: UrlOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how reviewing goes: what waits, how fast and how alike people decide, and who approves without reading."""
    from cli.people_view import print_figures

    with session(url, api_key, as_json, "senior-reviewer", "operator", "auditor") as current:
        current.show(current.api.get("/v1/reviews/figures", {"days": days}), print_figures)
