"""One review as a reviewer needs it: what was asked, what would be sent, why it is held, what each verdict does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.output import body, facts, short_sha, table, text, when
from cli.terminal import safe_line, stdout


def deadline_in_words(expires_at: object) -> str:
    """How much time is left until ``expires_at`` (RFC 3339), in words and as the moment itself."""
    from datetime import UTC, datetime, timedelta

    from domain.duration import words

    try:
        moment = datetime.fromisoformat(str(expires_at))
    except ValueError:
        return str(expires_at)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    left = moment - datetime.now(UTC)
    if left <= timedelta(0):
        return f"expired {words(-left)} ago"
    return f"{words(left)} left"


def proposal_of(review: Mapping[str, Any]) -> Mapping[str, Any]:
    """The proposed answer of a review; empty if the API sent none."""
    proposal = review.get("proposal")
    return proposal if isinstance(proposal, Mapping) else {}


def print_proposal(review: Mapping[str, Any], title: str = "proposed answer, not sent to anybody yet") -> None:
    """Exactly the text that a decision is bound to, with its hash and version."""
    from rich.panel import Panel

    proposal = proposal_of(review)
    content = proposal.get("text")
    bound = f"sha256 {short_sha(proposal.get('result_sha256'))}… · version {proposal.get('review_version')}"
    shown = body(content) if str(content or "").strip() else text("(no model gave an answer)", style="dim")
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
    console.print(
        facts(
            [
                ("review", review.get("id")),
                ("state", review.get("state")),
                ("decided by", _decided(review)),
                ("policy", f"{_policy(review).get('name')} @ {_policy(review).get('version')}"),
                ("risk", review.get("risk")),
                ("queue", review.get("queue")),
                ("asked by", review.get("requester")),
                ("about", review.get("subject")),
                ("held since", when(review["opened_at"]) if review.get("opened_at") else None),
                ("deadline", _deadline(review) if pending else None),
            ]
        )
    )
    for message in review.get("messages") or []:
        role = safe_line(message.get("role"))
        console.print(Panel(body(message.get("content")), title=text(role), title_align="left", border_style="dim"))
    print_proposal(review)
    console.print(facts([("why held", text(review.get("why"), style="bold")), ("rule", review.get("rule"))]))
    rows = [
        (check.get("stage") or "input", check.get("name"), check.get("verdict"), check.get("rationale"))
        for check in review.get("checks") or []
    ]
    if rows:
        console.print(table("checks", ("answer of", "check", "verdict", "why"), rows, frozenset({"verdict"})))
    if pending:
        print_verdicts(review)


def print_verdicts(review: Mapping[str, Any]) -> None:
    """What each verdict would do, with the command for it."""
    identifier = str(review.get("id"))
    rows = []
    if str(proposal_of(review).get("text") or "").strip():
        rows.append((f"sluice approve {identifier}", "sends exactly the text above"))
    rows.append((f"sluice edit {identifier} --reason …", "sends your text, if every output check lets it"))
    rows.append((f"sluice reject {identifier} --reason …", "sends the policy's safe text, never the answer"))
    if review.get("may_escalate"):
        rows.append((f"sluice escalate {identifier} --reason …", "asks the next stronger model"))
    stdout().print(table("you can", ("command", "what it does"), rows, frozenset({"command"})))


def _deadline(review: Mapping[str, Any]) -> str:
    expires = review.get("expires_at")
    return f"{deadline_in_words(expires)} ({when(expires)}); then the policy's safe text is sent"


def _decided(review: Mapping[str, Any]) -> str | None:
    if review.get("decided_by") is None:
        return None
    return f"{review['decided_by']}: {review.get('decided_verdict')}"


def _policy(review: Mapping[str, Any]) -> Mapping[str, Any]:
    policy = review.get("policy")
    return policy if isinstance(policy, Mapping) else {"name": policy}


def print_queue(data: Mapping[str, Any]) -> None:
    """The reviews of one page, the most urgent facts of each on one line."""
    items = [item for item in data.get("items") or [] if isinstance(item, Mapping)]
    console = stdout()
    if not items:
        console.print("no such review: nothing waits here")
        return
    rows = [
        (
            item.get("id"),
            _policy(item).get("name"),
            item.get("risk"),
            item.get("queue"),
            item.get("state"),
            deadline_in_words(item.get("expires_at")) if item.get("state", "pending") == "pending" else None,
            item.get("why"),
        )
        for item in items
    ]
    columns = ("review", "policy", "risk", "queue", "state", "deadline", "why held")
    console.print(table("", columns, rows, frozenset({"review", "policy", "risk"})))
    if data.get("next_cursor"):
        console.print(text(f"more: add --cursor {data['next_cursor']}", style="dim"), soft_wrap=True)
