"""Orders that must not count, against the real stack: refused, recorded, visible to the auditor, nothing released."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from adapters.decision_keys import DecisionKey
from domain.override import OVERRIDE_SIGNAL, OverrideAction, OverrideEnvelope
from domain.review import DecisionEnvelope
from standalone.credentials import TENANT
from tests.e2e.live import SAFE, Json, Live, says, until


def envelope(review: Json, **changes: Any) -> DecisionEnvelope:
    """A decision as the API would make it, before it signs."""
    fields = {
        "decision_id": str(uuid4()),
        "verdict": "approve",
        "reason": "read it",
        "result_sha256": review["proposal"]["result_sha256"],
        "review_version": review["proposal"]["review_version"],
        "request_id": review["id"],
        "tenant": TENANT,
        "reviewer": "rita",
        "decided_at": datetime.now(UTC),
    }
    return DecisionEnvelope.model_validate({**fields, **changes})


def key_of(live: Live) -> DecisionKey:
    """The key that the stack's API signs with: whoever holds it has got past every check of the API."""
    return DecisionKey.load_or_create(live.stack.settings.decision_key_file)


async def signal(live: Live, request_id: str, order: DecisionEnvelope | OverrideEnvelope, name: str = "decide") -> None:
    """Signal past the API, as somebody who reaches the namespace does."""
    await (await live.stack.client()).get_workflow_handle(request_id).signal(name, order)


async def recorded(live: Live, request_id: str, count: int, kind: str = "decision_judged") -> list[Json]:
    """The records of judged orders, once there are so many."""

    async def look() -> list[Json] | None:
        record = await live.record(request_id)
        found = [entry for entry in record["records"] if entry["kind"] == kind]
        return found if len(found) >= count else None

    return await until(f"{count} orders are recorded", look)


async def still_held(live: Live, request_id: str) -> None:
    """Nothing was released, and a genuine decision still counts."""
    assert (await live.show(request_id))["status"] == "held"
    assert live.released([request_id]) == []


async def test_forged_and_replayed_envelopes_are_recorded_as_unauthorised(live: Live, tmp_path: Path) -> None:
    review = await live.held(await live.submit_risky(says("Not for forgers.")))
    other = await live.held(await live.submit_risky(says("Another answer.")))
    genuine = key_of(live).sign(envelope(other))
    forged = [
        DecisionKey.load_or_create(tmp_path / "own.key").sign(envelope(review)),
        key_of(live).sign(envelope(review)).model_copy(update={"reviewer": "otto"}),
        genuine,
        key_of(live).sign(envelope(review, tenant="elsewhere")),
    ]
    for order in forged:
        await signal(live, review["id"], order)
    judged = await recorded(live, review["id"], len(forged))
    assert [entry["data"]["status"] for entry in judged] == ["unauthorised"] * len(forged)
    assert {entry["actor"] for entry in judged} == {"unknown"}
    await still_held(live, review["id"])
    assert (await live.decide(review, "approve")).json()["status"] == "applied"


async def test_rights_are_checked_again_behind_the_api(live: Live) -> None:
    """The requester, somebody without the role, and a delegation that is over: signed, and refused all the same."""
    review = await live.held(await live.submit_risky(says("Mine to judge?")))
    requester = (await live.record(review["id"]))["request"]["requester"]
    ended = datetime.now(UTC) - timedelta(seconds=1)
    await delegated(live, ended)
    orders = [
        envelope(review, reviewer=requester),
        envelope(review, reviewer="rita", on_behalf_of=requester),
        envelope(review, reviewer="demo-auditor"),
        envelope(review, reviewer="rita", on_behalf_of="otto"),
    ]
    for order in orders:
        await signal(live, review["id"], key_of(live).sign(order))
    judged = await recorded(live, review["id"], len(orders))
    assert [entry["data"]["status"] for entry in judged] == ["unauthorised"] * len(orders)
    reasons = [entry["rationale"] for entry in judged]
    assert "made this request" in reasons[0]
    assert "made this request" in reasons[1]
    assert "does not hold the role" in reasons[2]
    assert "has not delegated" in reasons[3]
    await still_held(live, review["id"])


