"""Every way a review can go: quorums, revisions, senior queues, operators' orders, and the ladder of deadlines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from temporalio.testing import WorkflowEnvironment

from domain.guardrails import Verdict
from domain.override import OverrideAction
from domain.ports import ModelCall, Verification
from domain.request import CascadeInput, Outcome, Status
from domain.review import ReviewVerdict
from domain.stage import StageAnswer
from tests.examples import POLICY, SAFE, request, snapshot
from tests.fakes import answer_of
from tests.workflows.harness import Handle, Harness, by_confidence


@pytest.fixture
async def harness(time_skipping: WorkflowEnvironment) -> AsyncIterator[Harness]:
    async with Harness(time_skipping.client, by_confidence(0.95)).working() as harness:
        yield harness


def risky(policy: dict[str, Any] | None = None, risk: str = "high", **hold: Any) -> CascadeInput:
    """A request whose answer is held under a hold with these settings."""
    pinned = snapshot(hold={**POLICY["hold"], **hold}, **(policy or {}))
    return request(policy=pinned, constraints={"risk": risk})


async def until(what: str, look: Callable[[], object | Awaitable[object]], seconds: float = 20) -> None:
    """Wait until ``look`` says so; the test fails after ``seconds``."""
    async with asyncio.timeout(seconds):
        while True:
            found = look()
            if await found if isinstance(found, Awaitable) else found:
                return
            await asyncio.sleep(0.02)


async def judged(harness: Harness, handle: Handle, count: int) -> list[str]:
    """What became of the decisions, once there are so many."""
    await until(f"{count} decisions are judged", lambda: len(harness.ledger.statuses(handle.id)) >= count)
    return harness.ledger.statuses(handle.id)


async def test_two_reviewers_must_approve_where_the_quorum_says_so(harness: Harness) -> None:
    handle = await harness.start(risky(quorum={"high": 2}))
    await harness.decide(handle, ReviewVerdict.APPROVE, reviewer="rita")
    assert await judged(harness, handle, 1) == ["counted"]
    assert harness.ledger.judgements[handle.id][-1].approvals == 1
    await harness.decide(handle, ReviewVerdict.APPROVE, reviewer="rita")
    assert await judged(harness, handle, 2) == ["counted", "inapplicable"]
    await harness.decide(handle, ReviewVerdict.APPROVE, reviewer="otto", on_behalf_of="rita")
    assert await judged(harness, handle, 3) == ["counted", "inapplicable", "inapplicable"]
    await harness.decide(handle, ReviewVerdict.APPROVE, reviewer="otto")
    result = await handle.result()
    assert (result.outcome, result.output) == (Outcome.APPROVED, "the answer of small")
    assert harness.ledger.statuses(handle.id)[-1] == "applied"


async def test_one_rejection_is_enough_whoever_approved_before(harness: Harness) -> None:
    handle = await harness.start(risky(quorum={"high": 3}))
    await harness.decide(handle, ReviewVerdict.APPROVE, reviewer="rita")
    await harness.decide(handle, ReviewVerdict.REJECT, reviewer="otto")
    result = await handle.result()
    assert (result.outcome, result.output) == (Outcome.REJECTED, SAFE)


async def test_an_edit_under_a_quorum_needs_the_others_for_the_new_text(harness: Harness) -> None:
    handle = await harness.start(risky(quorum={"high": 2}))
    first = await harness.ledger.review_of(handle.id)
    await harness.decide(handle, ReviewVerdict.APPROVE, reviewer="paula")
    await harness.decide(handle, ReviewVerdict.EDIT, reviewer="rita", output="A better answer.")
    second = await harness.ledger.review_of(handle.id, 2)
    assert (second.proposal.text, second.proposal.edited, second.approvals) == ("A better answer.", True, 1)
    assert (second.expires_at, second.proposal.stage_index) == (first.expires_at, first.proposal.stage_index)
    # A decision for the earlier text, one for the new text by its author, and then the one that counts.
    await harness.decide(handle, ReviewVerdict.APPROVE, version=1, reviewer="otto")
    await harness.decide(handle, ReviewVerdict.APPROVE, version=2, reviewer="rita")
    assert await judged(harness, handle, 4) == ["counted", "counted", "stale", "inapplicable"]
    await harness.decide(handle, ReviewVerdict.APPROVE, version=2, reviewer="otto")
    result = await handle.result()
    assert (result.outcome, result.output) == (Outcome.EDITED, "A better answer.")
    assert result.reason == "approved by a reviewer"


async def test_a_revision_asks_the_same_model_again_and_comes_back_to_a_person(harness: Harness) -> None:
    handle = await harness.start(risky(risk="low", policy={"guardrails": {"output": HOLDS_ON_PROMISES}}, revisions=1))
    harness.provider.script = promises_unless_told
    await harness.ledger.review_of(handle.id)
    await harness.decide(
        handle, ReviewVerdict.REVISE, reason="too sure of itself", instruction="Do not promise anything."
    )
    again = await harness.ledger.review_of(handle.id, 2)
    # The new answer passes every check, and would have been released had no person asked for it.
    assert (again.proposal.text, again.rule) == ("It may rise or fall.", "hold.revisions")
    assert again.offer.revisions_left == 0
    told = harness.provider.calls[-1].conversation
    assert [(message.role, message.content) for message in told[1:]] == [
        ("assistant", "A guaranteed return!"),
        ("user", "Do not promise anything."),
    ]
    await harness.decide(handle, ReviewVerdict.REVISE, version=2, instruction="Shorter.")
    assert (await judged(harness, handle, 2))[-1] == "inapplicable"
    await harness.decide(handle, ReviewVerdict.APPROVE, version=2)
    result = await handle.result()
    assert (result.output, result.stages_attempted) == ("It may rise or fall.", 2)


HOLDS_ON_PROMISES = [{"check": "terms", "forbidden": ["guaranteed return"], "on_fail": "hold"}]


def promises_unless_told(call: ModelCall) -> StageAnswer:
    """A model that promises too much until somebody tells it not to."""
    told = any("promise" in message.content for message in call.conversation)
    return answer_of("It may rise or fall." if told else "A guaranteed return!")


async def test_escalation_to_a_senior_queue_keeps_the_text_and_changes_who_decides(harness: Harness) -> None:
    harness.authority.seniors.add("sven")
    handle = await harness.start(risky(senior_queues=["legal"], quorum={"high": 2}))
    await harness.decide(handle, ReviewVerdict.APPROVE, reviewer="rita")
    await harness.decide(handle, ReviewVerdict.ESCALATE, reviewer="otto", queue="elsewhere")
    await harness.decide(handle, ReviewVerdict.ESCALATE, reviewer="otto", queue="legal")
    assert await judged(harness, handle, 3) == ["counted", "inapplicable", "applied"]
    judgement = harness.ledger.judgements[handle.id][-1]
    assert judgement.moved is not None
    assert (judgement.moved.queue, judgement.moved.senior_only, judgement.approvals) == ("legal", True, 0)
    await harness.decide(handle, ReviewVerdict.APPROVE, reviewer="paula")
    assert (await judged(harness, handle, 4))[-1] == "unauthorised"
    await harness.decide(handle, ReviewVerdict.REJECT, reviewer="sven")
    assert (await handle.result()).outcome is Outcome.REJECTED


async def test_rights_are_asked_again_when_a_decision_is_judged(harness: Harness) -> None:
    """The API signs only what it has checked; whoever got past it is stopped here."""
    harness.authority.strangers.add("mallory")
    pinned = {"edited_by": "paula"}
    handle = await harness.start(risky(policy=pinned, editor_may_decide=False))
    for name in ("mallory", "shop", "paula"):
        await harness.decide(handle, ReviewVerdict.APPROVE, reviewer=name)
    await harness.decide(handle, ReviewVerdict.APPROVE, reviewer="rita", on_behalf_of="shop")
    assert await judged(harness, handle, 4) == ["unauthorised"] * 4
    assert {record.actor for record in harness.ledger.records[handle.id] if record.kind == "decision_judged"} == {
        "unknown"
    }
    await harness.decide(handle, ReviewVerdict.APPROVE, reviewer="rita")
    assert (await handle.result()).outcome is Outcome.APPROVED


async def test_a_reviewer_overrules_only_what_the_policy_names(harness: Harness) -> None:
    handle = await harness.start(risky(overrule=["terms"]))
    text = "There is no guaranteed return."
    await harness.decide(handle, ReviewVerdict.EDIT, output=text)
    await harness.decide(handle, ReviewVerdict.EDIT, output=text, overrule=["completeness"])
    assert await judged(harness, handle, 2) == ["inapplicable", "inapplicable"]
    await harness.decide(handle, ReviewVerdict.EDIT, output=text, overrule=["terms"], reason="it denies the promise")
    result = await handle.result()
    assert (result.outcome, result.output) == (Outcome.EDITED, text)
    applied = [record for record in harness.ledger.records[handle.id] if record.data.get("status") == "applied"]
    assert [(record.data["overrule"], record.data["reason"]) for record in applied] == [
        (["terms"], "it denies the promise")
    ]


@pytest.mark.parametrize(
    ("setting", "reason"), [("kept", "approved by a reviewer"), ("shown", "rita: approve, looked at it")]
)
async def test_the_requester_is_told_reasons_only_where_the_policy_says_so(
    harness: Harness, setting: str, reason: str
) -> None:
    handle = await harness.start(risky(reason_for_requester=setting))
    await harness.decide(handle, ReviewVerdict.APPROVE)
    assert (await handle.result()).reason == reason


async def test_a_policy_can_ask_for_reasons_and_take_verdicts_away(harness: Harness) -> None:
    handle = await harness.start(risky(approval_needs_reason=True, verdicts=["approve", "reject"]))
    await harness.decide(handle, ReviewVerdict.APPROVE, reason="  ")
    await harness.decide(handle, ReviewVerdict.EDIT, output="Mine.")
    assert await judged(harness, handle, 2) == ["inapplicable", "inapplicable"]
    await harness.decide(handle, ReviewVerdict.APPROVE)
    assert (await handle.result()).outcome is Outcome.APPROVED


class Hanging:
    """A provider whose small model never answers; ``called`` says that it was asked."""

    def __init__(self, harness: Harness) -> None:
        self.called = asyncio.Event()
        self._answers = harness.provider
        harness.provider.complete = self.complete  # type: ignore[method-assign]

    async def complete(self, call: ModelCall) -> StageAnswer:
        self.called.set()
        if call.model.name == "small":
            await asyncio.Event().wait()
        return self._answers.script(call)  # type: ignore[return-value]


@pytest.fixture
async def hanging(dev_server: WorkflowEnvironment) -> AsyncIterator[tuple[Harness, Hanging]]:
    harness = Harness(dev_server.client, by_confidence(0.95))
    provider = Hanging(harness)
    async with harness.working():
        yield harness, provider


async def test_an_order_for_the_safe_output_cuts_a_call_short(hanging: tuple[Harness, Hanging]) -> None:
    harness, provider = hanging
    handle = await harness.start(request())
    await provider.called.wait()
    await harness.order(handle, OverrideAction.FORCE_SAFE_OUTPUT)
    result = await handle.result()
    assert (result.outcome, result.status, result.output) == (Outcome.OVERRIDDEN, Status.REFUSED, SAFE)
    assert result.cost_usd > 0, "the call that was cut short may be billed"
    assert [str(order.status) for order in harness.ledger.overrides[handle.id]] == ["applied"]
    records = harness.ledger.records[handle.id]
    assert [(record.actor, record.data["action"]) for record in records if record.kind == "override_judged"] == [
        ("operator:olaf", "force_safe_output")
    ]


async def test_an_order_for_another_model_goes_on_with_it(hanging: tuple[Harness, Hanging]) -> None:
    harness, provider = hanging
    handle = await harness.start(request())
    await provider.called.wait()
    await harness.order(handle, OverrideAction.FORCE_MODEL, stage="largest")
    await harness.order(handle, OverrideAction.FORCE_MODEL, stage="large", signature="forged")
    await harness.order(handle, OverrideAction.FORCE_MODEL, stage="large")
    result = await handle.result()
    assert (result.outcome, result.model, result.stages_attempted) == (Outcome.ACCEPTED, "large", 2)
    statuses = [str(order.status) for order in harness.ledger.overrides[handle.id]]
    assert statuses == ["inapplicable", "unauthorised", "applied"]


async def test_an_order_for_a_review_holds_what_would_have_been_released(hanging: tuple[Harness, Hanging]) -> None:
    harness, provider = hanging
    handle = await harness.start(request())
    await provider.called.wait()
    await harness.order(handle, OverrideAction.FORCE_REVIEW)
    await harness.order(handle, OverrideAction.FORCE_MODEL, stage="large")
    review = await harness.ledger.review_of(handle.id)
    assert (review.rule, review.proposal.text) == ("override", "the answer of large")
    assert "the customer called" in review.why
    await harness.decide(handle, ReviewVerdict.APPROVE)
    assert (await handle.result()).outcome is Outcome.APPROVED


async def test_each_review_is_told_to_have_ended_once(harness: Harness) -> None:
    """After a reviewer sent the request on and its next answer needed nobody, no review is open that could end."""
    held = {"output": HOLDS_ON_PROMISES}
    handle = await harness.start(risky(risk="low", policy={"guardrails": held}, channels=["team"]))
    harness.provider.script = promises_unless_told
    await harness.ledger.review_of(handle.id)
    harness.provider.script = lambda call: answer_of("It may rise or fall.")
    await harness.decide(handle, ReviewVerdict.ESCALATE)
    assert (await handle.result()).outcome is Outcome.ACCEPTED
    told = [("team", "review.requested"), ("team", "review.decided")]
    await until("both notices are sent", lambda: harness.notifier.events(handle.id) == told)


async def test_orders_in_a_hold(harness: Harness) -> None:
    handle = await harness.start(risky())
    await harness.ledger.review_of(handle.id)
    await harness.order(handle, OverrideAction.FORCE_REVIEW)
    await harness.order(handle, OverrideAction.FORCE_MODEL, stage="large")
    again = await harness.ledger.review_of(handle.id, 2)
    assert (again.proposal.text, again.rule) == ("the answer of large", "risk.hold_at")
    await harness.decide(handle, ReviewVerdict.APPROVE, version=1)
    assert await judged(harness, handle, 1) == ["stale"]
    await harness.order(handle, OverrideAction.FORCE_SAFE_OUTPUT)
    assert (await handle.result()).outcome is Outcome.OVERRIDDEN
    statuses = [str(order.status) for order in harness.ledger.overrides[handle.id]]
    assert statuses == ["inapplicable", "applied", "applied"]


class SlowVerifier:
    """A verification service that answers only when it is told to."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()

    async def verify(self, verifier: str, text: str, input_text: str | None, timeout_seconds: float) -> Verification:
        self.asked.set()
        await self.may_answer.wait()
        return Verification(verdict=Verdict.PASS, rationale="fine")


