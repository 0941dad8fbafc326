"""Commands of a reviewer: list what waits, read one review, decide it.

A decision is bound to the exact bytes and the version that were shown. Whoever decides without looking, in a script,
names them with ``--sha256`` and ``--version``; what changed in the meantime is then a conflict and never a release.

**Correctness:** the decision id is made before the first attempt, printed, and used by every repetition. The API and
the Workflow count a repeated id once, so a decision whose answer was lost can be sent again with ``--decision-id``.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.client import Answer, path_of
from cli.exits import CommandError, ExitCode
from cli.request_commands import read_text
from cli.session import IdArgument, JsonOption, KeyOption, Session, UrlOption, not_ended, session
from cli.terminal import note, safe, stdout

_READERS = ("reviewer", "operator", "auditor")
_FULL_SHA = 64
_LEAST_SHA = 12
_JUDGEMENT_SECONDS = 30
"""How long the API may take to find out what became of a decision."""


class State(StrEnum):
    """Where a review stands."""

    PENDING = "pending"
    DECIDED = "decided"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


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


def reviews(
    state: Annotated[State, typer.Option("--state", help="Which reviews.")] = State.PENDING,
    queue: Annotated[str | None, typer.Option("--queue", help="Only those of one queue.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=200, help="How many at most.")] = 50,
    cursor: Annotated[str | None, typer.Option("--cursor", help="Go on where an earlier list ended.")] = None,
    url: UrlOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the answers that wait for a person."""
    from cli.review_view import print_queue

    wanted: dict[str, str | int] = {"state": state.value, "limit": limit}
    wanted |= {key: value for key, value in (("queue", queue), ("cursor", cursor)) if value}
    with session(url, api_key, as_json, *_READERS) as current:
        current.show(current.api.get("/v1/reviews", wanted), print_queue)


def review(
    identifier: IdArgument, url: UrlOption = None, api_key: KeyOption = None, as_json: JsonOption = False
) -> None:
    """Show one review: the request, the proposed answer, why it is held, and what each verdict does."""
    from cli.review_view import print_review

    with session(url, api_key, as_json, *_READERS) as current:
        current.show(current.api.get(path_of("reviews", identifier)), print_review)


