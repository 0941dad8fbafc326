"""A notice in words, for people who read it in a chat or a mail."""

from __future__ import annotations

import unicodedata
from datetime import UTC
from urllib.parse import quote

from domain.notice import Notice, NoticeEvent

LONGEST = 300
"""Characters of one line."""

_HEADLINES = {
    NoticeEvent.REVIEW_REQUESTED: "An answer waits for a review",
    NoticeEvent.REVIEW_REMINDED: "An answer still waits for a review",
    NoticeEvent.REVIEW_REASSIGNED: "A review was reassigned",
    NoticeEvent.REVIEW_ESCALATED: "A review was escalated",
    NoticeEvent.REVIEW_DECIDED: "A review was decided",
    NoticeEvent.REVIEW_EXPIRED: "A review expired before anybody decided",
    NoticeEvent.REQUEST_HELD: "A request is held",
    NoticeEvent.REQUEST_COMPLETED: "A request has ended",
}
_UNSEEN = ("C", "Zl", "Zp")
"""Categories of characters that break lines, hide text or turn its direction; all controls and formats among them."""


def one_line(text: str) -> str:
    """``text`` on one line of at most ``LONGEST`` visible characters."""
    seen = "".join(" " if unicodedata.category(character).startswith(_UNSEEN) else character for character in text)
    line = " ".join(seen.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"


def headline(notice: Notice) -> str:
    """What happened, to which policy's request."""
    return one_line(f"{_HEADLINES[notice.event]}: {notice.policy}")


def facts(notice: Notice) -> list[tuple[str, str]]:
    """What else is known, each with its name; what is not known is left out."""
    due = notice.due and notice.due.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    known = {
        "Why": notice.why,
        "Risk": notice.risk,
        "Queue": notice.queue,
        "Decide before": due,
        "Status": notice.status,
        "Outcome": notice.outcome,
        "Tenant": notice.tenant,
        "Request": notice.request_id,
        "Policy version": notice.policy_version,
    }
    return [(name, line) for name, value in known.items() if (line := one_line(value or ""))]


def link(notice: Notice, console_url: str | None) -> str | None:
    """The page of the review in the console; None without a console or a review."""
    reviewed = notice.review_version is not None or notice.event is not NoticeEvent.REQUEST_COMPLETED
    if console_url is None or not reviewed:
        return None
    return f"{console_url.rstrip('/')}/console/reviews/{quote(notice.request_id, safe='')}"
