"""Commands of a service: submit a request, show it, follow it, read its record, cancel it; list policies."""

from __future__ import annotations

import json
import re
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.client import Answer, path_of
from cli.exits import CommandError, ExitCode
from cli.reading import read_text
from cli.session import (
    DECIDERS,
    REQUEST_READERS,
    REVIEW_READERS,
    RUNNING,
    IdArgument,
    JsonOption,
    KeyOption,
    Session,
    UrlOption,
    deadline_in,
    has_key,
    not_ended,
    poll_seconds,
    session,
)
from cli.terminal import print_json

_LONGEST_WAIT = 86_400


class Risk(StrEnum):
    """How risky the requester says a request is; it can only raise what the policy says."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


WaitOption = Annotated[
    int, typer.Option("--wait", min=0, max=_LONGEST_WAIT, metavar="SECONDS", help="Wait this long for the end.")
]


def submit(
    policy: Annotated[str, typer.Option("--policy", "-p", help="Name of the policy that serves the request.")],
    text: Annotated[str | None, typer.Argument(metavar="[TEXT|-]", help="The input; - reads standard input.")] = None,
    messages: Annotated[
        Path | None, typer.Option("--messages", help='A JSON file of [{"role", "content"}, …] instead of TEXT.')
    ] = None,
    context: Annotated[
        list[str] | None,
        typer.Option("--context", "-c", metavar="KEY=VALUE", help="A fact for routing; numbers, true, false or text."),
    ] = None,
    risk: Annotated[Risk | None, typer.Option("--risk", help="At least this risk tier.")] = None,
    max_cost: Annotated[str | None, typer.Option("--max-cost", metavar="USD", help="Most it may cost.")] = None,
    max_latency_ms: Annotated[int | None, typer.Option("--max-latency-ms", min=1, help="Longest wait.")] = None,
    min_quality: Annotated[
        float | None, typer.Option("--min-quality", help="Least quality of a model, 0 to 1.")
    ] = None,
    capability: Annotated[
        list[str] | None, typer.Option("--capability", help="What the model must be able to.")
    ] = None,
    data_class: Annotated[
        list[str] | None, typer.Option("--data-class", help="Data the model must be allowed.")
    ] = None,
    subject: Annotated[str | None, typer.Option("--subject", help="Whom or what the request is about.")] = None,
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", "-m", metavar="KEY=VALUE", help="A label kept with the request.")
    ] = None,
    max_hold: Annotated[
        str | None, typer.Option("--max-hold", metavar="DURATION", help="Longest wait for a person, such as 2h.")
    ] = None,
    webhook: Annotated[
        str | None, typer.Option("--webhook", metavar="CHANNEL", help="Channel that is told of the hold and the end.")
    ] = None,
    wait: WaitOption = 30,
    idempotency_key: Annotated[
        str | None,
        typer.Option("--idempotency-key", "-k", help="The same key with the same request is the same request."),
    ] = None,
    url: UrlOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Submit a request and wait for its end; returns at once when a person has to approve the answer."""
    tight = {"max_cost_usd": _amount(max_cost), "max_latency_ms": max_latency_ms, "max_hold": max_hold}
    needed = {"min_quality": min_quality, "capabilities": capability or None, "data_classes": data_class or None}
    facts = {key: _scalar(value) for key, value in _pairs(context, "--context")}
    labels = dict(_pairs(metadata, "--metadata"))
    constraints = _given({"risk": None if risk is None else risk.value, **tight, **needed})
    optional = {"context": facts, "constraints": constraints, "metadata": labels, "subject": subject}
    body = {"policy": policy} | _input(text, messages) | _given({**optional, "webhook": webhook})
    with session(url, api_key, as_json, "service") as current:
        deadline = deadline_in(wait)
        answer = current.wait(_start(current, body, idempotency_key, wait), deadline, through_hold=False)
        _show_request(current, answer, waited=wait > 0)


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    """Those fields that were given."""
    return {name: value for name, value in fields.items() if value is not None and value not in ("", {})}


def _start(current: Session, body: dict[str, Any], key: str | None, wait: int) -> Answer:
    """Send the request.

    **Correctness:** the key is made before the first attempt and used by every repetition, so that a request whose
    answer was lost on the way is found again and not started twice.
    """
    import uuid

    if key is not None and re.fullmatch(r"[\x21-\x7e]{1,200}", key) is None:
        raise CommandError(
            ExitCode.USAGE, "--idempotency-key: must be 1 to 200 visible ASCII characters", "a UUID is a good one"
        )
    chosen = key if key is not None else f"cli-{uuid.uuid4().hex}"
    seconds = poll_seconds(wait, through_hold=False) if wait else 0
    try:
        return current.api.post("/v1/requests", body | {"wait_seconds": seconds}, idempotency_key=chosen, wait=seconds)
    except CommandError as error:
        if error.code is ExitCode.UNREACHABLE:
            raise CommandError(
                error.code,
                error.message,
                f"run the same command with --idempotency-key {chosen}: whether it arrived or not, it then runs once",
                error.answer,
            ) from None
        raise


def _show_request(current: Session, answer: Answer, *, waited: bool) -> None:
    from cli.output import print_request

    current.show(answer, print_request)
    status = answer.data.get("status")
    if waited and status in RUNNING:
        identifier = answer.data.get("id")
        what = f"{identifier} is {status}"
        if status == "held":
            raise not_ended(f"{what}: a person has to decide", f"sluice show {identifier}")
        raise not_ended(f"{what} after the wait", f"sluice show {identifier} --wait 60")


