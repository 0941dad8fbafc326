"""How the console says things: moments, spans, money and the words for every state, one way each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from markupsafe import Markup, escape

from domain.duration import words
from domain.guardrails import Verdict
from domain.identity import Role
from domain.review import ReviewVerdict

NOTHING = "\N{EN DASH}"
"""Stands where there is no value."""
VERDICTS = {
    ReviewVerdict.APPROVE: "Approve",
    ReviewVerdict.EDIT: "Edit",
    ReviewVerdict.REJECT: "Reject",
    ReviewVerdict.ESCALATE: "Escalate",
    ReviewVerdict.REVISE: "Revise",
}
DECIDED = {
    ReviewVerdict.APPROVE: "approved",
    ReviewVerdict.EDIT: "edited",
    ReviewVerdict.REJECT: "rejected",
    ReviewVerdict.ESCALATE: "escalated",
    ReviewVerdict.REVISE: "sent back",
}
STATES = {
    "pending": "waiting",
    "decided": "decided",
    "expired": "expired",
    "cancelled": "cancelled",
    "overridden": "overridden",
}
_OUTCOMES = {
    "accepted": "released: every check passed",
    "approved": "released: approved by a person",
    "edited": "released: in a person's words",
    "fell_back": "safe output: no model could answer",
    "refused": "safe output: a check refused",
    "rejected": "safe output: a person rejected the answer",
    "expired": "safe output: nobody decided in time",
    "overridden": "safe output: an operator ordered it",
    "failed": "failed",
    "cancelled": "cancelled",
}
_UNSEEN = re.compile(
    "([\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f])"
)
"""Characters that nobody sees and that reorder or hide what others read: controls, directions, tags."""


def time_left(expires_at: datetime, now: datetime) -> str:
    """How long a hold lasts from ``now``, as a person reads it."""
    left = expires_at - now
    if left <= timedelta(0):
        return "expiring now"
    if left < timedelta(minutes=1):
        return "under 1 min left"
    minutes = timedelta(minutes=int(left.total_seconds() // 60))
    return f"{words(minutes)} left"


def urgency(expires_at: datetime, opened_at: datetime, now: datetime) -> str:
    """How near the end of a hold is: ``soon`` within its last quarter or half hour, ``last`` within its last tenth."""
    whole, left = expires_at - opened_at, expires_at - now
    if left <= max(whole / 10, timedelta(minutes=5)):
        return "last"
    return "soon" if left <= max(whole / 4, timedelta(minutes=30)) else "far"


def span(length: timedelta) -> str:
    """A length of time in words."""
    if length < timedelta(seconds=1):
        return f"{max(length, timedelta(0)) / timedelta(milliseconds=1):.0f} ms"
    return words(length)


def seconds(value: float | None) -> str:
    """A number of seconds in words."""
    return NOTHING if value is None else span(timedelta(seconds=value))


def milliseconds(value: float | None) -> str:
    """A number of milliseconds in words."""
    return NOTHING if value is None else span(timedelta(milliseconds=value))


def money(amount: Decimal | float) -> str:
    """US dollars, with as many digits as small amounts need."""
    exact = Decimal(repr(amount)) if isinstance(amount, float) else amount
    if exact == 0:
        return "$0"
    digits = 2 if abs(exact) >= 1 else min(8, 2 - exact.adjusted())
    return f"${exact:.{digits}f}"


def percent(share: float | None) -> str:
    """A share of one as percent."""
    return NOTHING if share is None else f"{share * 100:.0f} %"


def moment(at: datetime | None, *, exact: bool = False) -> Markup:
    """A point in time in UTC, to the minute or to the second; the script shows it in the reader's own zone."""
    if at is None:
        return escape(NOTHING)
    told = at.astimezone(UTC)
    hours = f"{told:%H:%M:%S}" if exact else f"{told:%H:%M}"
    return Markup('<time datetime="{}" data-moment="{}">{}</time>').format(
        told.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "exact" if exact else "",
        f"{told.day} {told:%b %Y}, {hours} UTC",
    )


def shown(text: str) -> Markup:
    """A foreign text as text, with what cannot be seen in it made visible and harmless."""
    # Every second part is a hidden character.
    parts = _UNSEEN.split(text)
    return Markup("").join(_named(part) if index % 2 else escape(part) for index, part in enumerate(parts))


def plain(text: str) -> str:
    """The same for places that take no markup, such as titles; a sign stands for each hidden character."""
    return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", text)


def _named(character: str) -> Markup:
    return Markup('<span class="unseen" title="hidden character">U+{}</span>').format(f"{ord(character):04X}")


def one_line(text: str) -> str:
    """``text`` on one line."""
    return " ".join(text.split())


def sentence(text: str) -> str:
    """``text`` with a capital at its beginning and a full stop at its end."""
    told = text.strip()
    if not told:
        return ""
    return told[0].upper() + told[1:] + ("" if told[-1] in ".!?…" else ".")


def without_verdict(rationale: str) -> str:
    """A check's reason without the verdict that records put before it; pages show that apart."""
    verdict, colon, reason = rationale.partition(": ")
    return reason if colon and verdict in list(Verdict) else rationale


def role_names(roles: Iterable[Role]) -> str:
    """Roles as a list in words."""
    return ", ".join(sorted(role.value for role in roles)) or "no role"


def _worded(known: dict[str, str]) -> Callable[[Any], str]:
    def word(value: Any) -> str:
        return known.get(str(value), str(value).replace("_", " "))

    return word


def plural(count: int, one: str, many: str | None = None) -> str:
    """``count`` with the noun that fits."""
    return f"{count} {one if count == 1 else many or one + 's'}"


FILTERS: dict[str, Callable[..., Any]] = {
    "time_left": time_left,
    "span": span,
    "seconds": seconds,
    "milliseconds": milliseconds,
    "money": money,
    "percent": percent,
    "moment": moment,
    "shown": shown,
    "plain": plain,
    "one_line": one_line,
    "sentence": sentence,
    "without_verdict": without_verdict,
    "role_names": role_names,
    "plural": plural,
    "decided_word": _worded({verdict.value: word for verdict, word in DECIDED.items()}),
    "state_word": _worded(STATES),
    "outcome_words": _worded(_OUTCOMES),
}
