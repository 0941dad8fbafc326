"""What a review is opened with: the terms that decisions are judged by, and the commit that shows it to reviewers."""

from __future__ import annotations

from datetime import datetime

from domain.carried import HeldState
from domain.cascade import Decision
from domain.ladder import HoldPlan
from domain.ledger import DecisionRecord, ReviewOpening
from domain.release import baseline_cost
from domain.request import CascadeInput
from domain.review import JudgedDecision, Proposal, ReviewOffer, ReviewTerms
from domain.rights import WhoMayDecide
from workflows.course import Course


def review_terms(request: CascadeInput, course: Course, proposal: Proposal, plan: HoldPlan) -> ReviewTerms:
    """What is held, until when, who may decide and what, as policy and request leave it."""
    policy = request.policy.policy
    hold = policy.hold
    following = course.following()
    may_escalate = course.may_ask(following)
    revisions_left = hold.revisions - course.journey.revisions if course.may_ask(proposal.stage_index) else 0
    barred = () if hold.editor_may_decide or policy.edited_by is None else (policy.edited_by,)
    return ReviewTerms(
        request_id=request.request_id,
        tenant=request.tenant,
        proposal=proposal,
        may_escalate=may_escalate,
        expires_at=plan.expires_at,
        who=WhoMayDecide(requester=request.requester, queue=hold.queue, barred=barred),
        offer=ReviewOffer(
            verdicts=hold.verdicts,
            overrule=hold.overrule,
            senior_queues=hold.senior_queues,
            revisions_left=revisions_left,
            approvals_needed=hold.approvals_needed(course.route.risk),
            approval_needs_reason=hold.approval_needs_reason,
            lease=hold.lease,
            next_stage=course.stage_name(following) if may_escalate else None,
            safe_output=policy.safe_output,
            moments=plan.moments,
        ),
    )


def review_opening(
    request: CascadeInput,
    course: Course,
    held: HeldState,
    decision: Decision,
    opened_at: datetime,
    records: tuple[DecisionRecord, ...],
    judged: tuple[JudgedDecision, ...],
) -> ReviewOpening:
    """The commit that shows a held answer to reviewers."""
    terms, journey = held.terms, course.journey
    return ReviewOpening(
        request_id=request.request_id,
        tenant=request.tenant,
        requester=request.requester,
        subject=request.body.subject,
        policy=request.policy.policy.name,
        policy_version=request.policy.version,
        queue=terms.who.queue,
        risk=course.route.risk,
        why=decision.because,
        rule=decision.rule,
        proposal=terms.proposal,
        may_escalate=terms.may_escalate,
        opened_at=opened_at,
        expires_at=terms.expires_at,
        spent=journey.spent,
        baseline_cost_usd=baseline_cost(request, course.tally(), held.shown),
        stages_attempted=journey.visits,
        offer=terms.offer,
        senior_only=terms.who.senior_only,
        barred=terms.who.barred,
        approvals=len(held.approvals),
        decisions=judged,
        records=records,
    )
