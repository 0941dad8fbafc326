"""The ``sluice`` command: submit requests, follow them, read their records, decide and override, from a shell.

Exit codes, for scripts:

0 done (also an approval that counts towards a quorum) · 1 anything else · 2 usage · 3 not found · 4 refused by the API
(bad input, role, not entitled) · 5 conflict (a decision that was not applied: stale, superseded, late; a review that
somebody else has claimed) · 6 still running, held or undecided after the wait · 7 the API cannot be reached. Results go
to standard output, everything else to standard error; ``--json`` prints the API's answer as it is.
"""

from __future__ import annotations

import sys
from io import TextIOWrapper
from typing import Any

import typer
from typer.core import TyperGroup

from cli import people_commands, request_commands, review_commands, verdict_commands
from cli.exits import IN_WORDS, CommandError
from cli.session import complain


class _Commands(TyperGroup):
    """Ends every command that cannot go on with a message, a remedy and its exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except CommandError as error:
            complain(error)
            raise typer.Exit(error.code.value) from None


_EXIT_CODES = "\n\n".join(["Exit codes:", *(f"{code.value}  {meaning}" for code, meaning in IN_WORDS.items())])
_HELP = """Answers from the cheapest model that is good enough, and nothing risky before a person approved it.

The API's address and key come from --url and --api-key, from SLUICE_URL and SLUICE_API_KEY, or from
var/credentials.json of the embedded stack, here or in a folder above."""

_PANELS = (
    ("Requests", request_commands, ("submit", "show", "events", "record", "cancel", "policies")),
    ("Reviews", review_commands, ("reviews", "watch", "claim", "release", "reassign", "figures")),
    ("Decisions", verdict_commands, ("approve", "edit", "reject", "escalate", "revise", "override")),
    ("People", people_commands, ("queues", "delegate")),
)


def build() -> typer.Typer:
    """The application with all its commands."""
    app = typer.Typer(
        name="sluice", cls=_Commands, help=_HELP, epilog=_EXIT_CODES, no_args_is_help=True, add_completion=False
    )
    app.callback()(_start)
    for panel, module, commands in _PANELS:
        for name in commands:
            app.command(name, rich_help_panel=panel)(getattr(module, name))
    return app


def _start() -> None:
    for stream in (sys.stdout, sys.stderr):
        # A terminal without Unicode shows escapes instead of ending the command with a traceback.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def main() -> None:
    """Run the command line; ends the process with the command's exit code."""
    build()(prog_name="sluice")
