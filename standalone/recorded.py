"""Drives recorded questions through the whole stack: API, Temporal, worker, ledger.

The provider serves the recorded answers of two real models, the policy ``recorded-arithmetic`` decides by the answers'
texts alone, and everything that is reported comes from the API, as a backend service and a reviewer would see it.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import tempfile
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from adapters.policy_files import load_catalog, load_policies
from domain.identity import Role
from domain.policy import PolicySnapshot
from standalone.credentials import Credentials
from standalone.feed import server_sent
from standalone.processes import StackError, free_port
from standalone.recorded_report import Pair, Question, RecordedAnswer, Told, problems, report, right
from standalone.recorded_table import report_table
from standalone.stack import Stack, StackOptions, running

POLICIES = Path(__file__).parent / "recorded_policies"
POLICY = "recorded-arithmetic"
INTERRUPTED = 130
_LONGEST = 300.0
"""Seconds a question may take until it has ended or is held; generous, as the machine may be shared."""
_WAIT_SECONDS = 20
_MOST_SHOWN = 10


@dataclass(frozen=True)
class RecordedOptions:
    """What to drive and where. ``None``: every question, a temporary folder, free ports."""

    file: Path
    limit: int | None = None
    at_once: int = 16
    data: Path | None = None
    ports: tuple[int | None, int | None, int | None, int | None] = (None, None, None, None)
    """Of the API, Temporal, its UI and the provider."""


async def run_recorded(options: RecordedOptions, console: Console, *, as_json: bool) -> int:
    """Drive the questions and report. Exit code 0 if the figures may be believed, 1 if not.

    Raises ``StackError`` where the file cannot be read or the stack cannot start.
    """
    snapshot = recorded_snapshot()
    pair = Pair(*snapshot.models)
    questions = load_questions(options.file, pair, options.limit)
    try:
        async with _stack(options, console) as stack:
            with _bar(console, len(questions), pair) as advance:
                told = await _watched(stack, drive(stack, questions, snapshot, options.at_once, advance))
    except asyncio.CancelledError:
        console.print("Interrupted; there is no report over a part of the questions.")
        return INTERRUPTED
    figures = report([item for item in told if item.status in ("completed", "held")], pair)
    wrong = problems(questions, told, pair)
    if as_json:
        print(json.dumps(figures | {"policy_version": snapshot.version, "problems": wrong}, indent=2))
    else:
        console.print(report_table(figures))
    for problem in wrong[:_MOST_SHOWN]:
        console.print(f"not as it must be: {problem}", style="red", markup=False)
    if len(wrong) > _MOST_SHOWN:
        console.print(f"… and {len(wrong) - _MOST_SHOWN} more", style="red")
    return 1 if wrong else 0


def recorded_snapshot() -> PolicySnapshot:
    """The policy that recorded questions run under, with its two models."""
    snapshot = load_policies(POLICIES, load_catalog(POLICIES / "catalog.yaml")).snapshot(POLICY)
    if snapshot is None:
        raise StackError(f"{POLICIES} holds no policy {POLICY!r}; restore it")
    return snapshot


def load_questions(path: Path, pair: Pair, limit: int | None = None) -> list[Question]:
    """The first ``limit`` questions of a recorded file, or all, with the answers of ``pair``.

    Raises ``StackError`` that says what is wrong with the file.
    """
    questions: list[Question] = []
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if limit is not None and len(questions) >= limit:
                    break
                questions.append(_question(line, pair, f"{path}, line {number}"))
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise StackError(f"{path} cannot be read: {error}; name a file of recorded answers (.jsonl.gz)") from None
    if not questions:
        raise StackError(f"{path} holds no question; name a file of recorded answers (.jsonl.gz)")
    if len({question.prompt for question in questions}) != len(questions):
        raise StackError(f"{path} holds a prompt twice, so its answers cannot be told apart; remove one of them")
    return questions


def _question(line: str, pair: Pair, place: str) -> Question:
    try:
        row = json.loads(line)
        answers = {model.id: row["answers"][model.id] for model in (pair.cheap, pair.strong)}
        read = {
            model: RecordedAnswer(str(answer["text"]), bool(answer["correct"])) for model, answer in answers.items()
        }
        return Question(str(row["id"]), str(row["prompt"]), read)
    except (ValueError, KeyError, TypeError) as error:
        form = f'{{"id", "prompt", "answers": {{"{pair.cheap.id}": {{"text", "correct"}}, "{pair.strong.id}": …}}}}'
        raise StackError(f"{place} is not of the form {form}: {type(error).__name__} {error}") from None


async def drive(
    stack: Stack,
    questions: Sequence[Question],
    snapshot: PolicySnapshot,
    at_once: int,
    advance: Callable[[Told], None],
) -> list[Told]:
    """Send every question, ``at_once`` under way, and follow each until it has ended or is held.

    A request that fails on the way is in the result with status ``failed`` and the reason; the others go on.
    Idempotency keys are the questions' ids: driven again on the same data, the same requests are found.
    """
    gate = asyncio.Semaphore(at_once)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=at_once)
    timeout = httpx.Timeout(60, read=120)
    async with httpx.AsyncClient(base_url=stack.url, timeout=timeout, limits=limits) as http:

        async def one(question: Question) -> Told:
            async with gate:
                told = await _ask(_Caller(http, stack.issued, snapshot), question)
            advance(told)
            return told

        return list(await asyncio.gather(*(one(question) for question in questions)))


@dataclass(frozen=True)
class _Caller:
    """Who asks: the API client with its keys, and the policy whose stages it knows."""

    http: httpx.AsyncClient
    credentials: Credentials
    snapshot: PolicySnapshot

    async def get(self, path: str, role: Role = Role.SERVICE, **query: Any) -> dict[str, Any]:
        """The JSON at ``path``."""
        response = await self.http.get(path, params=query, headers=self.credentials.bearer(role))
        answer: dict[str, Any] = response.raise_for_status().json()
        return answer


async def _ask(caller: _Caller, question: Question) -> Told:
    try:
        async with asyncio.timeout(_LONGEST):
            return await _follow(caller, question)
    except httpx.HTTPStatusError as error:
        reason = f"answered {error.response.status_code}"
    except (httpx.HTTPError, TimeoutError, KeyError, ValueError) as error:
        reason = f"{type(error).__name__} {error}"
    return Told(question, f"none for {question.id}", "failed", "", "", 0, Decimal(0), reason=reason)


async def _follow(caller: _Caller, question: Question) -> Told:
    headers = {"Idempotency-Key": f"recorded-{question.id}", **caller.credentials.bearer(Role.SERVICE)}
    body = {"policy": POLICY, "input": question.prompt}
    sent = await caller.http.post("/v1/requests", json=body, headers=headers)
    request_id = str(sent.raise_for_status().json()["id"])
    objections: list[str] = []
    unjudged: list[str] = []
    first = caller.snapshot.policy.stages[0].name
    address = f"/v1/requests/{request_id}/events"
    async with caller.http.stream("GET", address, headers=caller.credentials.bearer(Role.SERVICE)) as response:
        response.raise_for_status()
        async for name, data in server_sent(response):
            if name == "request.held":
                break
            if name == "check.finished" and data["verdict"] != "pass":
                if data["stage"] == first:
                    objections.append(str(data["check"]))
                if data["verdict"] != "fail":
                    unjudged.append(str(data["check"]))
    told = await _ending(caller, question, request_id)
    return replace(told, objections=tuple(objections), unjudged=tuple(unjudged))


async def _ending(caller: _Caller, question: Question, request_id: str) -> Told:
    """Where the request stands in the ledger, which may for a moment still say that it is running."""
    own = f"/v1/requests/{request_id}"
    answer = await caller.get(own, wait=0)
    while answer["status"] == "running":
        answer = await caller.get(own, wait=_WAIT_SECONDS)
    if answer["status"] == "held":
        return await _held(caller, question, request_id)
    return Told(
        question,
        request_id,
        answer["status"],
        (answer["model"] or {}).get("name", ""),
        answer["output"] or "",
        answer["stages_attempted"],
        _exact(answer["cost_usd"]),
        reason=answer["reason"] or "",
    )


async def _held(caller: _Caller, question: Question, request_id: str) -> Told:
    """The proposal from its review, with what it has cost so far."""
    proposal = (await caller.get(f"/v1/reviews/{request_id}", Role.REVIEWER))["proposal"]
    so_far = await caller.get(f"/v1/requests/{request_id}")
    index = proposal["stage_index"]
    return Told(
        question,
        request_id,
        "held",
        "" if index is None else caller.snapshot.models[index].name,
        proposal["text"],
        so_far["stages_attempted"],
        _exact(so_far["cost_usd"]),
    )


def _exact(cost: float) -> Decimal:
    """The amount as the API wrote it in decimal digits."""
    return Decimal(repr(cost))


async def _watched(stack: Stack, work: Coroutine[Any, Any, list[Told]]) -> list[Told]:
    """The result of ``work``; a part of the stack that dies ends it at once with what that part logged last."""
    driving = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(stack.watch())
    try:
        await asyncio.wait({driving, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not driving.done():
            await watching
        return await driving
    finally:
        for task in (driving, watching):
            task.cancel()
        await asyncio.gather(driving, watching, return_exceptions=True)


@asynccontextmanager
async def _stack(options: RecordedOptions, console: Console) -> AsyncIterator[Stack]:
    with _folder(options.data) as data:
        api, temporal, ui, provider = _ports(options.ports)
        stack_options = StackOptions(
            data=data,
            api_port=api,
            temporal_port=temporal,
            ui_port=ui,
            provider_port=provider,
            policies=POLICIES,
            provider_arguments=("--recorded", str(options.file.resolve())),
        )
        status = console.status("Starting Temporal, the recorded models, a worker and the API …")
        status.start()
        try:
            async with running(stack_options) as stack:
                status.stop()
                yield stack
        finally:
            status.stop()


@contextmanager
def _folder(data: Path | None) -> Iterator[Path]:
    if data is not None:
        yield data
        return
    with tempfile.TemporaryDirectory(prefix="sluice-recorded-") as made:
        yield Path(made)


def _ports(wished: Sequence[int | None]) -> list[int]:
    """The wished ports, and in place of None ports that nobody listens on now."""
    taken = {port for port in wished if port is not None}
    ports: list[int] = []
    for port in wished:
        while port is None:
            candidate = free_port()
            port = None if candidate in taken else candidate
        taken.add(port)
        ports.append(port)
    return ports


@contextmanager
def _bar(console: Console, total: int, pair: Pair) -> Iterator[Callable[[Told], None]]:
    """A progress bar; what it yields takes in each question that has ended or is held."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    done = correct = 0
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("Asking", total=total, figures="")

        def advance(told: Told) -> None:
            nonlocal done, correct
            done += 1
            correct += right(told, pair)
            speed = progress.tasks[0].speed or 0.0
            progress.update(task, advance=1, figures=f"{speed:.1f}/s, {correct / done:.1%} right so far")

        yield advance
