"""One review as a reviewer needs it: what was asked, what would be sent, why it is held, what each verdict does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from cli.output import body, dollars, facts, short_sha, table, text, when
from cli.terminal import safe, safe_line, stdout

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_SHOWN_ANSWER = 600
"""Characters of an answer that are shown beside others; the held one is shown whole by itself."""


def left_in_words(moment: object) -> str:
    """How much time is left until ``moment`` (RFC 3339), in words."""
    from datetime import UTC, datetime, timedelta

    from domain.duration import words

    try:
        at = datetime.fromisoformat(str(moment))
    except ValueError:
        return str(moment)
    left = (at if at.tzinfo is not None else at.replace(tzinfo=UTC)) - datetime.now(UTC)
    if left <= timedelta(0):
        return f"expired {words(-left)} ago"
    return f"{words(left)} left"


def proposal_of(review: Mapping[str, Any]) -> Mapping[str, Any]:
    """The proposed answer of a review; empty if the API sent none."""
    return _mapping(review.get("proposal"))


def print_proposal(review: Mapping[str, Any], title: str = "proposed answer, not sent to anybody yet") -> None:
    """Exactly the text that a decision is bound to, with its hash and version."""
    content = str(proposal_of(review).get("text") or "")
    _print_proposal(review, title, body(content))


def _print_proposal(review: Mapping[str, Any], title: str, shown: Text) -> None:
    from rich.panel import Panel

    proposal = proposal_of(review)
    if not str(proposal.get("text") or "").strip():
        shown = text("(no model gave an answer)", style="dim")
    edited = " · written by a reviewer" if proposal.get("edited") else ""
    bound = f"sha256 {short_sha(proposal.get('result_sha256'))}… · version {proposal.get('review_version')}{edited}"
    stdout().print(
        Panel(
            shown,
            title=text(title),
            subtitle=text(bound),
            title_align="left",
            subtitle_align="left",
            border_style="yellow",
        )
    )


def print_review(review: Mapping[str, Any]) -> None:
    """The whole readable item."""
    from rich.panel import Panel

    console = stdout()
    pending = review.get("state", "pending") == "pending"
    console.print(facts(_facts(review, pending=pending)))
    for message in _mappings(review.get("messages")):
        role = safe_line(message.get("role"))
        console.print(Panel(body(message.get("content")), title=text(role), title_align="left", border_style="dim"))
    title = "proposed answer, not sent to anybody yet" if pending else "the answer that was held"
    marked, found = marked_text(str(proposal_of(review).get("text") or ""), _mappings(review.get("proposal_checks")))
    _print_proposal(review, title, marked)
    if found:
        console.print(table("found in it", ("", "check", "verdict", "what"), found, frozenset({"", "verdict"})))
    console.print(facts([("why held", text(review.get("why"), style="bold")), ("rule", review.get("rule"))]))
    for part in (_attempts(review), _checks(review), *_edits(review)):
        if part is not None:
            console.print(part)
    if pending:
        _print_ladder(review)
        print_verdicts(review)


def _facts(review: Mapping[str, Any], *, pending: bool) -> Iterator[tuple[str, object]]:
    yield "review", review.get("id")
    yield "state", review.get("state")
    yield "decided by", _decided(review)
    yield "policy", f"{_policy(review).get('name')} @ {_policy(review).get('version')}"
    yield "risk", review.get("risk")
    yield "queue", f"{review.get('queue')}{', senior reviewers only' if review.get('senior_only') else ''}"
    yield "asked by", review.get("requester")
    yield "about", review.get("subject")
    yield "held since", when(review["opened_at"]) if review.get("opened_at") else None
    if pending:
        yield "deadline", _deadline(review)
        yield "approvals", _approvals(review)
        yield "claimed by", claim_in_words(review)
        yield "also looking", ", ".join(map(str, review.get("viewers") or [])) or None
        yield "you", _you(_mapping(review.get("may_decide")))


def _approvals(review: Mapping[str, Any]) -> str | None:
    needed = review.get("approvals_needed") or 1
    if needed == 1:
        return None
    if review.get("blind") or review.get("approvals") is None:
        return f"{needed} different reviewers are needed; how others decided is shown once you have"
    return f"{review['approvals']} of {needed} different reviewers"


def claim_in_words(review: Mapping[str, Any]) -> str | None:
    """Who has claimed a review and how long that lasts; None if nobody has."""
    if review.get("claimed_by") is None:
        return None
    return f"{review['claimed_by']}, {left_in_words(review.get('claimed_until'))}"


def _you(may: Mapping[str, Any]) -> str | None:
    if not may:
        return None
    if not may.get("allowed"):
        return f"may not decide: {may.get('because')}"
    if may.get("on_behalf_of"):
        return f"may decide, for {may['on_behalf_of']}"
    delegators = [str(name) for name in may.get("delegators") or []]
    return "may decide" + (f", also for {', '.join(delegators)} (--on-behalf-of)" if delegators else "")


def marked_text(content: str, checks: Sequence[Mapping[str, Any]]) -> tuple[Text, list[tuple[object, ...]]]:
    """The text made safe, with what checks found in it marked and numbered; and a row for every finding."""
    from rich.text import Text

    rows: list[tuple[object, ...]] = []
    spans: list[tuple[int, int, int]] = []
    for check in checks:
        for finding in _mappings(check.get("findings")):
            number = len(rows) + 1
            rows.append((f"[{number}]", check.get("name"), check.get("verdict"), finding.get("detail")))
            place = _span(content, finding)
            if place is not None:
                spans.append((*place, number))
    cuts = sorted({0, len(content), *(edge for start, end, _ in spans for edge in (start, end))})
    shown = Text()
    for start, end in pairwise(cuts):
        inside = any(first <= start and end <= last for first, last, _ in spans)
        shown.append(safe(content[start:end]), style="bold yellow underline" if inside else "")
        for _, last, number in spans:
            if last == end:
                shown.append(f"[{number}]", style="bold yellow")
    return shown, rows


def _span(content: str, finding: Mapping[str, Any]) -> tuple[int, int] | None:
    """The finding's place within the text; None where it has none: a verification service may say anything."""
    start, end = finding.get("start"), finding.get("end")
    if not isinstance(start, int) or not isinstance(end, int):
        return None
    start, end = max(0, start), min(len(content), end)
    return (start, end) if start < end else None


