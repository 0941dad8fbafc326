"""The filters of the queue as its address holds them, so that a link leads to exactly what somebody saw."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Self
from urllib.parse import parse_qsl, urlencode

from pydantic import TypeAdapter, ValidationError

from adapters.review_rows import ReviewQuery
from domain.payload import Text
from domain.review import ReviewState
from domain.risk import RiskTier

ME, NOBODY, ANY_STATE = "me", "none", "all"
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_TEXT: TypeAdapter[str] = TypeAdapter(Text)
_LONGEST = 200
_LONGEST_ADDRESS = 2000


@dataclass(frozen=True)
class Filters:
    """Which reviews to show; what is empty filters nothing. ``who`` is a name, ``me`` or ``none``."""

    q: str = ""
    state: str = ReviewState.PENDING.value
    risk: str = ""
    queue: str = ""
    policy: str = ""
    who: str = ""

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Self:
        """The filters in an address. A value that cannot be one is left out: an old bookmark still shows a queue."""
        state, risk = given.get("state", ""), given.get("risk", "")
        names = {name: given.get(name, "") for name in ("queue", "policy")}
        return cls(
            q=_plain(given.get("q", "")),
            state=state if state in (*list(ReviewState), ANY_STATE) else ReviewState.PENDING.value,
            risk=risk if risk in list(RiskTier) else "",
            who=_plain(given.get("who", "")),
            **{name: value if _NAME.fullmatch(value) else "" for name, value in names.items()},
        )

    @classmethod
    def read(cls, address: str) -> Self:
        """The filters in the query part of an address, as ``query`` wrote it."""
        return cls.of(dict(parse_qsl(address[:_LONGEST_ADDRESS])))

    def query(self, **more: str | None) -> str:
        """The query part of an address with these filters and ``more``; empty where there is nothing to say."""
        given = {name: value for name, value in asdict(self).items() if value != getattr(Filters(), name)}
        return urlencode(given | {name: value for name, value in more.items() if value})

    def address(self, path: str, **more: str | None) -> str:
        """``path`` with these filters and ``more``."""
        query = self.query(**more)
        return f"{path}?{query}" if query else path

    def but(self, **changes: str) -> Self:
        """The same with some of them changed."""
        return replace(self, **changes)

    def review_query(self, me: str, now: datetime) -> ReviewQuery:
        """What the ledger is asked for. ``me`` is the name of who asks."""
        return ReviewQuery(
            now=now,
            state=None if self.state == ANY_STATE else ReviewState(self.state),
            queue=self.queue or None,
            policy=self.policy or None,
            risk=RiskTier(self.risk) if self.risk else None,
            claimed_by={"": None, ME: me, NOBODY: ""}.get(self.who, self.who),
            text=self.q or None,
        )


def _plain(text: str) -> str:
    """``text`` if every database can compare with it; else nothing."""
    text = text.strip()[:_LONGEST]
    try:
        return _TEXT.validate_python(text)
    except ValidationError:
        return ""
