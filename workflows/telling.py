"""Tells people and services what became of a request: one abandoned child Workflow for each notice and channel.

A notice is never waited for and never the source of truth, so it must not be able to fail or delay a request.
"""

from __future__ import annotations

from typing import Any

from temporalio import workflow
from temporalio.exceptions import WorkflowAlreadyStartedError
from temporalio.workflow import ParentClosePolicy

from domain.carried import HeldState
from domain.ledger import RecordKind
from domain.notice import DELIVERY_WORKFLOW, Delivery, Notice, NoticeEvent
from domain.request import CascadeInput, Outcome, RequestResult, Status
from workflows.course import Course
from workflows.recorder import Recorder

_WHY = {
    NoticeEvent.REVIEW_REQUESTED: "still held, and nobody has decided",
    NoticeEvent.REVIEW_REMINDED: "still held, and nobody has decided",
    NoticeEvent.REVIEW_REASSIGNED: "moved to another queue",
    NoticeEvent.REVIEW_ESCALATED: "for senior reviewers from now on",
    NoticeEvent.REVIEW_DECIDED: "a model is asked again",
}
"""What a notice says in words. Fixed, because reasons that people and verifiers write may hold content."""


class Teller:
    """The notices of one request: noted before a commit, so that it records them, and sent after it."""

    def __init__(self, request: CascadeInput, course: Course, recorder: Recorder, held: HeldState | None) -> None:
        self._request = request
        self._course = course
        self._recorder = recorder
        self._held = held
        self._outgoing: list[Delivery] = []

    def held(self, held: HeldState, rule: str) -> None:
        """Note that reviewers are told of a held text, and the service too unless a reviewer wrote it."""
        self._held = held
        why = f"held by {rule}"
        self._review(NoticeEvent.REVIEW_REQUESTED, why)
        if not held.terms.proposal.edited:
            self._service(NoticeEvent.REQUEST_HELD, Status.HELD, why)

    def review(self, event: NoticeEvent, channels: tuple[str, ...] = ()) -> None:
        """Note that ``channels``, or the hold's own, are told how a review goes."""
        self._review(event, _WHY[event], channels)

    def sent_on(self) -> None:
        """Note that reviewers are told of the end of a review after which a model is asked again."""
        self.review(NoticeEvent.REVIEW_DECIDED)
        self._held = None

    def _review(self, event: NoticeEvent, why: str, channels: tuple[str, ...] = ()) -> None:
        for channel in channels or self._request.policy.policy.hold.channels:
            self._note(channel, event, Status.HELD, why)

    def ended(self, result: RequestResult) -> None:
        """Note that the service is told of the end of its request, and reviewers of the end of their review."""
        facts = {"outcome": result.outcome, "result_sha256": result.result_sha256}
        why = f"ended: {result.outcome}"
        if self._held is not None:
            event = NoticeEvent.REVIEW_EXPIRED if result.outcome is Outcome.EXPIRED else NoticeEvent.REVIEW_DECIDED
            for channel in self._request.policy.policy.hold.channels:
                self._note(channel, event, result.status, why, **facts)
        self._service(NoticeEvent.REQUEST_COMPLETED, result.status, why, **facts)

    async def send(self) -> None:
        """Start the delivery of everything noted so far."""
        outgoing, self._outgoing = self._outgoing, []
        for delivery in outgoing:
            try:
                await workflow.start_child_workflow(
                    DELIVERY_WORKFLOW,
                    delivery,
                    id=delivery.delivery_id,
                    parent_close_policy=ParentClosePolicy.ABANDON,
                    static_summary=f"{delivery.notice.event} to {delivery.channel}",
                )
            except WorkflowAlreadyStartedError:
                continue  # the request was reset to before this notice, which is on its way already

    def _service(self, event: NoticeEvent, status: Status, why: str, **facts: Any) -> None:
        if self._request.body.webhook is not None:
            self._note(self._request.body.webhook, event, status, why, **facts)

    def _note(self, channel: str, event: NoticeEvent, status: Status, why: str, **facts: Any) -> None:
        """Queue one notice.

        **Correctness:** they are counted within the request, so that a receiver sees a repeated one for what it is.
        """
        number = self._course.journey.notices + 1
        self._course.change(notices=number)
        delivery_id = f"{self._request.request_id}.notice.{number}"
        self._recorder.note(
            RecordKind.NOTIFIED,
            f"{event} for {channel}",
            data={"event": event, "channel": channel, "delivery_id": delivery_id},
        )
        notice = self._notice(event, status, why, facts)
        self._outgoing.append(Delivery(delivery_id=delivery_id, channel=channel, notice=notice))

    def _notice(self, event: NoticeEvent, status: Status, why: str, facts: dict[str, Any]) -> Notice:
        request, journey = self._request, self._course.journey
        terms = self._held.terms if self._held is not None else None
        about: dict[str, Any] = {
            "risk": journey.route.risk if journey.route is not None else None,
            "queue": terms.who.queue if terms is not None else None,
            "outcome": None,
            "due": terms.expires_at if terms is not None and status is Status.HELD else None,
            "review_version": journey.review_version or None,
            "result_sha256": terms.proposal.result_sha256 if terms is not None else None,
        }
        return Notice(
            event=event,
            request_id=request.request_id,
            tenant=request.tenant,
            policy=request.policy.policy.name,
            policy_version=request.policy.version,
            status=status,
            why=why,
            occurred_at=workflow.now(),
            **(about | facts),
        )