def _attempts(review: Mapping[str, Any]) -> Table | None:
    """Every answer beside the others."""
    tried = _mappings(review.get("attempts"))
    if not tried:
        return None
    rows = (
        ("model", lambda stage: stage.get("model")),
        ("served by", lambda stage: stage.get("model_version_served")),
        ("confidence", lambda stage: _share(stage.get("confidence"))),
        ("checks", _verdicts),
        ("cost", lambda stage: dollars(stage.get("cost_usd"))),
        ("took", _took),
        ("answer", _said),
    )
    columns = ["", *(_column(stage) for stage in tried)]
    cells = [(name, *(of(stage) for stage in tried)) for name, of in rows]
    return table("answers side by side", columns, cells, frozenset({""}))


def _column(stage: Mapping[str, Any]) -> str:
    return safe_line(f"{stage.get('number')} {stage.get('stage')}{' (held)' if stage.get('proposed') else ''}")


def _share(value: object) -> str | None:
    return f"{value:.0%}" if isinstance(value, int | float) else None


def _verdicts(stage: Mapping[str, Any]) -> str | None:
    return ", ".join(f"{check.get('name')} {check.get('verdict')}" for check in _mappings(stage.get("checks"))) or None


def _took(stage: Mapping[str, Any]) -> str | None:
    latency, attempts = stage.get("latency_ms"), stage.get("attempts")
    took = f"{latency:.0f} ms" if isinstance(latency, int | float) else None
    several = f"{attempts} attempts" if isinstance(attempts, int) and attempts != 1 else None
    return ", ".join(part for part in (took, several) if part) or None


def _said(stage: Mapping[str, Any]) -> str | None:
    if stage.get("failure"):
        return f"none: {stage['failure']}"
    said = stage.get("text")
    if said is None:
        return "(erased)"
    shown = str(said) if len(str(said)) <= _SHOWN_ANSWER else str(said)[:_SHOWN_ANSWER] + "…"
    return f"{shown} ({stage['defect']})" if stage.get("defect") else shown


def _checks(review: Mapping[str, Any]) -> Table | None:
    rows = [
        (check.get("stage") or "input", check.get("name"), check.get("verdict"), check.get("rationale"))
        for check in _mappings(review.get("checks"))
    ]
    return table("checks", ("answer of", "check", "verdict", "why"), rows, frozenset({"verdict"})) if rows else None


