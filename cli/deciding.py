"""How a decision is made from a shell: what it is bound to, how it is sent, and what is told of its fate.

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
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli.client import Answer, path_of
from cli.exits import CommandError, ExitCode
from cli.reading import read_text
from cli.session import Session, not_ended
from cli.terminal import note, safe, stdout

_FULL_SHA = 64
_LEAST_SHA = 12
_JUDGEMENT_SECONDS = 30
"""How long the API may take to find out what became of a decision."""


def look(
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
            f"sluice show {identifier} shows it",
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
            f"sluice show {identifier}",
        )
    if not current.as_json:
        print_proposal(held, "what you decide about")
    return held


def decide(
    current: Session, identifier: str, held: Mapping[str, Any], decision_id: str | None, verdict: Mapping[str, Any]
) -> None:
    """Send the decision bound to what ``held`` shows, and end with the exit code of what became of it.

    What is None in ``verdict`` is left out.
    """
    proposal = held["proposal"]
    chosen = decision_id if decision_id is not None else f"cli-{uuid.uuid4().hex}"
    bound = {"result_sha256": proposal["result_sha256"], "review_version": proposal["review_version"]}
    note(
        f"decision {chosen}: {verdict['verdict']} sha256 {bound['result_sha256'][:_LEAST_SHA]} "
        f"in version {bound['review_version']}"
    )
    body = {"decision_id": chosen, **bound, **verdict}
    again = f"--decision-id {chosen} --sha256 {bound['result_sha256']} --version {bound['review_version']}"
    send(current, identifier, path_of("reviews", identifier, "decisions"), body, again)


def send(current: Session, identifier: str, path: str, body: Mapping[str, Any], again: str) -> None:
    """Send a decision or an override; ``again`` are the options with which the same one is sent once more."""
    given = {name: value for name, value in body.items() if value is not None}
    try:
        answer = current.api.post(path, given, repeatable=True, wait=_JUDGEMENT_SECONDS, accept=frozenset({409}))
    except CommandError as error:
        if error.code is ExitCode.UNREACHABLE:
            raise CommandError(
                error.code,
                f"{error.message}; whether it arrived is not known",
                f"run the same command with {again}: it counts once",
                error.answer,
            ) from None
        raise
    _tell(current, identifier, answer)


def _tell(current: Session, identifier: str, answer: Answer) -> None:
    status, because, error = (answer.data.get(key) for key in ("status", "because", "error"))
    if status is None and isinstance(error, Mapping):
        # Not judged at all: the id belongs to another decision, or somebody else has claimed the review.
        raise CommandError(ExitCode.CONFLICT, str(error.get("message")), None, answer.text)
    current.show(answer, _print_decision)
    if answer.status == 202 or status == "pending":
        raise not_ended("it is stored and will be judged; it has no effect yet", f"sluice show {identifier}")
    if answer.status == 409:
        raise CommandError(
            ExitCode.CONFLICT, f"not applied, {status}: {because}", f"sluice show {identifier} shows where it stands"
        )
    if status == "counted":
        current.note(_counted(answer.data))


def _counted(data: Mapping[str, Any]) -> str:
    """What a decision means that is one of several."""
    review = data.get("review")
    stands = review if isinstance(review, Mapping) else {}
    needed, given = stands.get("approvals_needed"), stands.get("approvals")
    so_far = f" ({given} of {needed} so far)" if given is not None else ""
    return f"it counts; nothing is sent before {needed} reviewers have approved this text{so_far}"


def _print_decision(data: Mapping[str, Any]) -> None:
    from cli.output import facts

    request, review = data.get("request"), data.get("review")
    after = request if isinstance(request, Mapping) else {}
    stands = review if isinstance(review, Mapping) else {}
    approvals = None
    if data.get("status") == "counted" and stands.get("approvals") is not None:
        approvals = f"{stands['approvals']} of {stands.get('approvals_needed')}"
    stdout().print(
        facts(
            [
                ("decision", data.get("decision_id")),
                ("became", data.get("status")),
                ("because", data.get("because")),
                ("approvals", approvals),
                ("request", after.get("id")),
                ("status", after.get("status")),
                ("outcome", after.get("outcome")),
            ]
        )
    )


def edited(held: Mapping[str, Any]) -> str:
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