@pytest.mark.parametrize("action", [OverrideAction.FORCE_REVIEW, OverrideAction.FORCE_SAFE_OUTPUT])
async def test_an_order_that_comes_while_an_answer_is_checked_is_heeded_before_the_release(
    dev_server: WorkflowEnvironment, action: OverrideAction
) -> None:
    harness, verifier = Harness(dev_server.client, by_confidence(0.95)), SlowVerifier()
    harness.verifier = verifier  # type: ignore[assignment]
    checks = {"output": [{"check": "external", "verifier": "facts", "timeout": "30s"}]}
    async with harness.working():
        handle = await harness.start(request(policy=snapshot(guardrails=checks)))
        await verifier.asked.wait()
        await harness.order(handle, action)
        verifier.may_answer.set()
        if action is OverrideAction.FORCE_REVIEW:
            assert (await harness.ledger.review_of(handle.id)).rule == "override"
            await harness.decide(handle, ReviewVerdict.REJECT)
        outcome = (await handle.result()).outcome
    assert outcome is (Outcome.REJECTED if action is OverrideAction.FORCE_REVIEW else Outcome.OVERRIDDEN)


async def test_an_order_does_not_open_a_way_past_an_input_check_that_refuses(dev_server: WorkflowEnvironment) -> None:
    harness = Harness(dev_server.client, by_confidence(0.95))
    handle = await harness.start(request("My account is DE89370400440532013000."))
    await harness.order(handle, OverrideAction.FORCE_MODEL, stage="large")
    async with harness.working():
        result = await handle.result()
    assert (result.outcome, result.stages_attempted) == (Outcome.REFUSED, 0)
    assert harness.provider.calls == []


@pytest.fixture
async def timed(own_time: WorkflowEnvironment) -> AsyncIterator[Harness]:
    async with Harness(own_time.client, by_confidence(0.95)).working() as harness:
        yield harness


async def test_the_whole_ladder_is_climbed_and_ends_in_the_safe_output(
    timed: Harness, own_time: WorkflowEnvironment
) -> None:
    ladder = [
        {"after": "1h", "do": "notify", "channels": ["lead"]},
        {"after": "3h", "do": "remind"},
        {"after": "6h", "do": "reassign", "queue": "backup"},
        {"after": "12h", "do": "escalate", "queue": "board", "channels": ["lead", "board"]},
    ]
    about = risky(ladder=ladder, channels=["team"])
    about = about.model_copy(update={"body": about.body.model_copy(update={"webhook": "shop"})})
    started = await own_time.get_current_time()
    handle = await timed.start(about)
    result = await handle.result()
    assert (result.outcome, result.output) == (Outcome.EXPIRED, SAFE)
    records = timed.ledger.records[handle.id]
    steps = [(str(record.kind), round((record.at - started) / timedelta(hours=1))) for record in records]
    ladder_steps = [
        step for step in steps if step[0] in ("reminded", "reassigned", "raised_to_seniors", "hold_expired")
    ]
    assert ladder_steps == [
        ("reminded", 3),
        ("reminded", 4),
        ("reassigned", 6),
        ("reminded", 12),
        ("raised_to_seniors", 12),
        ("hold_expired", 24),
    ]
    moves = [judgement.moved for judgement in timed.ledger.judgements[handle.id] if judgement.moved is not None]
    assert [(move.queue, move.senior_only) for move in moves] == [("backup", False), ("board", True)]
    told = [("team", "review.requested"), ("shop", "request.held"), ("lead", "review.requested")]
    told += [("team", "review.reminded")] * 3 + [("team", "review.reassigned")]
    told += [
        ("lead", "review.escalated"),
        ("board", "review.escalated"),
        ("team", "review.expired"),
        ("shop", "request.completed"),
    ]
    await until("all are told", lambda: sorted(timed.notifier.events(handle.id)) == sorted(told))


async def test_business_hours_stretch_the_ladder(timed: Harness, own_time: WorkflowEnvironment) -> None:
    start = await own_time.get_current_time()
    closed = [str(start.date() + timedelta(days=days)) for days in range(3)]
    hours = {"timezone": "UTC", "days": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "holidays": closed}
    handle = await timed.start(risky(hours=hours, expires_after="6h", remind_after="2h"))
    result = await handle.result()
    opens = datetime.combine(start.date() + timedelta(days=3), datetime.min.time(), UTC)
    records = {str(record.kind): record.at for record in timed.ledger.records[handle.id]}
    assert result.outcome is Outcome.EXPIRED
    assert abs(records["reminded"] - (opens + timedelta(hours=11))) < timedelta(minutes=1)
    assert abs(records["hold_expired"] - (opens + timedelta(hours=15))) < timedelta(minutes=1)
    assert date.fromisoformat(closed[-1]) < records["reminded"].date()


async def test_a_request_may_ask_for_a_shorter_hold(timed: Harness, own_time: WorkflowEnvironment) -> None:
    pinned = snapshot(hold={**POLICY["hold"], "requested_expiry": {"least": "1h", "most": "48h"}})
    about = request(policy=pinned, constraints={"risk": "high", "max_hold": "5m"})
    handle = await timed.start(about)
    review = await timed.ledger.review_of(handle.id)
    assert review.expires_at - review.opened_at <= timedelta(hours=1)
    assert (await handle.result()).outcome is Outcome.EXPIRED
    held = [record for record in timed.ledger.records[handle.id] if record.kind == "held"]
    assert "it gets 1 h" in held[0].rationale