def _edits(review: Mapping[str, Any]) -> Iterator[Text]:
    from rich.text import Text

    for edit in _mappings(review.get("edits")):
        by = f" by {edit['edited_by']}" if edit.get("edited_by") else ""
        shown = Text(f"\nedit of version {edit.get('review_version')}{safe_line(by)}\n", style="italic")
        for line in edit.get("lines") or []:
            style = {"+": "green", "-": "red", "@": "dim"}.get(str(line)[:1], "")
            shown.append(safe_line(line) + "\n", style=style)
        yield shown


def _print_ladder(review: Mapping[str, Any]) -> None:
    """What happens while nobody decides."""
    rows = [
        (left_in_words(moment.get("at")), _rung(_mapping(moment.get("rung"))))
        for moment in _mappings(_mapping(review.get("offer")).get("moments"))
    ]
    coming = [row for row in rows if row[0].endswith("left")]
    if coming:
        stdout().print(table("if nobody decides", ("in", "then"), coming, frozenset({"in"})))


def _rung(rung: Mapping[str, Any]) -> str:
    where = f" to queue {rung['queue']}" if rung.get("queue") else ""
    return {
        "notify": "people are told",
        "remind": "reviewers are reminded",
        "reassign": f"it moves{where}",
        "escalate": f"it goes{where or ' on'}, for senior reviewers only",
    }.get(str(rung.get("do")), str(rung.get("do")))


def print_verdicts(review: Mapping[str, Any]) -> None:
    """What each verdict would do, with the command for it."""
    rows = list(_commands(review, _mapping(review.get("offer"))))
    stdout().print(table("you can", ("command", "what it does"), rows, frozenset({"command"})))


def _commands(review: Mapping[str, Any], offer: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    identifier = str(review.get("id"))
    verdicts = [str(verdict) for verdict in offer.get("verdicts") or ("approve", "edit", "reject", "escalate")]
    several = (review.get("approvals_needed") or 1) > 1
    reason = " --reason …" if offer.get("approval_needs_reason") else ""
    if "approve" in verdicts and str(proposal_of(review).get("text") or "").strip():
        counts = ", once enough reviewers have approved it" if several else ""
        yield f"sluice approve {identifier}{reason}", f"sends exactly the text above{counts}"
    if "edit" in verdicts:
        then = "puts your text before the other reviewers" if several else "sends your text"
        barred = ", ".join(str(name) for name in offer.get("overrule") or [])
        overrule = f"; you may --overrule {barred}" if barred else ""
        yield f"sluice edit {identifier} --reason …", f"{then}, if every output check lets it{overrule}"
    if "reject" in verdicts:
        safe_text = offer.get("safe_output")
        told = f": {safe_text}" if safe_text else ""
        yield f"sluice reject {identifier} --reason …", f"sends the policy's safe text, never the answer{told}"
    if "escalate" in verdicts:
        if review.get("may_escalate"):
            stage = f", stage {offer['next_stage']}" if offer.get("next_stage") else ""
            yield f"sluice escalate {identifier} --reason …", f"asks the next stronger model{stage}"
        for queue in offer.get("senior_queues") or []:
            yield f"sluice escalate {identifier} --to {queue} --reason …", "leaves it to senior reviewers"
    left = offer.get("revisions_left") or 0
    if "revise" in verdicts and left > 0:
        asks = f"has the same model answer again, {left} time{'s' if left > 1 else ''} at most"
        yield f"sluice revise {identifier} --instruction … --reason …", asks


def _deadline(review: Mapping[str, Any]) -> str:
    expires = review.get("expires_at")
    return f"{left_in_words(expires)} ({when(expires)}); then the policy's safe text is sent"


def _decided(review: Mapping[str, Any]) -> str | None:
    if review.get("decided_by") is None:
        return None
    verdict = review.get("decided_verdict")
    return f"{review['decided_by']}: {verdict}" if verdict else f"{review['decided_by']}, who ordered otherwise"


def _policy(review: Mapping[str, Any]) -> Mapping[str, Any]:
    policy = review.get("policy")
    return policy if isinstance(policy, Mapping) else {"name": policy}


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []
