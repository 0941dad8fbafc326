"""Queues and delegations over HTTP: who keeps them, and that nobody reaches more than their own part."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from tests.api.conftest import Caller
from tests.api.fakes_api import NOW

MEMBER = "/v1/queues/default/members/rita"
LATER = (NOW + timedelta(days=7)).isoformat()


async def test_queues_are_listed_with_members_and_what_waits(caller: Caller) -> None:
    await caller.held()
    assert (await caller.put(MEMBER, "sk-operator")).status_code == 200
    listed = (await caller.get("/v1/queues", key="sk-reviewer")).json()

    member = {"name": "rita", "added_by": "olaf", "added_at": "2026-11-23T18:00:00Z"}
    assert listed == {"items": [{"name": "default", "members": [member], "pending": 1}]}
    assert (await caller.get("/v1/queues", key="sk-other")).json() == {"items": []}


async def test_an_operator_puts_members_in_and_takes_them_out(caller: Caller) -> None:
    for _ in range(2):
        added = (await caller.put(MEMBER, "sk-operator")).json()
        assert [member["name"] for member in added["members"]] == ["rita"]
    removed = await caller.delete(MEMBER, "sk-operator")
    assert (removed.status_code, removed.json()) == (200, {"name": "default", "members": [], "pending": 0})
    gone = await caller.delete(MEMBER, "sk-operator")
    assert (gone.status_code, gone.json()["error"]["param"]) == (404, "name")


async def test_names_of_people_are_those_of_keys_and_identity_providers(caller: Caller) -> None:
    for name in ("rita@example.com", "Rita O'Neill", "a"):
        answer = await caller.put(f"/v1/queues/compliance/members/{name}", "sk-operator")
        assert answer.status_code == 200, answer.text
    assert len(caller.world.people.members["compliance"]) == 3


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/v1/queues/Default!/members/rita", "queue"),
        ("/v1/queues/a b/members/rita", "queue"),
        ("/v1/queues/default/members/%20rita", "name"),
        ("/v1/queues/default/members/%00", "name"),
        ("/v1/queues/default/members/" + "x" * 201, "name"),
        ("/v1/queues/default/members/a%0Ab", "name"),
        ("/v1/queues/default/members/rita?x=1", "x"),
    ],
)
async def test_impossible_names_are_refused(caller: Caller, path: str, param: str) -> None:
    for answer in (await caller.put(path, "sk-operator"), await caller.delete(path, "sk-operator")):
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
    assert not caller.world.people.members


async def delegate(caller: Caller, key: str = "sk-reviewer", **body: Any) -> dict[str, Any]:
    answer = await caller.post("/v1/delegations", {"delegate": "otto", "ends_at": LATER, **body}, key=key)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def test_a_reviewer_delegates_their_own_part(caller: Caller) -> None:
    made = await delegate(caller, queue="compliance")
    assert made == {
        "id": made["id"],
        "delegator": "rita",
        "delegate": "otto",
        "queue": "compliance",
        "starts_at": "2026-11-23T18:00:00Z",
        "ends_at": "2026-11-30T18:00:00Z",
        "created_by": "rita",
        "created_at": "2026-11-23T18:00:00Z",
        "revoked_at": None,
    }
    for key in ("sk-reviewer", "sk-otto", "sk-operator", "sk-auditor"):
        assert (await caller.get("/v1/delegations", key=key)).json() == {"items": [made]}
    assert (await caller.get("/v1/delegations", key="sk-senior")).json() == {"items": []}
    assert (await caller.get("/v1/delegations", key="sk-other")).json() == {"items": []}


async def test_an_operator_delegates_for_anybody_and_a_reviewer_does_not(caller: Caller) -> None:
    made = await delegate(caller, "sk-operator", delegator="rita")
    assert (made["delegator"], made["created_by"]) == ("rita", "olaf")

    body = {"delegator": "otto", "delegate": "rita", "ends_at": LATER}
    refused = await caller.post("/v1/delegations", body, key="sk-reviewer")
    assert (refused.status_code, refused.json()["error"]["param"]) == (403, "delegator")
    assert (
        await caller.post("/v1/delegations", {**body, "delegator": "rita", "delegate": "otto"}, key="sk-reviewer")
    ).status_code == 201


async def test_reviewers_ask_for_their_own_delegations_only(caller: Caller) -> None:
    await delegate(caller)
    refused = await caller.get("/v1/delegations?person=otto", key="sk-reviewer")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "only_own")
    assert len((await caller.get("/v1/delegations?person=rita", key="sk-reviewer")).json()["items"]) == 1
    assert (await caller.get("/v1/delegations?person=sena", key="sk-operator")).json() == {"items": []}


async def test_a_delegation_ends_when_its_delegator_or_an_operator_says_so(caller: Caller) -> None:
    for key in ("sk-reviewer", "sk-operator"):
        path = f"/v1/delegations/{(await delegate(caller))['id']}"
        for other in ("sk-otto", "sk-senior", "sk-other"):
            assert (await caller.delete(path, other)).status_code == 404, "the delegate and strangers have no say"
        ended = await caller.delete(path, key)
        assert (ended.status_code, ended.json()["revoked_at"]) == (200, "2026-11-23T18:00:00Z")
        assert (await caller.delete(path, key)).status_code == 200
    for identifier in ("none", "%00", "x" * 200):
        assert (await caller.delete(f"/v1/delegations/{identifier}", "sk-operator")).status_code == 404


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"delegate": "rita"}, "body"),
        ({"delegate": ""}, "delegate"),
        ({"delegate": "a\x00"}, "delegate"),
        ({"delegate": "a/b"}, "delegate"),
        ({"ends_at": NOW.isoformat()}, "ends_at"),
        ({"ends_at": "2026-12-24T00:00:00"}, "ends_at"),
        ({"ends_at": "tomorrow"}, "ends_at"),
        ({"starts_at": (NOW + timedelta(days=8)).isoformat()}, "body"),
        ({"starts_at": "2026-12-24"}, "starts_at"),
        ({"queue": "No Queue"}, "queue"),
        ({"until": LATER}, "until"),
    ],
)
async def test_a_wrong_delegation_names_its_field(caller: Caller, changes: dict[str, Any], param: str) -> None:
    body = {"delegate": "otto", "ends_at": LATER, **changes}
    answer = await caller.post("/v1/delegations", body, key="sk-reviewer")

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
    assert not caller.world.people.delegations
