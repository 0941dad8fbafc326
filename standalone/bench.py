"""``python -m standalone.bench``: what Sluice adds to a bare Workflow of the same shape, measured in one run.

Both run on the same dev server against the same simulated provider of fixed latency, in turn, so that a change in the
machine's speed meets both. Overhead is wall-clock time less the provider's own time.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any
from uuid import uuid4

import httpx
import typer
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from temporalio.client import Client

from domain.identity import Role
from standalone.bare_workflow import BARE_QUEUE, BareCascade, BareHold
from standalone.commands import finish
from standalone.processes import Process, free_port
from standalone.stack import HOST, Stack, StackOptions, running

POLICIES = Path(__file__).parent / "bench_policies"
CHECKS = 4
PROVIDER_MS = 50
CONCURRENT = 20
WARM_UP = 10
LIMITS = {
    "overhead_ratio_p50": ("at most", 1.25),
    "overhead_ratio_p95": ("at most", 1.25),
    "throughput_ratio": ("at least", 0.8),
    "decision_ratio_p95": ("at most", 3.0),
    "sequential_activities": ("at most", 4),
}
PROMPT = "A hard question: what does the machinery cost?"

Step = Callable[[], Awaitable[float]]


class Bench:
    """The two contenders: each method does one unit of work and returns seconds."""

    def __init__(self, stack: Stack, client: Client, http: httpx.AsyncClient) -> None:
        self._stack = stack
        self._client = client
        self._http = http

    def _headers(self, role: Role) -> dict[str, str]:
        return {**self._stack.issued.bearer(role), "Idempotency-Key": str(uuid4())}

    async def submit(self, prompt: str, wait: int, **constraints: str) -> dict[str, Any]:
        """One request over HTTP; its answer."""
        body = {"policy": "bench", "input": prompt, "constraints": constraints, "wait_seconds": wait}
        sent = await self._http.post("/v1/requests", json=body, headers=self._headers(Role.SERVICE))
        answer: dict[str, Any] = sent.raise_for_status().json()
        return answer

    async def sluice(self) -> float:
        """A two-stage request over HTTP, from the call to its answer."""
        started = perf_counter()
        answer = await self.submit(PROMPT, 60)
        if answer["status"] != "completed" or answer["stages_attempted"] != 2:
            raise RuntimeError(f"the request did not take two stages: {answer}")
        return perf_counter() - started

    async def bare(self) -> float:
        """The bare Workflow, from its start to its result."""
        started = perf_counter()
        await self._client.execute_workflow(
            BareCascade.run, args=[PROMPT, CHECKS], id=f"bare-{uuid4()}", task_queue=BARE_QUEUE
        )
        return perf_counter() - started

    async def sluice_decision(self) -> float:
        """A held request, from the reviewer's POST to the waiting requester's answer."""
        request_id = (await self.submit("An easy question.", 0, risk="high"))["id"]
        review = await self._pending(request_id)
        waiting = asyncio.create_task(self._answer(request_id))
        await asyncio.sleep(0.05)
        started = perf_counter()
        decision = {
            "decision_id": str(uuid4()),
            "verdict": "approve",
            "result_sha256": review["proposal"]["result_sha256"],
            "review_version": review["proposal"]["review_version"],
        }
        decided = await self._http.post(
            f"/v1/reviews/{request_id}/decisions", json=decision, headers=self._headers(Role.REVIEWER)
        )
        decided.raise_for_status()
        if (await waiting)["status"] != "completed":
            raise RuntimeError("the approved request was not released")
        return perf_counter() - started

    async def _answer(self, request_id: str) -> dict[str, Any]:
        got = await self._http.get(f"/v1/requests/{request_id}?wait=30", headers=self._headers(Role.SERVICE))
        answer: dict[str, Any] = got.json()
        return answer

    async def _pending(self, request_id: str) -> dict[str, Any]:
        while True:
            got = await self._http.get(f"/v1/reviews/{request_id}", headers=self._headers(Role.REVIEWER))
            if got.status_code == httpx.codes.OK:
                review: dict[str, Any] = got.json()
                return review
            await asyncio.sleep(0.02)

    async def bare_decision(self) -> float:
        """A waiting bare Workflow, from the Signal to its result."""
        handle = await self._client.start_workflow(BareHold.run, id=f"bare-{uuid4()}", task_queue=BARE_QUEUE)
        waiting = asyncio.create_task(handle.result())
        await asyncio.sleep(0.2)
        started = perf_counter()
        await handle.signal(BareHold.decide)
        await waiting
        return perf_counter() - started

    async def sequential_activities(self) -> int:
        """How many Activities a request that is accepted at once waits for one after another, from its history."""
        answer = await self.submit("An easy question.", 60)
        history = await self._client.get_workflow_handle(answer["id"]).fetch_history()
        rounds = 0
        pending = False
        for event in history.events:
            if event.HasField("activity_task_scheduled_event_attributes"):
                rounds += not pending
                pending = True
            elif event.HasField("workflow_task_completed_event_attributes"):
                pending = False
        return rounds


async def in_turn(
    first: Step, second: Step, count: int, advance: Callable[[], None]
) -> tuple[list[float], list[float]]:
    """Seconds of ``count`` units of each, one after another, A B B A …, after a warm-up."""
    for _ in range(WARM_UP):
        await first()
        await second()
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(count):
        order = ((0, first), (1, second)) if number % 2 == 0 else ((1, second), (0, first))
        for which, step in order:
            times[which].append(await step())
            advance()
    return times


async def rate(step: Step, count: int) -> float:
    """Units a second with ``CONCURRENT`` at once."""
    gate = asyncio.Semaphore(CONCURRENT)

    async def one() -> None:
        async with gate:
            await step()

    started = perf_counter()
    await asyncio.gather(*(one() for _ in range(count)))
    return count / (perf_counter() - started)


def percentile(seconds: list[float], percent: int) -> float:
    """In milliseconds."""
    return statistics.quantiles(seconds, n=100, method="inclusive")[percent - 1] * 1000


async def measure(bench: Bench, rounds: int, progress: Progress) -> dict[str, Any]:
    """All figures."""
    batches = max(2, rounds // 20)
    bar = progress.add_task("measuring", total=4 * rounds + 2 * batches)

    def advance() -> None:
        progress.advance(bar)

    sluice, bare = await in_turn(bench.sluice, bench.bare, rounds, advance)
    rates: tuple[list[float], list[float]] = ([], [])
    for _ in range(batches):
        for which, step in ((0, bench.sluice), (1, bench.bare)):
            rates[which].append(await rate(step, 3 * CONCURRENT))
            advance()
    decision, signal = await in_turn(bench.sluice_decision, bench.bare_decision, rounds, advance)
    own = 2 * PROVIDER_MS
    figures: dict[str, Any] = {
        "provider_ms": own,
        "rounds": rounds,
        "sluice": _side(sluice, rates[0], decision, own),
        "bare": _side(bare, rates[1], signal, own),
        "sequential_activities": await bench.sequential_activities(),
    }
    figures |= _ratios(figures)
    figures["within_limits"] = {name: _within(figures[name], *limit) for name, limit in LIMITS.items()}
    return figures


def _side(run: list[float], rates: list[float], decision: list[float], own: float) -> dict[str, float]:
    return {
        "overhead_ms_p50": percentile(run, 50) - own,
        "overhead_ms_p95": percentile(run, 95) - own,
        "per_second": statistics.median(rates),
        "decision_ms_p50": percentile(decision, 50),
        "decision_ms_p95": percentile(decision, 95),
    }


def _ratios(figures: dict[str, Any]) -> dict[str, float]:
    sluice, bare = figures["sluice"], figures["bare"]
    return {
        "overhead_ratio_p50": sluice["overhead_ms_p50"] / bare["overhead_ms_p50"],
        "overhead_ratio_p95": sluice["overhead_ms_p95"] / bare["overhead_ms_p95"],
        "throughput_ratio": sluice["per_second"] / bare["per_second"],
        "decision_ratio_p95": sluice["decision_ms_p95"] / bare["decision_ms_p95"],
    }


def _within(figure: float, direction: str, limit: float) -> bool:
    return figure <= limit if direction == "at most" else figure >= limit


def tables(figures: dict[str, Any]) -> list[Table]:
    """The figures for people."""
    sides = Table(title=f"Two stages, four guardrails, provider's own {figures['provider_ms']} ms left out")
    for heading in ("", "Sluice", "bare Workflow"):
        sides.add_column(heading, justify="right" if heading else "left")
    names = {
        "overhead_ms_p50": "overhead, ms, p50",
        "overhead_ms_p95": "overhead, ms, p95",
        "per_second": f"requests a second, {CONCURRENT} at once",
        "decision_ms_p50": "decision to release, ms, p50",
        "decision_ms_p95": "decision to release, ms, p95",
    }
    for key, name in names.items():
        sides.add_row(name, f"{figures['sluice'][key]:.1f}", f"{figures['bare'][key]:.1f}")
    limits = Table(title="Against the limits")
    for heading in ("", "figure", "limit", ""):
        limits.add_column(heading, justify="right" if heading else "left")
    for name, (direction, limit) in LIMITS.items():
        kept = figures["within_limits"][name]
        verdict = "[green]kept[/]" if kept else "[red]missed[/]"
        limits.add_row(name.replace("_", " "), f"{figures[name]:.2f}", f"{direction} {limit:g}", verdict)
    return [sides, limits]


async def bench(rounds: int, console: Console, *, as_json: bool) -> int:
    """Start a stack and the bare worker, measure, and report. 0 if every limit was kept, 1 otherwise."""
    with tempfile.TemporaryDirectory(prefix="sluice-bench-") as folder:
        options = StackOptions(
            data=Path(folder),
            api_port=free_port(),
            temporal_port=free_port(),
            ui_port=free_port(),
            provider_port=free_port(),
            policies=POLICIES,
            provider_arguments=("--fixed-latency-ms", str(PROVIDER_MS)),
            environment={"SLUICE_LOG_LEVEL": "warning"},
        )
        async with running(options) as stack:
            command = [
                sys.executable,
                "-m",
                "standalone.bare_worker",
                stack.temporal_address,
                f"{stack.provider_url}/v1",
            ]
            bare = Process("bare worker", command, Path(folder) / "logs" / "bare.log", {})
            bare.start()
            try:
                figures = await _measured(stack, rounds, console)
            finally:
                await bare.stop()
    if as_json:
        print(json.dumps(figures, indent=2))
    else:
        console.print(*tables(figures))
    return 0 if all(figures["within_limits"].values()) else 1


async def _measured(stack: Stack, rounds: int, console: Console) -> dict[str, Any]:
    client = await Client.connect(f"{HOST}:{stack.options.temporal_port}")
    limits = httpx.Limits(max_connections=2 * CONCURRENT, max_keepalive_connections=2 * CONCURRENT)
    async with httpx.AsyncClient(base_url=stack.url, timeout=90, limits=limits) as http:
        with Progress(console=console, transient=True) as progress:
            return await measure(Bench(stack, client, http), rounds, progress)


def main(
    rounds: Annotated[int, typer.Option(help="Units of each kind and side.", min=20)] = 100,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON and nothing else.")] = False,
) -> int:
    """Measure Sluice against a bare Workflow of the same shape. Exit code 1 when a limit is missed."""
    console = Console(stderr=as_json)
    return finish(console, bench(rounds, console, as_json=as_json))


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    code = app(standalone_mode=False)
    sys.stdout.flush()
    sys.stderr.flush()
    # A process that used Temporal can abort while the interpreter is torn down; everything is closed by now.
    os._exit(code if isinstance(code, int) else 0)
