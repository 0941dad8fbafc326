"""The review queue and decisions: what reviewers see, and that every caller gets the truth."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from api.outbox import resend
from domain.payload import sha256_text
from domain.request import Outcome
from domain.review import DecisionEnvelope, DecisionStatus
from tests.api.conftest import Caller

SHOWN = sha256_text("Buy it all.")


def decision(**changes: Any) -> dict[str, Any]:
    return {
        "decision_id": "d1",
        "verdict": "approve",
        "reason": "looked at it",
        "result_sha256": SHOWN,
        "review_version": 1,
        **changes,
    }


async def decide(caller: Caller, identifier: str, key: str = "sk-reviewer", **changes: Any) -> httpx.Response:
    query = f"?wait_seconds={changes.pop('wait_seconds', 5)}"
    return await caller.post(f"/v1/reviews/{identifier}/decisions{query}", decision(**changes), key=key)


async def judged(caller: Caller, call: asyncio.Task[httpx.Response], status: DecisionStatus) -> httpx.Response:
    """The answer to ``call``, after the Workflow has judged what was signalled."""
    async with asyncio.timeout(10):
        await caller.world.signalled.wait()
        caller.world.settle(caller.world.signals[-1], status)
        return await call


async def test_the_queue_is_read_page_by_page(caller: Caller) -> None:
    caller.world.answer = "held"
    for number in range(3):
        await caller.start(key=f"k{number}")

    first = (await caller.get("/v1/reviews?state=pending&limit=2", key="sk-reviewer")).json()
    second = (await caller.get(f"/v1/reviews?limit=2&cursor={first['next_cursor']}", key="sk-auditor")).json()
    assert len(first["items"]) == 2
    assert len(second["items"]) == 1
    assert second["next_cursor"] is None
    item = first["items"][0]
    assert item["preview"] == "Buy it all."
    assert item["proposal"] == {"review_version": 1, "result_sha256": SHOWN, "stage_index": 0, "edited": False}
    assert not {"messages", "text", "offer", "records"} & set(item)
    assert (await caller.get("/v1/reviews", key="sk-other")).json()["items"] == []
    assert (await caller.get("/v1/reviews?queue=another", key="sk-operator")).json()["items"] == []


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", True),
        ("state=pending&queue=default&policy=plain&risk=high&claimed_by=rita&q=CUSTOMER", True),
        ("claimed_by=me", True),
        ("claimed_by=none", False),
        ("claimed_by=otto", False),
        ("state=expired", False),
        ("policy=another", False),
        ("risk=low", False),
        ("q=customer-7", True),
        ("q=customer-8", False),
    ],
)
async def test_the_queue_is_filtered(caller: Caller, query: str, found: bool) -> None:
    caller.world.answer = "held"
    identifier = (await caller.start(subject="customer-7")).json()["id"]
    caller.world.desk.claimed(identifier, "rita")
    items = (await caller.get(f"/v1/reviews?{query}", key="sk-reviewer")).json()["items"]

    assert [item["id"] for item in items] == ([identifier] if found else [])
    whole = (await caller.get(f"/v1/reviews?q={identifier[4:20].upper()}", key="sk-senior")).json()["items"]
    assert [item["claimed_by"] for item in whole] == ["rita"]


async def test_the_figures_are_of_so_many_days(caller: Caller) -> None:
    answer = (await caller.get("/v1/reviews/figures?days=7", key="sk-senior")).json()

    ((tenant, since, now, hasty),) = caller.world.figures.asked
    assert (tenant, now - since, hasty) == ("acme", timedelta(days=7), timedelta(seconds=5))
    assert (answer["days"], answer["since"], answer["hasty_below_seconds"]) == (7, "2026-11-16T18:00:00Z", 5.0)
    assert answer["time_to_decision"] == {"median_seconds": 60.0, "p90_seconds": 600.0, "n": 7}
    assert answer["per_policy"][0]["changed_rate"] == 0.43
    assert answer["pending_by_age"][0] == {"label": "under 1 h", "at_least": "PT0S", "count": 2, "overdue": 0}
    await caller.get("/v1/reviews/figures", key="sk-auditor")
    assert caller.world.figures.asked[1][2] - caller.world.figures.asked[1][1] == timedelta(days=30)


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("state=open", "state"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=1.5", "limit"),
        ("cursor=nonsense", "cursor"),
        ("queue=%00", "queue"),
        ("page=2", "page"),
    ],
)
async def test_a_wrong_query_is_named(caller: Caller, query: str, param: str) -> None:
    response = await caller.get(f"/v1/reviews?{query}", key="sk-reviewer")
    assert response.status_code == 400
    assert response.json()["error"]["param"] == param


async def test_a_review_shows_what_a_reviewer_needs(caller: Caller) -> None:
    identifier = await caller.held()
    review = (await caller.get(f"/v1/reviews/{identifier}", key="sk-reviewer")).json()

    assert review["messages"] == [{"role": "user", "content": "Where?"}]
    assert review["proposal"] == {
        "review_version": 1,
        "text": "Buy it all.",
        "result_sha256": SHOWN,
        "stage_index": 0,
        "edited": False,
    }
    (check,) = review["checks"]
    assert (check["stage"], check["name"], check["verdict"]) == ("small", "confidence", "fail")
    assert check["rationale"] == "fail: not sure"
    assert review["expires_at"] == "2026-11-24T18:00:00Z"
    assert review["state"] == "pending"
    assert (await caller.get(f"/v1/reviews/{identifier}", key="sk-other")).status_code == 404


async def test_an_applied_decision_is_200_and_signed(caller: Caller) -> None:
    identifier = await caller.held()
    response = await judged(caller, asyncio.create_task(decide(caller, identifier)), DecisionStatus.APPLIED)

    assert response.status_code == 200
    assert response.json() == {
        "decision_id": "d1",
        "status": "applied",
        "because": "judged",
        "review": {
            "id": identifier,
            "state": "decided",
            "review_version": 1,
            "approvals_needed": 1,
            "approvals": 0,
            "decided_by": "rita",
            "decided_verdict": "approve",
        },
        "request": {"id": identifier, "status": "completed", "outcome": "approved"},
    }
    sent = caller.world.signals[0]
    assert isinstance(sent, DecisionEnvelope)
    assert (sent.reviewer, sent.tenant, sent.request_id, sent.signature) == ("rita", "acme", identifier, "genuine")
    assert caller.world.sent == set(), "what is judged needs no mark that it was sent"


async def test_the_same_decision_again_is_the_same_answer_and_no_second_signal(caller: Caller) -> None:
    identifier = await caller.held()
    first = await judged(caller, asyncio.create_task(decide(caller, identifier)), DecisionStatus.APPLIED)
    second = await decide(caller, identifier)

    assert (second.status_code, second.json()) == (200, first.json())
    assert len(caller.world.signals) == 1


async def test_fifty_equal_decisions_at_once_are_one_signal(caller: Caller) -> None:
    identifier = await caller.held()
    calls = [asyncio.create_task(decide(caller, identifier)) for _ in range(50)]
    await judged(caller, calls[0], DecisionStatus.APPLIED)
    responses = await asyncio.gather(*calls)

    assert {response.status_code for response in responses} == {200}
    assert len({response.text for response in responses}) == 1
    assert len(caller.world.signals) == 1


async def test_the_same_id_with_another_content_is_a_conflict(caller: Caller) -> None:
    identifier = await caller.held()
    await decide(caller, identifier, wait_seconds=0)
    response = await decide(caller, identifier, verdict="reject")

    assert response.status_code == 409
    assert response.json()["error"]["code"] == "decision_conflict"


@pytest.mark.parametrize(
    "status",
    [
        DecisionStatus.STALE,
        DecisionStatus.SUPERSEDED,
        DecisionStatus.INAPPLICABLE,
        DecisionStatus.UNAUTHORISED,
        DecisionStatus.DUPLICATE,
    ],
)
async def test_a_decision_without_effect_is_409_and_says_why(caller: Caller, status: DecisionStatus) -> None:
    identifier = await caller.held()
    response = await judged(caller, asyncio.create_task(decide(caller, identifier)), status)

    answer = response.json()
    assert response.status_code == 409
    assert (answer["status"], answer["because"]) == (status.value, "judged")
    assert answer["review"]["state"] == "pending"
    assert answer["request"]["status"] == "held"
    assert answer["error"]["code"] == f"decision_{status.value}"


async def test_an_unjudged_decision_is_202(caller: Caller) -> None:
    identifier = await caller.held()
    response = await decide(caller, identifier, wait_seconds=0.02)
    assert caller.world.sent == {(identifier, "d1")}, "or the outbox would send it again"

    assert response.status_code == 202
    assert response.json()["status"] == "pending"
    assert response.json()["request"]["status"] == "held"


async def test_a_decision_after_the_end_is_late_and_recorded(caller: Caller) -> None:
    identifier = await caller.held()
    caller.world.end(identifier, Outcome.EXPIRED)
    caller.world.signals_end = True
    response = await decide(caller, identifier)

    assert response.status_code == 409
    assert response.json()["status"] == "late"
    assert response.json()["request"] == {"id": identifier, "status": "refused", "outcome": "expired"}


async def test_a_failed_signal_is_202_and_sent_later_once(caller: Caller) -> None:
    identifier = await caller.held()
    caller.world.temporal_up = False
    response = await decide(caller, identifier)
    assert response.status_code == 202
    assert response.json()["status"] == "pending"

    services = caller.world.services()
    assert await resend(services, timedelta(0)) == 0
    caller.world.temporal_up = True
    assert await resend(services, timedelta(0)) == 1
    assert await resend(services, timedelta(0)) == 0
    assert [signal.decision_id for signal in caller.world.signals] == ["d1"]


async def test_a_resent_decision_that_was_judged_keeps_its_judgement(caller: Caller) -> None:
    identifier = await caller.held()
    caller.world.temporal_up = False
    await decide(caller, identifier)
    caller.world.temporal_up = True
    stored = caller.world.decisions[identifier, "d1"]
    caller.world.settle(stored.envelope, DecisionStatus.APPLIED)
    caller.world.signals_end = True

    assert (await decide(caller, identifier)).json()["status"] == "applied"
    assert caller.world.signals == []


async def test_the_requester_may_never_decide(caller: Caller) -> None:
    identifier = await caller.held()
    response = await decide(caller, identifier, key="sk-both")

    assert response.status_code == 403
    answer = response.json()
    assert answer["error"]["code"] == "separation_of_duties"
    assert answer["status"] == "unauthorised"
    assert answer["request"]["status"] == "held"
    assert caller.world.signals == []
    stored = caller.world.decisions[identifier, "d1"]
    assert (stored.status, stored.envelope.signature) == (DecisionStatus.UNAUTHORISED, "")


async def test_unknown_and_foreign_reviews_are_404(caller: Caller) -> None:
    identifier = await caller.held()

    assert (await decide(caller, "req_none")).status_code == 404
    assert (await decide(caller, identifier, key="sk-other")).status_code == 404
    assert not caller.world.decisions


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"decision_id": ""}, "decision_id"),
        ({"verdict": "aprove"}, "verdict"),
        ({"verdict": "reject", "reason": ""}, "body"),
        ({"verdict": "edit"}, "body"),
        ({"output": "x"}, "body"),
        ({"overrule": ["terms"]}, "body"),
        ({"verdict": "edit", "output": "x", "overrule": ["No Check"]}, "overrule.0"),
        ({"verdict": "edit", "output": "x", "overrule": ["a"] * 33}, "overrule"),
        ({"queue": "seniors"}, "body"),
        ({"verdict": "escalate", "queue": "No Queue"}, "queue"),
        ({"instruction": "shorter"}, "body"),
        ({"verdict": "revise"}, "body"),
        ({"verdict": "revise", "instruction": "x" * 4001}, "instruction"),
        ({"on_behalf_of": "a\x00"}, "on_behalf_of"),
        ({"on_behalf_of": "x" * 1001}, "on_behalf_of"),
        ({"kind": "override"}, "kind"),
        ({"result_sha256": "abc"}, "result_sha256"),
        ({"review_version": 0}, "review_version"),
        ({"reviewer": "somebody else"}, "reviewer"),
        ({"signature": "forged"}, "signature"),
        ({"reason": "a\x00"}, "reason"),
    ],
)
async def test_a_wrong_decision_names_its_field(caller: Caller, changes: dict[str, Any], param: str) -> None:
    identifier = await caller.held()
    response = await decide(caller, identifier, **changes)

    assert response.status_code == 400
    assert response.json()["error"]["param"] == param
    assert not caller.world.decisions


async def test_the_record_shows_decisions(caller: Caller) -> None:
    identifier = await caller.held()
    await judged(caller, asyncio.create_task(decide(caller, identifier)), DecisionStatus.APPLIED)

    record = (await caller.get(f"/v1/requests/{identifier}/record", key="sk-auditor")).json()
    assert record["decisions"][0]["reviewer"] == "rita"
    assert record["decisions"][0]["status"] == "applied"
    assert record["decisions"][0]["signature"] == "genuine"


def test_an_envelope_takes_every_field_of_a_decision() -> None:
    assert set(decision()) < set(DecisionEnvelope.model_fields)
