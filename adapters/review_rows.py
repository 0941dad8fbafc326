"""Reviews as they are read: in a list, and each by itself with its versions, its models' answers and its notices."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import Any

from sqlalchemy import Row

from domain.payload import Payload, Text
from domain.request import Message, RequestBody
from domain.review import Proposal, ReviewOffer, ReviewState, ReviewVerdict
from domain.risk import RiskTier
from domain.stage import StageAnswer

PREVIEW = 120
"""Characters of a held text that a list shows."""
PREVIEW_STORED = 6 * PREVIEW + 1
"""Characters of its stored form that hold so many for certain: a JSON string with escapes of at most six."""
_CHARACTER = re.compile(r'\\u[0-9a-f]{4}|\\.|[^\\"]')


class ReviewQuery(Payload):
    """Which reviews of a tenant to list; everything that is given must hold.

    ``claimed_by`` is a name, or empty for those that nobody has claimed at ``now``. ``text`` is part of the request's
    id or of its subject, in capitals or not.
    """

    now: datetime
    state: ReviewState | None = None
    queue: Text | None = None
    policy: Text | None = None
    risk: RiskTier | None = None
    claimed_by: Text | None = None
    text: Text | None = None


class ReviewFields(Payload):
    """What is told of a review wherever it is shown.

    ``claimed_by`` and ``claimed_until`` are None where the claim is over. ``approvals`` counts those of the newest
    version; under a quorum it is not for reviewers who have not decided yet.
    """

    request_id: str
    tenant: str
    requester: str
    subject: str | None
    policy: str
    policy_version: str
    queue: str
    risk: RiskTier
    why: str
    rule: str
    may_escalate: bool
    opened_at: datetime
    expires_at: datetime
    state: ReviewState
    reminders: int
    decided_by: str | None
    """Who decided it, or who ordered otherwise."""
    decided_verdict: ReviewVerdict | None
    closed_at: datetime | None
    senior_only: bool = False
    barred: tuple[str, ...] = ()
    approvals: int = 0
    approvals_needed: int = 1
    claimed_by: str | None = None
    claimed_until: datetime | None = None


class ReviewRowView(ReviewFields):
    """A review in a list: of the held text the beginning only, and nothing of the request's."""

    review_version: int
    result_sha256: str
    stage_index: int | None
    edited: bool = False
    preview: str


class ReviewView(ReviewFields):
    """A review in its newest version. ``messages`` is what the requester sent."""

    proposal: Proposal
    messages: tuple[Message, ...]
    offer: ReviewOffer = ReviewOffer()


class ReviewPage(Payload):
    """Part of a list of reviews. ``next_cursor`` leads to the next part, None where there is none."""

    items: tuple[ReviewRowView, ...]
    next_cursor: str | None


class ReviewVersion(Payload):
    """The text that one version of a review showed."""

    review_version: int
    text: str
    result_sha256: str
    stage_index: int | None
    edited: bool
    opened_at: datetime


class AnswerView(Payload):
    """What a model answered. ``visit`` counts the stage calls of the request, ``number`` the attempts of one call."""

    stage: str
    visit: int
    number: int
    answer: StageAnswer


class DeliveryView(Payload):
    """What became of a notice to one channel."""

    delivery_id: str
    channel: str
    event: str
    delivered: bool
    attempts: int
    detail: str
    at: datetime


def row_view(row: Row[Any], now: datetime) -> ReviewRowView:
    """A row of a list; its column ``preview`` has the beginning of the text as it is stored."""
    return ReviewRowView(**_fields(row, now) | {"preview": beginning(row.preview)})


def review_view(row: Row[Any], now: datetime) -> ReviewView:
    """A review out of its row and the request's ``body``."""
    proposal = Proposal(
        review_version=row.review_version,
        text=row.text,
        result_sha256=row.result_sha256,
        stage_index=row.stage_index,
        edited=row.edited,
    )
    own = {
        "proposal": proposal,
        "messages": RequestBody.model_validate_json(row.body).conversation(),
        "offer": ReviewOffer.model_validate_json(row.offer),
    }
    return ReviewView(**_fields(row, now) | own)


def _fields(row: Row[Any], now: datetime) -> dict[str, Any]:
    fields = dict(row._mapping) | {"barred": tuple(json.loads(row.barred))}
    if row.claimed_until is None or row.claimed_until <= now:
        fields |= {"claimed_by": None, "claimed_until": None}
    return fields


def beginning(stored: str) -> str:
    """The first characters of a text out of the first characters of its JSON string, which may end anywhere."""
    return str(json.loads(f'"{"".join(_CHARACTER.findall(stored)[:PREVIEW])}"'))
