"""The verdicts of a reviewer as commands, and an operator's override."""

from __future__ import annotations

import sys
import uuid
from enum import StrEnum
from typing import Annotated

import typer

from cli.client import path_of
from cli.deciding import decide, edited, look, send
from cli.exits import CommandError, ExitCode
from cli.reading import read_text
from cli.session import DECIDERS, IdArgument, JsonOption, KeyOption, UrlOption, session
from cli.terminal import note

Reason = Annotated[str, typer.Option("--reason", "-r", help="Why; it goes into the decision record.")]
ShaOption = Annotated[
    str | None,
    typer.Option("--sha256", help="Decide only if the held text has this hash (all of it, or its first 12 digits)."),
]
VersionOption = Annotated[
    int | None, typer.Option("--version", min=1, help="Decide only if the review is at this version.")
]
DecisionIdOption = Annotated[
    str | None, typer.Option("--decision-id", help="Send an earlier decision again, under its own id.")
]
BehalfOption = Annotated[
    str | None,
    typer.Option("--on-behalf-of", metavar="NAME", help="Decide for a reviewer who has delegated this queue to you."),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it is sent.")]


class Action(StrEnum):
    """What an operator can order."""

    FORCE_MODEL = "force-model"
    FORCE_REVIEW = "force-review"
    FORCE_SAFE_OUTPUT = "force-safe-output"


def approve(
    identifier: IdArgument,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; some policies ask for it.")] = "",
    on_behalf_of: BehalfOption = None,
    sha256: ShaOption = None,
    version: VersionOption = None,
    yes: YesOption = False,
    decision_id: DecisionIdOption = None,
    url: UrlOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send the held answer, exactly as shown. Asks first when run in a terminal without --sha256.

    Where several reviewers have to approve, it counts as one of them.
    """
    with session(url, api_key, as_json, *DECIDERS) as current:
        held = look(current, identifier, sha256, version)
        if sha256 is None and not yes and not as_json:
            _ask("Send exactly this text?")
        verdict = {"verdict": "approve", "reason": reason, "on_behalf_of": on_behalf_of}
        decide(current, identifier, held, decision_id, verdict)


def _ask(question: str) -> None:
    """Raises ``CommandError`` unless a person at a terminal says yes; where nobody sits, nobody is asked."""
    if sys.stdin.isatty() and not typer.confirm(question):
        raise CommandError(ExitCode.OTHER, "nothing was decided")


def edit(
    identifier: IdArgument,
    reason: Reason,
    output: Annotated[str | None, typer.Option("--output", "-o", help="The text to send instead.")] = None,
    output_file: Annotated[
        str | None, typer.Option("--output-file", "-f", help="A UTF-8 file with that text; - is standard input.")
    ] = None,
    overrule: Annotated[
        list[str] | None,
        typer.Option(
            "--overrule", metavar="CHECK", help="A check that may object to your text; if the policy lets you."
        ),
    ] = None,
    on_behalf_of: BehalfOption = None,
    sha256: ShaOption = None,
    version: VersionOption = None,
    decision_id: DecisionIdOption = None,
    url: UrlOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send your own text instead; without --output or --output-file, edit the held one in $EDITOR.

    Where several reviewers have to approve, your text is put before the others and counts as approved by you.
    """
    if output is not None and output_file is not None:
        raise CommandError(ExitCode.USAGE, "give the new text with --output or with --output-file, not with both")
    if output_file is not None:
        output = read_text(output_file, "--output-file")
    with session(url, api_key, as_json, *DECIDERS) as current:
        held = look(current, identifier, sha256, version, text_needed=output is None)
        text = output if output is not None else edited(held)
        verdict = {"verdict": "edit", "reason": reason, "output": text, "overrule": overrule or None}
        decide(current, identifier, held, decision_id, {**verdict, "on_behalf_of": on_behalf_of})


def reject(
    identifier: IdArgument,
    reason: Reason,
    on_behalf_of: BehalfOption = None,
    sha256: ShaOption = None,
    version: VersionOption = None,
    decision_id: DecisionIdOption = None,
    url: UrlOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send the policy's safe text, never the held answer. One reviewer is enough for that."""
    with session(url, api_key, as_json, *DECIDERS) as current:
        held = look(current, identifier, sha256, version)
        verdict = {"verdict": "reject", "reason": reason, "on_behalf_of": on_behalf_of}
        decide(current, identifier, held, decision_id, verdict)


def escalate(
    identifier: IdArgument,
    reason: Reason,
    to: Annotated[
        str | None, typer.Option("--to", metavar="QUEUE", help="Leave it to this senior queue, instead of a model.")
    ] = None,
    on_behalf_of: BehalfOption = None,
    sha256: ShaOption = None,
    version: VersionOption = None,
    decision_id: DecisionIdOption = None,
    url: UrlOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the next stronger model, whose answer is judged anew; or with --to leave the decision to senior reviewers."""
    with session(url, api_key, as_json, *DECIDERS) as current:
        held = look(current, identifier, sha256, version)
        verdict = {"verdict": "escalate", "reason": reason, "queue": to, "on_behalf_of": on_behalf_of}
        decide(current, identifier, held, decision_id, verdict)


def revise(
    identifier: IdArgument,
    reason: Reason,
    instruction: Annotated[
        str, typer.Option("--instruction", "-i", help="What the model shall do otherwise; - is standard input.")
    ],
    on_behalf_of: BehalfOption = None,
    sha256: ShaOption = None,
    version: VersionOption = None,
    decision_id: DecisionIdOption = None,
    url: UrlOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have the same model answer again under your instruction; its new answer comes back to review."""
    wish = read_text("-", "--instruction") if instruction == "-" else instruction
    with session(url, api_key, as_json, *DECIDERS) as current:
        held = look(current, identifier, sha256, version)
        verdict = {"verdict": "revise", "reason": reason, "instruction": wish, "on_behalf_of": on_behalf_of}
        decide(current, identifier, held, decision_id, verdict)


def override(
    identifier: IdArgument,
    action: Annotated[Action, typer.Argument(help="What shall happen, whatever the policy says.")],
    reason: Reason,
    stage: Annotated[
        str | None, typer.Option("--stage", help="The stage of the policy to ask; for force-model.")
    ] = None,
    yes: YesOption = False,
    decision_id: DecisionIdOption = None,
    url: UrlOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Override a request at any moment of its life: have a stage asked, a person look, or the safe text sent."""
    if (action is Action.FORCE_MODEL) != (stage is not None):
        raise CommandError(ExitCode.USAGE, "--stage goes with force-model, and only with it")
    path = path_of("requests", identifier, "overrides")
    with session(url, api_key, as_json, "operator") as current:
        if not yes and not as_json:
            _ask(f"Order {action} for {identifier}?")
        chosen = decision_id if decision_id is not None else f"cli-{uuid.uuid4().hex}"
        note(f"override {chosen}: {action}")
        body = {"decision_id": chosen, "action": action.replace("-", "_"), "stage": stage, "reason": reason}
        send(current, identifier, path, body, f"--decision-id {chosen}")