async def delegated(live: Live, ends_at: datetime) -> None:
    """Let otto's part have been rita's until ``ends_at``; the table is written directly, the past has no API."""
    values = (uuid4().hex, TENANT, "otto", "rita", ends_at - timedelta(hours=1), ends_at, "otto", ends_at)
    told = [value.replace(tzinfo=None).isoformat(" ") if isinstance(value, datetime) else value for value in values]
    live.write(
        "INSERT INTO delegations (id, tenant, delegator, delegate, starts_at, ends_at, created_by, created_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        *told,
    )


async def test_refusals_of_the_api_are_recorded_for_the_auditor(live: Live) -> None:
    review = await live.held(await live.submit_risky(says("Refused at the door.")))
    await delegated(live, datetime.now(UTC) - timedelta(seconds=1))
    own = await live.decide(review, "approve", by=live.requester, decision_id="own")
    expired = await live.decide(review, "approve", decision_id="expired", on_behalf_of="otto")
    assert (own.status_code, own.json()["error"]["code"]) == (403, "separation_of_duties")
    assert (expired.status_code, expired.json()["error"]["code"]) == (403, "not_entitled")
    decisions = {entry["decision_id"]: entry for entry in (await live.record(review["id"]))["decisions"]}
    assert {name: decisions[name]["status"] for name in ("own", "expired")} == {
        "own": "unauthorised",
        "expired": "unauthorised",
    }
    assert "has not delegated" in decisions["expired"]["because"]
    await still_held(live, review["id"])


async def test_a_decision_for_the_earlier_text_does_not_count_after_an_edit(live: Live) -> None:
    review = await live.held(await live.submit(says("The first text."), policy="quorum"))
    counted = await live.decide(review, "edit", output="The second text.", by=live.other_reviewer)
    assert (counted.status_code, counted.json()["status"]) == (200, "counted")
    stale = await live.decide(review, "approve")
    assert (stale.status_code, stale.json()["status"]) == (409, "stale")
    author = await live.held(review["id"])
    again = await live.decide(author, "approve", by=live.other_reviewer)
    assert (again.status_code, again.json()["status"]) == (409, "inapplicable")
    await still_held(live, review["id"])
    assert (await live.decide(author, "approve")).json()["status"] == "applied"
    assert (await live.ended(review["id"]))["output"] == "The second text."


async def test_an_order_past_the_api_is_refused_and_an_operators_is_obeyed(live: Live) -> None:
    review = await live.held(await live.submit_risky(says("Overridden.")))
    order = OverrideEnvelope(
        decision_id="by-a-reviewer",
        action=OverrideAction.FORCE_SAFE_OUTPUT,
        reason="I may not",
        request_id=review["id"],
        tenant=TENANT,
        operator="rita",
        decided_at=datetime.now(UTC),
    )
    await signal(live, review["id"], order, OVERRIDE_SIGNAL)
    await signal(live, review["id"], key_of(live).sign(order), OVERRIDE_SIGNAL)
    judged = await recorded(live, review["id"], 2, "override_judged")
    assert [entry["data"]["status"] for entry in judged] == ["unauthorised", "unauthorised"]
    await still_held(live, review["id"])
    body = {"decision_id": "stop", "action": "force_safe_output", "reason": "the customer withdrew"}
    obeyed = await live.operator.post(f"/v1/requests/{review['id']}/overrides", json=body)
    assert (obeyed.status_code, obeyed.json()["status"]) == (200, "applied")
    ended = await live.ended(review["id"])
    assert (ended["outcome"], ended["output"]) == ("overridden", SAFE)


async def test_a_decision_racing_the_expiry_has_one_effect_and_the_loser_is_recorded(live: Live) -> None:
    requests = await asyncio.gather(*(live.submit(says(f"Race {number}."), policy="brief") for number in range(40)))
    seen = Counter(await asyncio.gather(*(_race(live, request_id) for request_id in requests)))
    assert set(seen) <= {("approved", "applied"), ("expired", "late")}
    assert seen.total() == len(requests)


async def _race(live: Live, request_id: str) -> tuple[str, str]:
    review = await live.held(request_id)
    ends = datetime.fromisoformat(review["expires_at"])
    await asyncio.sleep(max((ends - datetime.now(UTC)).total_seconds() - 0.03, 0))
    answer: httpx.Response = await live.decide(review, "approve", wait=20)
    ended = await live.ended(request_id)
    assert live.released([request_id]) == [request_id]
    (decision,) = (await live.record(request_id))["decisions"]
    assert answer.json()["status"] == decision["status"]
    return str(ended["outcome"]), str(decision["status"])