class Shown(StrEnum):
    """What to show of a request."""

    FITTING = "fitting"
    REQUEST = "request"
    REVIEW = "review"


def show(
    identifier: IdArgument,
    wait: WaitOption = 0,
    what: Annotated[
        Shown, typer.Option("--as", help="The request, its review, or what fits the key: reviewers read reviews.")
    ] = Shown.FITTING,
    url: UrlOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a request, or to a reviewer its review. With --wait, wait for the request's end, through a hold as well.

    With the keys of an embedded stack, a review is shown while it waits for a decision, and the request before and
    after.
    """
    if what is Shown.REVIEW:
        with session(url, api_key, as_json, *REVIEW_READERS) as current:
            _show_review(current, current.api.get(path_of("reviews", identifier)))
        return
    asked = None
    if what is Shown.FITTING and not wait and has_key(url, api_key, *DECIDERS):
        with session(url, api_key, as_json, *DECIDERS) as current:
            asked = current.api.get(path_of("reviews", identifier), accept=frozenset({403, 404}))
            if _is_for_reviewer(asked, url, api_key):
                _show_review(current, asked)
                return
    with session(url, api_key, as_json, *REQUEST_READERS, warned=asked is not None) as current:
        deadline = deadline_in(wait)
        missing = asked is not None and asked.status == 404
        found = current.api.get(path_of("requests", identifier), accept=frozenset({403} if missing else ()))
        if asked is not None and found.status == 403:
            message = f"there is no review of {identifier}, and this key reads no requests"
            raise CommandError(ExitCode.NOT_FOUND, message, "sluice reviews lists what there is", asked.text)
        _show_request(current, current.wait(found, deadline, through_hold=True), waited=wait > 0)


def _is_for_reviewer(answer: Answer, url: str | None, key: str | None) -> bool:
    """Whether ``answer`` is a review that the holder of the key should see instead of the request."""
    may = answer.data.get("may_decide")
    if answer.status != 200 or (isinstance(may, dict) and may.get("reviewer") is False):
        return False
    return bool(key) or answer.data.get("state") == "pending" or not has_key(url, key, *REQUEST_READERS)


def _show_review(current: Session, answer: Answer) -> None:
    from cli.review_view import print_review

    current.show(answer, print_review)


def record(
    identifier: IdArgument, url: UrlOption = None, api_key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Show the decision record: what was checked, called, decided, and why."""
    from cli.output import print_record

    with session(url, api_key, as_json, "auditor") as current:
        current.show(current.api.get(path_of("requests", identifier, "record")), print_record)


def events(
    identifier: IdArgument, url: UrlOption = None, api_key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Follow a request's progress live, to its end. With --json, one event a line."""
    from cli.output import event_json, print_event

    with session(url, api_key, as_json, *REQUEST_READERS) as current:
        for event in current.api.events(path_of("requests", identifier, "events")):
            if as_json:
                print_json(event_json(event))
            else:
                print_event(event)


def cancel(
    identifier: IdArgument,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; it goes into the record.")],
    url: UrlOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Cancel a request. Nothing is released after that; the record is kept."""
    from cli.output import print_request

    with session(url, api_key, as_json, "service", "operator") as current:
        # Cancelling twice is cancelling once, so a lost answer may be asked for again.
        path = path_of("requests", identifier, "cancel")
        current.show(current.api.post(path, {"reason": reason}, repeatable=True), print_request)


def policies(url: UrlOption = None, api_key: KeyOption = None, as_json: JsonOption = False) -> None:
    """List the policies that requests can name."""
    from cli.output import print_policies

    with session(url, api_key, as_json, "policy-admin", "operator", "auditor") as current:
        current.show(current.api.get("/v1/policies"), print_policies)


def _input(text: str | None, messages: Path | None) -> dict[str, Any]:
    if (text is None) == (messages is None):
        raise CommandError(ExitCode.USAGE, "give the input as TEXT, as - (standard input), or with --messages FILE")
    if messages is None:
        return {"input": read_text("-", "standard input") if text == "-" else text}
    try:
        found = json.loads(read_text(str(messages), "--messages"))
    except (ValueError, RecursionError):
        raise CommandError(
            ExitCode.USAGE, f"--messages: {messages} is not JSON", 'write [{"role": "user", "content": "…"}]'
        ) from None
    return {"messages": found}


def _pairs(items: list[str] | None, option: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for item in items or []:
        key, equals, value = item.partition("=")
        if not key or not equals:
            raise CommandError(ExitCode.USAGE, f"{option}: {item!r} is not KEY=VALUE")
        if key in dict(found):
            raise CommandError(ExitCode.USAGE, f"{option}: {key!r} is given twice; keep one")
        found.append((key, value))
    return found


def _scalar(value: str) -> str | int | float | bool:
    """``value`` as JSON if it is a finite number, true, false or a quoted text; otherwise the text itself."""
    try:
        decoded = json.loads(value, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return value
    if isinstance(decoded, float) and abs(decoded) == float("inf"):
        return value
    return decoded if isinstance(decoded, str | int | float | bool) else value


def _amount(written: str | None) -> str | None:
    """An amount as exact text; whether it is a permitted one, the API says."""
    if written is None:
        return None
    try:
        return format(Decimal(written), "f") if Decimal(written).is_finite() else _no_amount(written)
    except InvalidOperation:
        return _no_amount(written)


def _no_amount(written: str) -> str:
    raise CommandError(ExitCode.USAGE, f"--max-cost: {written!r} is not an amount in US dollars", "write it like 0.01")
