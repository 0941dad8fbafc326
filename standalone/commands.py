"""The commands of the embedded stack: run it, or drive recorded answers through it."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.panel import Panel

from domain.errors import SluiceError
from standalone.credentials import Credentials
from standalone.feed import feed, nothing_fed_yet
from standalone.recorded import RecordedOptions, run_recorded
from standalone.samples import SAMPLES, load_samples
from standalone.stack import Stack, StackOptions, running
from standalone.table import Board, summarise, summary_table

INTERRUPTED = 130
"""Exit code of work that Ctrl-C ended before it was done, as shells have it."""

app = typer.Typer(
    add_completion=False,
    help="Sluice on one machine, on loopback only.",
    no_args_is_help=False,
    pretty_exceptions_enable=False,
)

Data = Annotated[Path, typer.Option(envvar="SLUICE_DATA", help="Folder of databases, keys and logs.")]
Port = Annotated[int, typer.Option(envvar="SLUICE_PORT", help="Port of the HTTP API.")]
TemporalPort = Annotated[int, typer.Option(envvar="SLUICE_TEMPORAL_PORT", help="Port of the Temporal dev server.")]
UiPort = Annotated[int, typer.Option(envvar="SLUICE_UI_PORT", help="Port of the Temporal UI.")]
ProviderPort = Annotated[int, typer.Option(envvar="SLUICE_PROVIDER_PORT", help="Port of the simulated provider.")]
Temporal = Annotated[
    str | None, typer.Option(envvar="TEMPORAL_ADDRESS", help="Your own Temporal service, HOST:PORT, instead.")
]
Policies = Annotated[Path, typer.Option(envvar="SLUICE_POLICIES", help="Folder of policies and catalog.yaml.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the summary as JSON and nothing else.")]


@app.callback(invoke_without_command=True)
def run(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Feed the samples, print a summary, and end.")] = False,
    as_json: AsJson = False,
    data: Data = Path("var"),
    port: Port = 8080,
    temporal_port: TemporalPort = 7233,
    ui_port: UiPort = 8233,
    provider_port: ProviderPort = 8091,
    temporal: Temporal = None,
    policies: Policies = Path("policies"),
) -> int:
    """Start Temporal, the simulated models, a worker and the API; feed the samples when the database is empty.

    With --once: exit code 0 when every sample ended or is held as its policy says, 1 otherwise.
    """
    if context.invoked_subcommand is not None:
        return 0
    options = StackOptions(
        data=data,
        api_port=port,
        temporal_port=temporal_port,
        ui_port=ui_port,
        provider_port=provider_port,
        temporal_address=temporal,
        policies=policies,
    )
    console = Console(stderr=as_json)
    return finish(console, _run(options, console, once=once, as_json=as_json))


@app.command("recorded")
def recorded(
    file: Annotated[Path, typer.Argument(help="Recorded answers of two models, .jsonl.gz.", show_default=False)],
    limit: Annotated[int | None, typer.Option(min=1, help="Only the first N questions.", metavar="N")] = None,
    at_once: Annotated[int, typer.Option(min=1, max=200, help="Requests under way at a time.")] = 16,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON and nothing else.")] = False,
    data: Annotated[Path | None, typer.Option(help="Keep databases and logs here, instead of nowhere.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the HTTP API; a free one if absent.")] = None,
    temporal_port: Annotated[int | None, typer.Option(help="Port of the Temporal dev server.")] = None,
    ui_port: Annotated[int | None, typer.Option(help="Port of the Temporal UI.")] = None,
    provider_port: Annotated[int | None, typer.Option(help="Port of the provider of recorded answers.")] = None,
) -> int:
    """Drive recorded answers of real models through a stack of its own, and report accuracy and cost.

    Exit code 0 if every request ended or is held, and its cost equals the one recomputed from the texts; 1 otherwise.
    """
    ports = (port, temporal_port, ui_port, provider_port)
    console = Console(stderr=as_json)
    return finish(console, run_recorded(RecordedOptions(file, limit, at_once, data, ports), console, as_json=as_json))


def finish(console: Console, work: Coroutine[Any, Any, int]) -> int:
    """Run ``work`` until it ends or is interrupted; errors become one message and exit code 1."""
    try:
        return asyncio.run(_interruptible(work))
    except SluiceError as error:
        console.print(f"[bold red]Cannot go on:[/] {_plain(str(error))}")
        return 1


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


async def _interruptible(work: Coroutine[Any, Any, int]) -> int:
    """Run to the end; Ctrl-C or SIGTERM cancels the work, which then stops its processes in order."""
    task = asyncio.create_task(work)
    loop = asyncio.get_running_loop()
    for name in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(name, task.cancel)
    try:
        return await task
    except asyncio.CancelledError:
        return INTERRUPTED


async def _run(options: StackOptions, console: Console, *, once: bool, as_json: bool) -> int:
    status = console.status("Starting Temporal, the simulated models, a worker and the API …")
    status.start()
    try:
        async with running(options) as stack:
            status.stop()
            return await _serve(stack, console, once=once, as_json=as_json)
    finally:
        status.stop()


async def _serve(stack: Stack, console: Console, *, once: bool, as_json: bool) -> int:
    credentials = stack.issued
    code = 0
    if once or await nothing_fed_yet(stack.url, credentials):
        samples = load_samples(SAMPLES)
        with Board(console, len(samples)) as board:
            lines = await feed(stack.url, credentials, samples, board.changed)
        summary = summarise(lines)
        code = 0 if not summary["unexpected"] else 1
        if as_json:
            print(json.dumps(summary, indent=2))
        else:
            console.print(summary_table(summary))
            for line in summary["unexpected"]:
                console.print(f"[red]not as expected:[/] {_plain(json.dumps(line))}")
    if once:
        return code
    console.print(_welcome(stack, credentials))
    try:
        await stack.watch()
    except asyncio.CancelledError:
        console.print("Stopping; what is held stays held.")
    return 0


def _welcome(stack: Stack, credentials: Credentials) -> Panel:
    url, data = stack.url, stack.options.data
    rows = [
        f"Console for reviewers       {url}/console",
        f"API and its documentation   {url}/docs",
        f"Temporal UI                 {stack.ui_url or 'yours, at ' + stack.temporal_address}",
        f"Keys, one for each role     {data / 'credentials.json'}   (tenant {credentials.tenant})",
        f"Logs                        {data / 'logs'}",
        "",
        "What is held waits for you:",
        "  .venv/bin/sluice reviews",
        "  .venv/bin/sluice approve ID",
        "Ask something of your own; the simulated models do not know, so a person is asked:",
        '  .venv/bin/sluice submit --policy support-triage "My parcel is late."',
        "",
        "Ctrl-C stops everything; what is held stays held.",
    ]
    return Panel("\n".join(rows), title="Sluice is running", title_align="left", expand=False)
