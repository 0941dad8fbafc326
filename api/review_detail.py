"""One review with everything that a careful decision needs, as far as who asks may see it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from adapters.decision_outbox import SubmittedDecision
from adapters.review_rows import AnswerView, ReviewVersion, ReviewView
from api.auth import check_role
from api.blindness import Sight, sight
from api.edit_lines import unified
from api.entitlement import claimed_by_another, entitlement, is_reviewer, over
from api.errors import checked_id, not_found
from api.review_views import CheckView, EditView, MayDecide, ReviewAnswer, VersionView, shared_fields
from api.services import Services
from api.tried_stages import checks_of, edit_checks, tried_stages
from domain.identity import Principal, Role
from domain.ledger import DecisionRecord, RecordKind
from domain.review import DecisionEnvelope, DecisionStatus, ReviewState, ReviewVerdict

READERS = (Role.REVIEWER, Role.SENIOR_REVIEWER, Role.AUDITOR, Role.OPERATOR)
_IN_EFFECT = (DecisionStatus.COUNTED, DecisionStatus.APPLIED)


async def review_detail(services: Services, principal: Principal, review_id: str) -> ReviewAnswer:
    """The review. Raises ``ApiError`` 403 or 404.

    **Correctness:** notes that a reviewer looks at a pending review, for those who look at the same time and for the
    figures; a person's first look at a version counts, and again is no change but of the time.
    """
    check_role(principal, *READERS)
    review = await find_review(services, principal.tenant, review_id)
    reader, tenant = services.reader, principal.tenant
    records, answers, versions, orders, viewers, may = await asyncio.gather(
        reader.records(review_id, tenant),
        reader.answers(review_id, tenant),
        reader.versions(review_id, tenant),
        reader.decisions(review_id, tenant),
        _look(services, principal, review),
        may_decide(services, principal, review),
    )
    return _answer(review, sight(principal, review, records), records, answers, versions, orders, viewers, may)


async def find_review(services: Services, tenant: str, review_id: str) -> ReviewView:
    """The review as it is stored. Raises ``ApiError`` 404."""
    review = await services.reader.review(checked_id("review", review_id), tenant, services.clock())
    if review is None:
        raise not_found("review", review_id)
    return review


async def may_decide(services: Services, principal: Principal, review: ReviewView) -> MayDecide:
    """Whether ``principal`` may decide over ``review`` now; what they send may still be impossible."""
    if not is_reviewer(principal):
        return MayDecide(allowed=False, reviewer=False, because=f"{principal.name!r} has no key with the role reviewer")
    found = await entitlement(services, principal.tenant, principal.name, review)
    delegators = await services.roster.delegators(principal.tenant, principal.name, review.queue, services.clock())
    because = over(review, services.clock()) or found.objection or claimed_by_another(review, principal.name)
    return MayDecide(allowed=because is None, because=because, on_behalf_of=found.on_behalf_of, delegators=delegators)


async def _look(services: Services, principal: Principal, review: ReviewView) -> tuple[str, ...]:
    if review.state is not ReviewState.PENDING or not is_reviewer(principal):
        return ()
    return await services.claims.look(review.request_id, principal.tenant, principal.name, services.clock())


def _answer(
    review: ReviewView,
    seen: Sight,
    records: Sequence[DecisionRecord],
    answers: Sequence[AnswerView],
    versions: Sequence[ReviewVersion],
    orders: Sequence[SubmittedDecision],
    viewers: tuple[str, ...],
    may: MayDecide,
) -> ReviewAnswer:
    proposal = review.proposal
    original = _original(versions, proposal.result_sha256)
    tried = tried_stages(seen.records, answers, proposal, original)
    up_to_now = _up_to_the_hold(records) if seen.blind else records
    checks: tuple[CheckView, ...] = next((stage.checks for stage in tried if stage.proposed), ())
    return ReviewAnswer(
        **shared_fields(review, hide_approvals=seen.blind),
        proposal=proposal,
        messages=review.messages,
        offer=review.offer,
        may_decide=may,
        checks=checks_of(up_to_now),
        proposal_checks=edit_checks(up_to_now) if proposal.edited else checks,
        attempts=tried,
        versions=tuple(VersionView(**dict(version)) for version in versions),
        edits=_edits(versions, orders, hide_names=seen.blind),
        viewers=viewers,
        records=seen.records,
        blind=seen.blind,
    )


def _original(versions: Sequence[ReviewVersion], sha256: str) -> str:
    """The hash of the newest version that no reviewer wrote."""
    return next((version.result_sha256 for version in reversed(versions) if not version.edited), sha256)


def _up_to_the_hold(records: Sequence[DecisionRecord]) -> Sequence[DecisionRecord]:
    """What was recorded until the newest version was put forward: what checks said of it, and no later attempt."""
    last = max((index for index, record in enumerate(records) if record.kind is RecordKind.HELD), default=-1)
    return records[: last + 1]


def _edits(
    versions: Sequence[ReviewVersion], orders: Sequence[SubmittedDecision], *, hide_names: bool
) -> tuple[EditView, ...]:
    """Every text of a reviewer that came before others or was released, beside the text it took the place of."""
    texts = {version.review_version: version.text for version in versions}
    found: list[EditView] = []
    for order in orders:
        envelope = order.envelope
        if (
            not isinstance(envelope, DecisionEnvelope)
            or envelope.verdict is not ReviewVerdict.EDIT
            or order.status not in _IN_EFFECT
            or envelope.review_version not in texts
        ):
            continue
        found.append(
            EditView(
                review_version=envelope.review_version,
                edited_by=None if hide_names else envelope.reviewer,
                lines=unified(texts[envelope.review_version], envelope.output or ""),
            )
        )
    return tuple(found)
