"""``python -m standalone.hold_bench``: what it costs reviewers that very many requests are held at once.

Measured on one stack in one run, first with 100 held and then with all of them; after that everything is killed,
started again, and every request is decided.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from domain.identity import Role
from standalone.commands import finish
from standalone.crowd import Crowd, kill_and_start_again
from standalone.processes import StackError, free_port
from standalone.stack import StackOptions, running

POLICIES = Path(__file__).parent / "bench_policies"
FEW = 100
ROUNDS = 60
WARM_UP = 5
LARGEST_RATIO = 1.5
LIMITED = ("queue page", "decision")
_CSRF = re.compile(r'name="csrf" value="([^"]+)"')

Figures = dict[str, dict[str, float]]


class Reviewer:
    """A reviewer's two ways in: the API, and the console as a browser uses it."""

    def __init__(self, crowd: Crowd, api: httpx.AsyncClient, console: httpx.AsyncClient) -> None:
        self._crowd = crowd
        self._api = api
        self._console = console
        self._headers = crowd.stack.issued.bearer(Role.REVIEWER)

    async def sign_in(self) -> None:
        """Sign in to the console with the reviewer's key, through the form."""
        page = (await self._console.get("/console/sign-in")).raise_for_status().text
        token = _CSRF.search(page)
        if token is None:
            raise RuntimeError("the sign-in page has no form")
        key = self._crowd.stack.issued.keys[Role.REVIEWER]
        sent = await self._console.post("/console/sign-in", data={"csrf": token[1], "key": key})
        if sent.status_code != httpx.codes.SEE_OTHER:
            raise RuntimeError(f"signing in was answered {sent.status_code}")

    async def queue_by_api(self, _review: tuple[Any, ...]) -> None:
        """The first page of the queue, as a program reads it."""
        (await self._api.get("/v1/reviews?state=pending&limit=50", headers=self._headers)).raise_for_status()

    async def queue_page(self, _review: tuple[Any, ...]) -> None:
        """The first page of the queue, as a person sees it."""
        await self._page("/console/reviews")

    async def review_page(self, review: tuple[Any, ...]) -> None:
        """The page of one review."""
        await self._page(f"/console/reviews/{review[0]}")

    async def decision(self, review: tuple[Any, ...]) -> None:
        """A decision, from its POST to the answer that it was applied."""
        await self._crowd.decide(review, "approve")

    async def _page(self, path: str) -> None:
        page = await self._console.get(path)
        if page.status_code != httpx.codes.OK:
            raise RuntimeError(f"{path} was answered {page.status_code}")

    async def measure(self, told: Callable[[int], None]) -> Figures:
        """Milliseconds of each, one at a time and in turn, over reviews spread evenly through the queue."""
        steps: dict[str, Callable[[tuple[Any, ...]], Awaitable[None]]] = {
            "queue page": self.queue_page,
            "queue by API": self.queue_by_api,
            "review page": self.review_page,
            "decision": self.decision,
        }
        waiting = self._crowd.rows(
            "SELECT request_id, result_sha256, review_version FROM reviews WHERE state = 'pending' "
            "ORDER BY expires_at, request_id"
        )
        rounds = WARM_UP + ROUNDS
        spread = [waiting[number * len(waiting) // rounds] for number in range(rounds)]
        taken: dict[str, list[float]] = {name: [] for name in steps}
        for number, review in enumerate(spread):
            for name, step in steps.items():
                started = perf_counter()
                await step(review)
                if number >= WARM_UP:
                    taken[name].append((perf_counter() - started) * 1000)
            told(number + 1)
        return {
            name: {"p50_ms": statistics.median(times), "p95_ms": statistics.quantiles(times, n=20)[-1]}
            for name, times in taken.items()
        }


def resident_mb(pid: int) -> float:
    """Resident memory of a process in MiB, as Linux tells it."""
    status = Path(f"/proc/{pid}/status").read_text("utf-8")
    found = re.search(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def bench_options(data: Path) -> StackOptions:
    """A stack on free ports under a policy that holds everything."""
    api_port, temporal_port, ui_port, provider_port = (free_port() for _ in range(4))
    return StackOptions(
        data=data,
        api_port=api_port,
        temporal_port=temporal_port,
        ui_port=ui_port,
        provider_port=provider_port,
        policies=POLICIES,
    )


async def bench(data: Path, holds: int, drain: bool, progress: Progress) -> dict[str, Any]:
    """Run everything; the report."""
    async with (
        running(bench_options(data)) as stack,
        httpx.AsyncClient(base_url=stack.url, timeout=60) as http,
        httpx.AsyncClient(base_url=stack.url, timeout=60) as console,
    ):
        crowd = Crowd(stack, http)
        reviewer = Reviewer(crowd, http, console)
        few = FEW + WARM_UP + ROUNDS  # as many are decided while it is measured
        await crowd.hold(0, few, _bar(progress, f"Holding {few}", few))
        await reviewer.sign_in()
        before = await reviewer.measure(_bar(progress, f"Measuring with {FEW}", WARM_UP + ROUNDS))
        more = holds + WARM_UP + ROUNDS - crowd.pending()
        started = perf_counter()
        await crowd.hold(few, more, _bar(progress, f"Holding {holds:,}", more))
        filling = perf_counter() - started
        after = await reviewer.measure(_bar(progress, f"Measuring with {holds:,}", WARM_UP + ROUNDS))
        report = {
            "holds": crowd.pending(),
            "held_per_second": more / filling,
            "few": before,
            "many": after,
            "ratios": {name: after[name]["p50_ms"] / before[name]["p50_ms"] for name in before},
            "resident_mb": _resident(stack),
            "files_mb": {name: (data / name).stat().st_size / 2**20 for name in ("temporal.db", "sluice.db")},
        }
        if drain:
            report["after_kill"] = await _drain(crowd, progress)
    report["missed"] = missed(report)
    return report


def _resident(stack: Any) -> dict[str, float]:
    parts = {"worker": stack.worker, "api": stack.api, "temporal": stack.temporal}
    return {name: resident_mb(part.pid) for name, part in parts.items()}


async def _drain(crowd: Crowd, progress: Progress) -> dict[str, Any]:
    held = crowd.pending()
    seconds = await kill_and_start_again(crowd.stack)
    kept = crowd.pending()
    started = perf_counter()
    outcomes = await crowd.decide_all(_bar(progress, f"Deciding {kept:,} after kill -9 of everything", kept))
    return {
        "held_before": held,
        "held_after": kept,
        "seconds_until_ready": seconds,
        "decided_per_second": kept / (perf_counter() - started),
        "outcomes": dict(outcomes),
        "wrong": {what: count for what, count in crowd.lost_or_doubled().items() if count},
    }


def missed(report: dict[str, Any]) -> list[str]:
    """The limits that were missed, in words; empty if none was."""
    found = [
        f"{name}: {report['ratios'][name]:.2f} times its figure with {FEW} held, at most {LARGEST_RATIO} are allowed"
        for name in LIMITED
        if report["ratios"][name] > LARGEST_RATIO
    ]
    after = report.get("after_kill")
    if after is not None:
        if after["held_after"] != after["held_before"]:
            found.append(f"{after['held_before']} were held before the kill, {after['held_after']} after it")
        found += [f"{count} {what}" for what, count in after["wrong"].items()]
    return found


def table(report: dict[str, Any]) -> Table:
    """The report for people."""
    shown = Table(title=f"{report['holds']:,} requests held at once, milliseconds")
    for heading in ("", f"p50, {FEW} held", "p50, all held", "ratio", "limit", "p95, all held"):
        shown.add_column(heading, justify="left" if not heading else "right")
    for name, ratio in report["ratios"].items():
        few, many = report["few"][name], report["many"][name]
        limit = f"{LARGEST_RATIO}" if name in LIMITED else ""
        cells = (f"{few['p50_ms']:.1f}", f"{many['p50_ms']:.1f}", f"{ratio:.2f}", limit, f"{many['p95_ms']:.1f}")
        shown.add_row(name, *cells)
    return shown


def lines(report: dict[str, Any]) -> list[str]:
    """What stands below the table."""
    memory = ", ".join(f"{name} {size:.0f}" for name, size in report["resident_mb"].items())
    files = ", ".join(f"{name} {size:.0f}" for name, size in report["files_mb"].items())
    told = [
        f"Held per second  {report['held_per_second']:.1f}",
        f"Resident, MiB    {memory}",
        f"Files, MiB       {files}",
    ]
    after = report.get("after_kill")
    if after is not None:
        outcomes = ", ".join(f"{count} {name}" for name, count in sorted(after["outcomes"].items()))
        told += [
            f"After kill -9    ready in {after['seconds_until_ready']:.1f} s, {after['held_after']:,} still held",
            f"Decided          {outcomes}; {after['decided_per_second']:.1f} a second",
        ]
    return [*told, *(f"MISSED           {problem}" for problem in report["missed"])]


def _bar(progress: Progress, what: str, total: int) -> Callable[[int], None]:
    task = progress.add_task(what, total=total)
    return lambda done: progress.update(task, completed=done)


def main(
    holds: Annotated[int, typer.Option(min=2 * FEW, help="How many requests are held at once.")] = 10_000,
    drain: Annotated[bool, typer.Option(help="Kill everything at the end, start again, and decide over all.")] = True,
    data: Annotated[
        Path | None, typer.Option(help="Keep databases and logs in this new folder, instead of nowhere.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON and nothing else.")] = False,
) -> int:
    """Measure the reviewers' pages and decisions with 100 and with very many requests held.

    Exit code 0 if every limit was kept and, after the kill, every request was decided exactly once; 130 after Ctrl-C
    or SIGTERM; 1 otherwise.
    """
    return finish(Console(stderr=True), _main(holds, drain, data, as_json))


async def _main(holds: int, drain: bool, data: Path | None, as_json: bool) -> int:
    if data is not None and (data / "sluice.db").exists():
        # Its requests have the same idempotency keys, so none would be held anew and the counts would be wrong.
        raise StackError(f"{data} holds the data of an earlier stack; name a new folder with --data")
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with (
        tempfile.TemporaryDirectory(prefix="sluice-") as folder,
        Progress(*columns, console=Console(stderr=True)) as bar,
    ):
        report = await bench(data or Path(folder), holds, drain, bar)
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        console = Console()
        console.print(table(report))
        for line in lines(report):
            console.print(line, markup=False, highlight=False)
    return 1 if report["missed"] else 0


if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    code = app(standalone_mode=False)
    sys.stdout.flush()
    sys.stderr.flush()
    # A process that used Temporal can abort while the interpreter is torn down; everything is closed by now.
    os._exit(code if isinstance(code, int) else 0)
