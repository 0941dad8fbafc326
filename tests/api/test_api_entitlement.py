"""Who may decide over what: refused people and what is kept of them, delegations, claims, and what each is told."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from domain.identity import Role
from domain.review import DecisionEnvelope, DecisionStatus, ReviewState
from tests.api.conftest import Caller
from tests.api.fakes_api import NOW


def stored(caller: Caller, identifier: str, decision_id: str) -> tuple[DecisionStatus, DecisionEnvelope, str]:
    found = caller.world.decisions[identifier, decision_id]
    assert isinstance(found.envelope, DecisionEnvelope)
    return found.status, found.envelope, found.because


def close_queue(caller: Caller, *members: str) -> None:
    caller.world.people.members["default"] = dict.fromkeys(members, "olaf")


async def may_decide(caller: Caller, identifier: str, key: str) -> dict[str, Any]:
    answer = await caller.get(f"/v1/reviews/{identifier}", key=key)
    return dict(answer.json()["may_decide"])


REFUSALS: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    "barred": ({"barred": ("rita",)}, (), "edited the policy"),
    "no member": ({}, ("otto",), "is not a member of queue 'default'"),
    "no senior": ({"senior_only": True}, (), "senior reviewers"),
}


@pytest.mark.parametrize("case", sorted(REFUSALS))
async def test_a_refused_decision_is_403_and_kept_as_unauthorised(caller: Caller, case: str) -> None:
    changes, members, words = REFUSALS[case]
    identifier = await caller.held()
    caller.world.desk.change(identifier, **changes)
    if members:
        close_queue(caller, *members)
    answer = await caller.decide(identifier, "approve", "sk-reviewer")

    told = answer.json()
    assert (answer.status_code, told["status"], told["error"]["code"]) == (403, "unauthorised", "not_entitled")
    assert told["error"]["type"] == "permission_error"
    assert words in told["error"]["message"]
    assert told["review"]["state"] == "pending"
    status, envelope, because = stored(caller, identifier, "sk-reviewer-approve")
    assert (status, envelope.reviewer, envelope.signature) == (DecisionStatus.UNAUTHORISED, "rita", "")
    assert words in because
    assert caller.world.signals == []
    again = await caller.decide(identifier, "approve", "sk-reviewer")
    assert (again.status_code, again.json()) == (403, told)
    record = (await caller.get(f"/v1/requests/{identifier}/record", key="sk-auditor")).json()
    assert [(item["reviewer"], item["status"]) for item in record["decisions"]] == [("rita", "unauthorised")]
    shown = await may_decide(caller, identifier, "sk-reviewer")
    assert shown["allowed"] is False
    assert words in shown["because"]


async def test_a_role_that_the_roster_has_taken_away_decides_nothing(caller: Caller) -> None:
    identifier = await caller.held()
    caller.world.people.roles["rita"] = frozenset({Role.SERVICE})
    answer = await caller.decide(identifier, "approve", "sk-reviewer")

    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "not_entitled")
    assert "(any more)" in answer.json()["error"]["message"]


async def test_a_refused_id_that_stands_for_another_decision_is_a_conflict(caller: Caller) -> None:
    identifier = await caller.held()
    close_queue(caller, "otto")
    await caller.decide(identifier, "approve", "sk-reviewer", decision_id="d1")
    answer = await caller.decide(identifier, "reject", "sk-reviewer", decision_id="d1")

    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "decision_conflict")


async def test_a_decision_that_took_effect_is_told_again_to_who_could_not_give_it_any_more(caller: Caller) -> None:
    identifier = await caller.held()
    first = await caller.decided(identifier, "approve", "sk-reviewer", DecisionStatus.APPLIED)
    close_queue(caller, "otto")
    again = await caller.decide(identifier, "approve", "sk-reviewer")

    assert (again.status_code, again.json()) == (200, first.json())


async def test_a_refused_decision_is_not_carried_out_once_its_sender_is_entitled(caller: Caller) -> None:
    identifier = await caller.held()
    close_queue(caller, "otto")
    await caller.decide(identifier, "approve", "sk-reviewer", decision_id="d1")
    close_queue(caller, "otto", "rita")
    answer = await caller.decide(identifier, "approve", "sk-reviewer", decision_id="d1")

    assert (answer.status_code, answer.json()["status"]) == (409, "unauthorised")
    assert caller.world.signals == []


async def test_who_is_no_member_decides_for_the_one_who_delegated(caller: Caller) -> None:
    identifier = await caller.held()
    close_queue(caller, "otto")
    caller.world.people.let("rita", "otto", "default")
    assert await may_decide(caller, identifier, "sk-reviewer") == {
        "allowed": True,
        "because": None,
        "reviewer": True,
        "on_behalf_of": "otto",
        "delegators": ["otto"],
    }
    answer = await caller.decided(identifier, "approve", "sk-reviewer", DecisionStatus.APPLIED)

    assert answer.status_code == 200
    _, envelope, _ = stored(caller, identifier, "sk-reviewer-approve")
    assert (envelope.reviewer, envelope.on_behalf_of) == ("rita", "otto")
    record = (await caller.get(f"/v1/requests/{identifier}/record", key="sk-auditor")).json()
    assert record["decisions"][0]["on_behalf_of"] == "otto"


async def test_a_member_decides_in_their_own_name_unless_they_say_otherwise(caller: Caller) -> None:
    identifier = await caller.held()
    caller.world.people.let("rita", "otto")
    shown = await may_decide(caller, identifier, "sk-reviewer")
    assert (shown["allowed"], shown["on_behalf_of"], shown["delegators"]) == (True, None, ["otto"])

    await caller.decide(identifier, "approve", "sk-reviewer", wait=0, decision_id="own")
    await caller.decide(identifier, "approve", "sk-reviewer", wait=0, decision_id="for", on_behalf_of="otto")
    assert [stored(caller, identifier, name)[1].on_behalf_of for name in ("own", "for")] == [None, "otto"]


async def test_with_two_delegators_one_has_to_be_named(caller: Caller) -> None:
    identifier = await caller.held()
    close_queue(caller, "otto", "ines")
    for delegator in ("otto", "ines"):
        caller.world.people.let("rita", delegator)
    answer = await caller.decide(identifier, "approve", "sk-reviewer")
    assert answer.status_code == 403
    assert "'on_behalf_of' for whom this is: ines, otto" in answer.json()["error"]["message"]

    answer = await caller.decided(
        identifier, "approve", "sk-reviewer", DecisionStatus.APPLIED, decision_id="d2", on_behalf_of="ines"
    )
    assert answer.status_code == 200


@pytest.mark.parametrize("delegator", ["otto", "shop"])
async def test_who_delegated_nothing_or_made_the_request_is_refused(caller: Caller, delegator: str) -> None:
    identifier = await caller.held()
    if delegator == "shop":
        caller.world.people.let("rita", "shop")
    answer = await caller.decide(identifier, "approve", "sk-reviewer", on_behalf_of=delegator)

    code = "separation_of_duties" if delegator == "shop" else "not_entitled"
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, code)
    assert stored(caller, identifier, "sk-reviewer-approve")[0] is DecisionStatus.UNAUTHORISED


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state": ReviewState.DECIDED}, "is decided"),
        ({"state": ReviewState.OVERRIDDEN}, "is overridden"),
        ({"expires_at": NOW}, "expired at 2026-11-23T18:00:00Z"),
        ({"claimed_by": "otto", "claimed_until": NOW + timedelta(minutes=1)}, "'otto' has claimed this review until"),
        ({"claimed_by": "otto", "claimed_until": NOW}, None),
        ({"claimed_by": "rita", "claimed_until": NOW + timedelta(minutes=1)}, None),
    ],
)
async def test_may_decide_says_why_not(caller: Caller, changes: dict[str, Any], words: str | None) -> None:
    identifier = await caller.held()
    caller.world.desk.change(identifier, **changes)
    shown = await may_decide(caller, identifier, "sk-reviewer")

    assert shown["allowed"] is (words is None)
    assert words is None or words in shown["because"]


@pytest.mark.parametrize("key", ["sk-auditor", "sk-operator"])
async def test_readers_who_are_no_reviewers_may_not_decide_and_look_unseen(caller: Caller, key: str) -> None:
    identifier = await caller.held()
    shown = await may_decide(caller, identifier, key)

    assert (shown["allowed"], shown["reviewer"], shown["delegators"]) == (False, False, [])
    assert "role reviewer" in shown["because"]
    assert caller.world.desk.seen == {}


async def test_a_claim_keeps_others_from_deciding_until_it_is_over(caller: Caller) -> None:
    identifier = await caller.held()
    claim = f"/v1/reviews/{identifier}/claim"
    mine = await caller.post(claim, {}, key="sk-reviewer")
    assert (mine.status_code, mine.json()) == (200, {"claimed_by": "rita", "claimed_until": "2026-11-23T18:15:00Z"})
    assert (await caller.post(claim, {}, key="sk-reviewer")).status_code == 200

    taken = await caller.post(claim, {}, key="sk-otto")
    assert (taken.status_code, taken.json()["error"]["code"]) == (409, "claimed")
    assert "'rita' has claimed this review until 2026-11-23T18:15:00Z" in taken.json()["error"]["message"]
    refused = await caller.decide(identifier, "approve", "sk-otto")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "claimed")
    assert not caller.world.decisions, "a claim is no judgement of who may decide, so nothing is recorded"
    item = (await caller.get("/v1/reviews", key="sk-otto")).json()["items"][0]
    assert (item["claimed_by"], item["claimed_until"]) == ("rita", "2026-11-23T18:15:00Z")

    caller.world.desk.claimed(identifier, "rita", NOW)
    assert (await caller.decided(identifier, "approve", "sk-otto", DecisionStatus.APPLIED)).status_code == 200


async def test_a_decision_under_way_is_answered_also_after_somebody_elses_claim(caller: Caller) -> None:
    identifier = await caller.held()
    await caller.decide(identifier, "approve", "sk-reviewer", wait=0)
    caller.world.desk.claimed(identifier, "otto")
    again = await caller.decide(identifier, "approve", "sk-reviewer", wait=0)

    assert (again.status_code, again.json()["status"]) == (202, "pending")


async def test_a_claim_is_given_up_by_who_has_it(caller: Caller) -> None:
    identifier = await caller.held()
    claim = f"/v1/reviews/{identifier}/claim"
    nobody = {"claimed_by": None, "claimed_until": None}
    await caller.post(claim, {}, key="sk-reviewer")

    refused = await caller.delete(claim, "sk-otto")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "claimed")
    for _ in range(2):
        released = await caller.delete(claim, "sk-reviewer")
        assert (released.status_code, released.json()) == (200, nobody)
    assert (await caller.delete(claim, "sk-otto")).status_code == 200


async def test_who_may_not_decide_cannot_claim(caller: Caller) -> None:
    identifier = await caller.held()
    claim = f"/v1/reviews/{identifier}/claim"
    close_queue(caller, "otto")
    refused = await caller.post(claim, {}, key="sk-reviewer")
    own = await caller.post(claim, {}, key="sk-both")

    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "not_entitled")
    assert (own.status_code, own.json()["error"]["code"]) == (403, "separation_of_duties")
    assert caller.world.reviews[identifier].claimed_by is None
    assert (await caller.post(claim, {}, key="sk-otto")).status_code == 200


@pytest.mark.parametrize("changes", [{"state": ReviewState.EXPIRED}, {"expires_at": NOW}])
async def test_what_is_over_can_be_neither_claimed_nor_reassigned(caller: Caller, changes: dict[str, Any]) -> None:
    identifier = await caller.held()
    caller.world.desk.change(identifier, **changes)
    body = {"to": "otto", "reason": "holidays"}
    for answer in (
        await caller.post(f"/v1/reviews/{identifier}/claim", {}, key="sk-reviewer"),
        await caller.post(f"/v1/reviews/{identifier}/reassign", body, key="sk-senior"),
    ):
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "not_pending")


@pytest.mark.parametrize("key", ["sk-senior", "sk-operator"])
async def test_seniors_and_operators_reassign_to_who_may_decide(caller: Caller, key: str) -> None:
    identifier = await caller.held()
    reassign = f"/v1/reviews/{identifier}/reassign"
    await caller.post(f"/v1/reviews/{identifier}/claim", {}, key="sk-reviewer")
    answer = await caller.post(reassign, {"to": "otto", "reason": "rita is ill"}, key=key)
    assert (answer.status_code, answer.json()["claimed_by"]) == (200, "otto")

    for name, words in (("shop", "made this request"), ("paul", "does not hold the role"), ("nobody", "role reviewer")):
        refused = await caller.post(reassign, {"to": name, "reason": "r"}, key=key)
        error = refused.json()["error"]
        assert (refused.status_code, error["param"], error["code"]) == (400, "to", "not_entitled")
        assert words in error["message"]
    assert caller.world.reviews[identifier].claimed_by == "otto"
    timeline = (await caller.get(f"/v1/requests/{identifier}/timeline", key="sk-auditor")).json()
    steps = {entry["kind"]: (entry["who"], entry["detail"]) for entry in timeline["entries"]}
    assert steps["reassigned"] == ("sena" if key == "sk-senior" else "olaf", "to otto: rita is ill")


async def test_reviewers_see_who_else_looks(caller: Caller) -> None:
    identifier = await caller.held()
    for key, others in (("sk-reviewer", []), ("sk-otto", ["rita"]), ("sk-senior", ["otto", "rita"])):
        review = (await caller.get(f"/v1/reviews/{identifier}", key=key)).json()
        assert review["viewers"] == others
    caller.world.desk.change(identifier, state=ReviewState.DECIDED)
    assert (await caller.get(f"/v1/reviews/{identifier}", key="sk-otto")).json()["viewers"] == []