def approve(
    identifier: IdArgument,
    reason: Annotated[str, typer.Option("--reason", "-r", help="Why; it goes into the decision record.")] = "",
    sha256: ShaOption = None,
    version: VersionOption = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before sending the answer.")] = False,
    decision_id: DecisionIdOption = None,
    url: UrlOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send the held answer, exactly as shown. Asks first when run in a terminal without --sha256."""
    with session(url, api_key, as_json, "reviewer") as current:
        held = _look(current, identifier, sha256, version)
        ask = sha256 is None and not yes and not as_json and sys.stdin.isatty()
        if ask and not typer.confirm("Send exactly this text?"):
            raise CommandError(ExitCode.OTHER, "nothing was decided")
        _decide(current, identifier, held, decision_id, {"verdict": "approve", "reason": reason})


def edit(
    identifier: IdArgument,
    reason: Reason,
    output: Annotated[str | None, typer.Option("--output", "-o", help="The text to send instead.")] = None,
    output_file: Annotated[
        str | None, typer.Option("--output-file", "-f", help="A UTF-8 file with that text; - is standard input.")
    ] = None,
    sha256: ShaOption = None,
    version: VersionOption = None,
    decision_id: DecisionIdOption = None,
    url: UrlOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send your own text instead; without --output or --output-file, edit the held one in $EDITOR."""
    if output is not None and output_file is not None:
        raise CommandError(ExitCode.USAGE, "give the new text with --output or with --output-file, not with both")
    if output_file is not None:
        output = read_text(output_file, "--output-file")
    with session(url, api_key, as_json, "reviewer") as current:
        held = _look(current, identifier, sha256, version, text_needed=output is None)
        text = output if output is not None else _edited(held)
        _decide(current, identifier, held, decision_id, {"verdict": "edit", "reason": reason, "output": text})


def reject(
    identifier: IdArgument,
    reason: Reason,
    sha256: ShaOption = None,
    version: VersionOption = None,
    decision_id: DecisionIdOption = None,
    url: UrlOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send the policy's safe text, never the held answer."""
    with session(url, api_key, as_json, "reviewer") as current:
        held = _look(current, identifier, sha256, version)
        _decide(current, identifier, held, decision_id, {"verdict": "reject", "reason": reason})


def escalate(
    identifier: IdArgument,
    reason: Reason,
    sha256: ShaOption = None,
    version: VersionOption = None,
    decision_id: DecisionIdOption = None,
    url: UrlOption = None,
    api_key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the next stronger model; its answer is judged anew."""
    with session(url, api_key, as_json, "reviewer") as current:
        held = _look(current, identifier, sha256, version)
        _decide(current, identifier, held, decision_id, {"verdict": "escalate", "reason": reason})


def _look(
    current: Session, identifier: str, sha256: str | None, version: int | None, *, text_needed: bool = False
) -> Mapping[str, Any]:
    """The review as far as a decision needs it, shown to a person on the way.

    With the whole hash and the version given there is nothing to look up: the Workflow itself compares and records.
    """
    from cli.review_view import print_proposal, proposal_of

    digits = (sha256 or "").lower()
    if sha256 is not None and not re.fullmatch(rf"[0-9a-f]{{{_LEAST_SHA},{_FULL_SHA}}}", digits):
        raise CommandError(
            ExitCode.USAGE,
            f"--sha256: {sha256!r} is not a hash of at least {_LEAST_SHA} digits",
            f"sluice review {identifier} shows it",
        )
    if len(digits) == _FULL_SHA and version is not None and not text_needed:
        path_of("reviews", identifier)
        return {"proposal": {"result_sha256": digits, "review_version": version}}
    held = current.api.get(path_of("reviews", identifier)).data
    proposal = proposal_of(held)
    found, at = str(proposal.get("result_sha256")), proposal.get("review_version")
    if not found.startswith(digits) or version not in (None, at):
        raise CommandError(
            ExitCode.CONFLICT,
            f"what is held now is sha256 {found[:_LEAST_SHA]} in version {at}, not what you named; nothing was decided",
            f"sluice review {identifier}",
        )
    if not current.as_json:
        print_proposal(held, "what you decide about")
    return held


def _decide(
    current: Session, identifier: str, held: Mapping[str, Any], decision_id: str | None, verdict: dict[str, Any]
) -> None:
    """Send the decision bound to what ``held`` shows, and end with the exit code of what became of it."""
    proposal = held["proposal"]
    chosen = decision_id if decision_id is not None else f"cli-{uuid.uuid4().hex}"
    bound = {"result_sha256": proposal["result_sha256"], "review_version": proposal["review_version"]}
    note(
        f"decision {chosen}: {verdict['verdict']} sha256 {bound['result_sha256'][:_LEAST_SHA]} "
        f"in version {bound['review_version']}"
    )
    try:
        answer = current.api.post(
            path_of("reviews", identifier, "decisions"),
            {"decision_id": chosen, **bound, **verdict},
            repeatable=True,
            wait=_JUDGEMENT_SECONDS,
            accept=frozenset({409}),
        )
    except CommandError as error:
        if error.code is ExitCode.UNREACHABLE:
            raise CommandError(
                error.code,
                f"{error.message}; whether the decision arrived is not known",
                f"run the same command with --decision-id {chosen} --sha256 {bound['result_sha256']} "
                f"--version {bound['review_version']}: it counts once",
                error.answer,
            ) from None
        raise
    _tell(current, identifier, answer)


def _tell(current: Session, identifier: str, answer: Answer) -> None:
    status, because, error = (answer.data.get(key) for key in ("status", "because", "error"))
    if status is None and isinstance(error, Mapping):
        # Not judged at all: the id belongs to another decision.
        raise CommandError(ExitCode.CONFLICT, str(error.get("message")), None, answer.text)
    current.show(answer, _print_decision)
    if answer.status == 202 or status == "pending":
        raise not_ended(
            "the decision is stored and will be judged; it has no effect yet", f"sluice record {identifier}"
        )
    if answer.status == 409:
        raise CommandError(
            ExitCode.CONFLICT, f"not applied, {status}: {because}", f"sluice review {identifier} shows where it stands"
        )


def _print_decision(data: Mapping[str, Any]) -> None:
    from cli.output import facts

    request = data.get("request")
    after = request if isinstance(request, Mapping) else {}
    stdout().print(
        facts(
            [
                ("decision", data.get("decision_id")),
                ("became", data.get("status")),
                ("because", data.get("because")),
                ("request", after.get("id")),
                ("status", after.get("status")),
                ("outcome", after.get("outcome")),
            ]
        )
    )


def _edited(held: Mapping[str, Any]) -> str:
    """The held text as the person leaves it in their editor. Raises ``CommandError`` when nothing was changed."""
    before = str(held["proposal"].get("text") or "")
    if held.get("state", "pending") != "pending":
        raise CommandError(
            ExitCode.CONFLICT, f"this review is {safe(held['state'])}; there is nothing to edit any more"
        )
    command = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    # The folder is the person's own (mode 0700), because the text may be confidential, and goes with what is in it.
    with tempfile.TemporaryDirectory(prefix="sluice-") as folder:
        path = Path(folder) / "answer.txt"
        path.write_bytes(before.encode("utf-8"))
        try:
            # The command is the person's own setting, run as that person; no shell sees it.
            done = subprocess.run([*command, str(path)], check=False)  # noqa: S603
        except OSError as error:
            raise CommandError(
                ExitCode.USAGE,
                f"the editor {command[0]!r} cannot be started: {error.strerror}",
                "set EDITOR, or use --output",
            ) from None
        if done.returncode != 0:
            raise CommandError(ExitCode.OTHER, f"the editor ended with code {done.returncode}; nothing was decided")
        after = read_text(str(path), "the edited text")
    if not before.endswith("\n"):
        after = after.removesuffix("\n")  # editors add one, and the sender did not write it
    if after == before:
        raise CommandError(
            ExitCode.USAGE, "the text was not changed; nothing was decided", "use sluice approve to send it"
        )
    return after
