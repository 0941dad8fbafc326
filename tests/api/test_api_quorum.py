"""A quorum: who has decided sees how far it is, who has not sees nothing of the others, whichever way they look."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from adapters.claims import ReviewEventKind
from adapters.review_figures import HastyApproval
from adapters.review_rows import DeliveryView
from api.blindness import sight
from domain.identity import Principal, Role
from domain.ledger import DecisionRecord, RecordKind
from domain.review import DecisionStatus, ReviewState
from tests.api.conftest import Caller
from tests.api.fakes_api import NOW

LEAKS = ("rita", "sk-reviewer has looked", "counted", "approval 1 of 2")
"""What would tell somebody that the first approver approved."""


async def half_way(caller: Caller, verdict: str = "approve", **fields: Any) -> str:
    """The id of a request that needs two approvals and has one, which rita gave after she had claimed it."""
    identifier = await caller.held()
    caller.world.desk.change(identifier, approvals_needed=2)
    await caller.post(f"/v1/reviews/{identifier}/claim", {}, key="sk-reviewer")
    answer = await caller.decided(
        identifier, verdict, "sk-reviewer", DecisionStatus.COUNTED, "approval 1 of 2", **fields
    )
    assert (answer.status_code, answer.json()["status"]) == (200, "counted")
    return identifier


def assert_blind(text: str) -> None:
    assert [leak for leak in LEAKS if leak in text] == []


async def test_a_counted_decision_is_200_and_says_how_far_the_quorum_is(caller: Caller) -> None:
    identifier = await caller.held()
    caller.world.desk.change(identifier, approvals_needed=2)
    answer = await caller.decided(identifier, "approve", "sk-reviewer", DecisionStatus.COUNTED)

    assert answer.status_code == 200
    assert answer.json()["review"] == {
        "id": identifier,
        "state": "pending",
        "review_version": 1,
        "approvals_needed": 2,
        "approvals": 1,
        "decided_by": None,
        "decided_verdict": None,
    }
    assert "error" not in answer.json()


def path_of(kind: str) -> Callable[[Caller, str, str], Awaitable[httpx.Response]]:
    async def look(caller: Caller, identifier: str, key: str) -> httpx.Response:
        return await caller.get(kind.format(identifier), key=key)

    return look


LOOKS = {
    "detail": path_of("/v1/reviews/{}"),
    "list": path_of("/v1/reviews"),
    "pending": path_of("/v1/reviews?state=pending&q={}"),
    "timeline": path_of("/v1/requests/{}/timeline"),
    "record": path_of("/v1/requests/{}/record"),
    "figures": path_of("/v1/reviews/figures"),
}


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        *(("detail", key) for key in ("sk-otto", "sk-senior", "sk-insider")),
        *(("list", key) for key in ("sk-otto", "sk-senior", "sk-insider")),
        *(("pending", key) for key in ("sk-otto", "sk-senior", "sk-insider")),
        *(("timeline", key) for key in ("sk-otto", "sk-senior", "sk-insider")),
        ("record", "sk-insider"),
    ],
)
@pytest.mark.parametrize("verdict", ["approve", "edit"])
async def test_no_reviewer_learns_of_the_first_decision_before_their_own(
    caller: Caller, kind: str, key: str, verdict: str
) -> None:
    fields = {"output": "Buy half of it."} if verdict == "edit" else {}
    identifier = await half_way(caller, verdict, **fields)
    caller.world.deliveries[identifier] = [
        DeliveryView(
            delivery_id="n1",
            channel="desk",
            event="review.decided",
            delivered=True,
            attempts=1,
            detail="rita",
            at=NOW + timedelta(minutes=1),
        )
    ]

    answer = await LOOKS[kind](caller, identifier, key)
    assert answer.status_code == 200, answer.text
    assert_blind(answer.text)
    approvals = [value for name, value in _fields(answer.json()) if name == "approvals"]
    assert set(approvals) <= {None}


def _fields(value: Any) -> list[tuple[str, Any]]:
    """Every name and value in a JSON value, at any depth."""
    if isinstance(value, dict):
        return [pair for name, inner in value.items() for pair in [(name, inner), *_fields(inner)]]
    return [pair for inner in value for pair in _fields(inner)] if isinstance(value, list) else []


@pytest.mark.parametrize("kind", ["detail", "timeline", "record"])
async def test_whether_somebody_has_decided_does_not_show_in_what_is_left_out(caller: Caller, kind: str) -> None:
    """The same answer before and after the first approval: no gap in numbers, no count that differs."""
    identifier = await caller.held()
    caller.world.desk.change(identifier, approvals_needed=2)
    await caller.get(f"/v1/reviews/{identifier}", key="sk-insider")
    before = (await LOOKS[kind](caller, identifier, "sk-insider")).json()
    await caller.decided(identifier, "approve", "sk-reviewer", DecisionStatus.COUNTED)
    caller.world.record(identifier, RecordKind.REMINDED, "still held")
    after = (await LOOKS[kind](caller, identifier, "sk-insider")).json()

    assert json.dumps(after) == json.dumps(before)


async def test_the_edited_text_is_put_forward_without_its_author(caller: Caller) -> None:
    identifier = await half_way(caller, "edit", output="Buy half of it.")
    review = (await caller.get(f"/v1/reviews/{identifier}", key="sk-otto")).json()

    assert review["blind"] is True
    assert review["proposal"]["text"] == "Buy half of it."
    assert review["proposal"]["edited"] is True
    assert [version["text"] for version in review["versions"]] == ["Buy it all.", "Buy half of it."]
    (edit,) = review["edits"]
    assert edit["edited_by"] is None
    assert edit["lines"] == ["@@ -1 +1 @@", "-Buy it all.", "+Buy half of it."]
    own = (await caller.get(f"/v1/reviews/{identifier}", key="sk-reviewer")).json()
    assert (own["blind"], own["approvals"], own["edits"][0]["edited_by"]) == (False, 1, "rita")


async def test_the_checks_of_an_edited_text_are_shown_to_who_has_not_decided(caller: Caller) -> None:
    identifier = await caller.held()
    caller.world.desk.change(identifier, approvals_needed=2)
    passed = {"name": "terms", "check": "terms", "verdict": "pass"}
    caller.world.record(identifier, RecordKind.EDIT_CHECKED, "pass: fine", "check:terms", **passed)
    await caller.decided(identifier, "edit", "sk-reviewer", DecisionStatus.COUNTED, output="Buy half.")
    review = (await caller.get(f"/v1/reviews/{identifier}", key="sk-otto")).json()

    assert [check["name"] for check in review["proposal_checks"]] == ["terms"]
    assert [record["kind"] for record in review["records"]] == ["output_checked", "held"]


@pytest.mark.parametrize("key", ["sk-reviewer", "sk-auditor", "sk-operator"])
async def test_who_has_decided_and_who_does_not_decide_sees_all(caller: Caller, key: str) -> None:
    identifier = await half_way(caller)
    review = (await caller.get(f"/v1/reviews/{identifier}", key=key)).json()
    timeline = (await caller.get(f"/v1/requests/{identifier}/timeline", key=key)).json()

    assert (review["blind"], review["approvals"]) == (False, 1)
    assert review["records"][-1]["actor"] == "reviewer:rita"
    assert [entry["who"] for entry in timeline["entries"] if entry["kind"] == "decision_judged"] == ["rita"]
    item = (await caller.get("/v1/reviews", key=key)).json()["items"][0]
    assert item["approvals"] == (None if key == "sk-reviewer" else 1)


async def test_after_the_quorum_everybody_sees_all(caller: Caller) -> None:
    identifier = await half_way(caller)
    await caller.decided(identifier, "approve", "sk-otto", DecisionStatus.APPLIED)
    review = (await caller.get(f"/v1/reviews/{identifier}", key="sk-senior")).json()

    assert (review["state"], review["blind"], review["decided_by"]) == ("decided", False, "otto")
    assert [record["actor"] for record in review["records"][-2:]] == ["reviewer:rita", "reviewer:otto"]


async def test_a_decision_without_effect_opens_nobodys_eyes(caller: Caller) -> None:
    identifier = await half_way(caller)
    answer = await caller.decided(identifier, "escalate", "sk-otto", DecisionStatus.INAPPLICABLE, "cannot be")

    assert answer.status_code == 409
    assert answer.json()["review"]["approvals"] is None
    assert_blind(answer.text)
    assert (await caller.get(f"/v1/reviews/{identifier}", key="sk-otto")).json()["blind"] is True


async def test_a_raw_history_waits_until_an_auditor_who_reviews_has_decided(caller: Caller) -> None:
    identifier = await half_way(caller)
    history = f"/v1/requests/{identifier}/history"

    refused = await caller.get(history, key="sk-insider")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "blind_review")
    assert (await caller.get(history, key="sk-auditor")).status_code == 200
    await caller.decided(identifier, "approve", "sk-insider", DecisionStatus.APPLIED)
    assert (await caller.get(history, key="sk-insider")).status_code == 200


async def test_progress_tells_those_who_decide_of_no_decision(caller: Caller) -> None:
    identifier = await half_way(caller)
    for key, told in (("sk-insider", False), ("sk-auditor", True), ("sk-service", True)):
        events = await caller.get(f"/v1/requests/{identifier}/events", key=key)
        assert ("review.signalled" in events.text) is told


async def test_the_record_keeps_ones_own_orders(caller: Caller) -> None:
    identifier = await half_way(caller)
    await caller.decided(identifier, "escalate", "sk-insider", DecisionStatus.INAPPLICABLE, "cannot be")
    record = (await caller.get(f"/v1/requests/{identifier}/record", key="sk-insider")).json()

    assert [decision["reviewer"] for decision in record["decisions"]] == ["ines"]
    full = (await caller.get(f"/v1/requests/{identifier}/record", key="sk-auditor")).json()
    assert [decision["reviewer"] for decision in full["decisions"]] == ["rita", "ines"]
    assert full["review"]["approvals"] == 1


async def test_the_timeline_leaves_out_what_others_did_since(caller: Caller) -> None:
    identifier = await half_way(caller)
    desk = caller.world.desk
    desk.events[identifier].clear()
    desk.note(identifier, NOW - timedelta(minutes=2), "rita", ReviewEventKind.OPENED_PAGE)
    desk.note(identifier, NOW + timedelta(minutes=2), "rita", ReviewEventKind.CLAIMED)
    desk.note(identifier, NOW + timedelta(minutes=3), "otto", ReviewEventKind.OPENED_PAGE)
    timeline = (await caller.get(f"/v1/requests/{identifier}/timeline", key="sk-otto")).json()

    assert timeline["blind"] is True
    human = [(entry["kind"], entry["who"]) for entry in timeline["entries"] if "page" in entry["kind"]]
    assert human == [("opened_page", "rita"), ("opened_page", "otto")], "looking before the text was held tells nothing"
    assert not any(entry["kind"] == "claimed" for entry in timeline["entries"])


async def test_the_figures_name_no_hasty_approval_of_an_open_quorum(caller: Caller) -> None:
    identifier = await half_way(caller)
    hasty = HastyApproval(request_id=identifier, reviewer="rita", seconds=1.0, decided_at=NOW)
    elsewhere = HastyApproval(request_id="req_elsewhere", reviewer="rita", seconds=2.0, decided_at=NOW)
    caller.world.figures.hasty = (hasty, elsewhere)

    async def named(key: str) -> list[str]:
        answer = await caller.get("/v1/reviews/figures", key=key)
        return [item["request_id"] for item in answer.json()["hasty"]]

    assert await named("sk-senior") == ["req_elsewhere"]
    assert await named("sk-operator") == [identifier, "req_elsewhere"]
    await caller.decided(identifier, "approve", "sk-senior", DecisionStatus.APPLIED)
    assert await named("sk-senior") == [identifier, "req_elsewhere"]


def _story(*steps: tuple[str, str, str]) -> list[DecisionRecord]:
    """Records out of (kind, actor, what else), ``status/verdict`` for decisions."""
    records = []
    for number, (kind, actor, told) in enumerate(steps, start=1):
        status, _, verdict = told.partition("/")
        records.append(
            DecisionRecord(
                request_id="req_1",
                sequence=number,
                at=NOW + timedelta(seconds=number),
                kind=RecordKind(kind),
                rationale="",
                actor=actor,
                data={"status": status, "verdict": verdict} if told else {},
            )
        )
    return records


HELD = ("held", "policy", "")
RAISED = ("raised_to_seniors", "policy", "")


def judged(who: str, told: str) -> tuple[str, str, str]:
    return ("decision_judged", f"reviewer:{who}", told)


@pytest.mark.parametrize(
    ("steps", "who", "visible"),
    [
        ([HELD], "otto", 1),
        ([HELD, judged("rita", "counted/approve")], "otto", 1),
        ([HELD, judged("rita", "counted/approve")], "rita", None),
        ([HELD, judged("rita", "inapplicable/edit")], "rita", 1),
        ([HELD, judged("rita", "counted/edit"), HELD], "otto", 1),
        ([HELD, judged("rita", "counted/edit"), HELD], "rita", None),
        ([HELD, judged("otto", "counted/approve"), judged("rita", "counted/edit"), HELD], "otto", 1),
        ([HELD, judged("rita", "applied/escalate"), HELD], "otto", 3),
        ([HELD, judged("rita", "applied/escalate"), HELD], "rita", 3),
        ([HELD, judged("rita", "applied/escalate")], "otto", 2),
        ([HELD, judged("rita", "counted/approve"), judged("otto", "applied/escalate")], "rita", 1),
        ([HELD, judged("rita", "counted/approve"), RAISED], "rita", 1),
        ([HELD, RAISED, judged("rita", "counted/approve")], "otto", 2),
        ([HELD, RAISED, judged("rita", "counted/approve")], "rita", None),
        ([judged("rita", "stale/approve"), HELD], "otto", 2),
    ],
)
async def test_how_far_a_record_is_visible(
    caller: Caller, steps: list[tuple[str, str, str]], who: str, visible: int | None
) -> None:
    """``None`` where all of it is."""
    identifier = await caller.held()
    review = caller.world.desk.change(identifier, approvals_needed=3)
    principal = Principal(tenant="acme", name=who, roles=frozenset({Role.REVIEWER}))
    records = _story(*steps)
    seen = sight(principal, review, records)

    assert (len(seen.records), seen.blind) == ((len(records), False) if visible is None else (visible, True))
    over = review.model_copy(update={"state": ReviewState.DECIDED})
    single = review.model_copy(update={"approvals_needed": 1})
    for other in (over, single, None):
        assert len(sight(principal, other, records).records) == len(records)
