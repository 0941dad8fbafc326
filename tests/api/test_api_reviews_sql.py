"""Reviewing over HTTP on the real tables: the queue, claims, a quorum, delegations and refusals, as they are stored."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from adapters.api_keys import ApiKeys
from adapters.claims import Claims
from adapters.database import Database, migrate
from adapters.decision_outbox import DecisionOutbox
from adapters.ledger_reader import LedgerReader
from adapters.review_figures import ReviewFigures
from adapters.roster import Roster
from adapters.sql_ledger import SqlLedger
from api.app import create_app
from domain.identity import Principal, Role
from domain.ledger import RecordKind
from domain.request import Outcome, Status
from domain.review import DecisionEnvelope, DecisionStatus, ReviewOffer
from tests.adapters.ledger_examples import START, ending, hold, judged, judgement, record
from tests.api.fake_services import FakeRequests
from tests.api.fakes_api import World
from tests.examples import request as a_request

NOW = START + timedelta(hours=1)
PEOPLE = {
    "rita": {Role.REVIEWER},
    "otto": {Role.REVIEWER},
    "sena": {Role.SENIOR_REVIEWER},
    "anna": {Role.AUDITOR},
    "olaf": {Role.OPERATOR},
    "shop": {Role.SERVICE},
}


class Workflow(FakeRequests):
    """Judges decisions at once, as the Workflow of a request that needs two approvals does."""

    def __init__(self, world: World, ledger: SqlLedger) -> None:
        super().__init__(world)
        self._ledger = ledger
        self._approvals = 0
        self._sequence = 3

    async def signal(self, envelope: Any) -> bool:
        assert isinstance(envelope, DecisionEnvelope)
        request_id = envelope.request_id
        self._approvals += 1
        complete = self._approvals == 2
        status = DecisionStatus.APPLIED if complete else DecisionStatus.COUNTED
        decision = judged(envelope, status, f"approval {self._approvals} of 2")
        self._sequence += 1
        told = record(
            request_id,
            self._sequence,
            RecordKind.DECISION_JUDGED,
            actor=f"reviewer:{envelope.reviewer}",
            data={"status": status, "verdict": envelope.verdict, "decision_id": envelope.decision_id},
        )
        if complete:
            asked = a_request().model_copy(update={"request_id": request_id})
            await self._ledger.end(ending(asked, Outcome.APPROVED, [told], [decision]))
        else:
            change = judgement(request_id, [told], [decision], Status.HELD, approvals=self._approvals)
            await self._ledger.judge(change)
        return True


class House:
    """The API on a database of its own, and a client for everybody."""

    def __init__(self, database: Database, workflow: Workflow, http: httpx.AsyncClient, keys: dict[str, str]) -> None:
        self.database = database
        self.workflow = workflow
        self.http = http
        self._keys = keys

    async def call(self, who: str, method: str, path: str, body: Any = None, status: int = 200) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self._keys[who]}"}
        answer = await self.http.request(method, path, json=body, headers=headers)
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    async def held(self, **changes: Any) -> str:
        offer = ReviewOffer(approvals_needed=2, lease=timedelta(minutes=10))
        opened = await hold(self.database, subject="Customer-7", text="Buy it all.", offer=offer, **changes)
        return opened.request_id

    async def approve(self, who: str, identifier: str, status: int = 200, **fields: Any) -> dict[str, Any]:
        review = await self.call("anna", "GET", f"/v1/reviews/{identifier}")
        body = {
            "decision_id": f"{who}-1",
            "verdict": "approve",
            "result_sha256": review["proposal"]["result_sha256"],
            "review_version": review["proposal"]["review_version"],
            **fields,
        }
        return await self.call(who, "POST", f"/v1/reviews/{identifier}/decisions", body, status)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    url = f"sqlite+aiosqlite:///{tmp_path}/sluice.db"
    migrate(url)
    database = Database(url)
    keys = ApiKeys(database, b"p" * 32)
    secrets = {
        name: await keys.create(Principal(tenant="acme", name=name, roles=frozenset(roles)))
        for name, roles in PEOPLE.items()
    }
    world = World()
    workflow = Workflow(world, SqlLedger(database))
    services = replace(
        world.services(),
        keys=keys,
        reader=LedgerReader(database),
        outbox=DecisionOutbox(database),
        requests=workflow,
        roster=Roster(database),
        claims=Claims(database),
        figures=ReviewFigures(database),
        clock=lambda: NOW,
    )
    transport = httpx.ASGITransport(app=create_app(services))
    async with httpx.AsyncClient(transport=transport, base_url="http://sluice.test") as http:
        yield House(database, workflow, http, secrets)
    await database.close()


async def test_a_review_goes_from_the_queue_through_two_approvals(house: House) -> None:
    identifier = await house.held()
    listed = await house.call("rita", "GET", "/v1/reviews?state=pending&q=customer-7&claimed_by=none")
    (item,) = listed["items"]
    assert (item["id"], item["preview"], item["approvals"], item["approvals_needed"]) == (
        identifier,
        "Buy it all.",
        None,
        2,
    )
    claimed = await house.call("rita", "POST", f"/v1/reviews/{identifier}/claim", {})
    assert claimed == {"claimed_by": "rita", "claimed_until": "2026-11-23T13:10:00.123456Z"}
    assert (await house.approve("otto", identifier, 409))["error"]["code"] == "claimed"

    first = await house.approve("rita", identifier)
    assert (first["status"], first["review"]["approvals"], first["review"]["state"]) == ("counted", 1, "pending")
    blind = await house.call("otto", "GET", f"/v1/reviews/{identifier}")
    assert (blind["blind"], blind["approvals"], blind["claimed_by"]) == (True, None, None)
    assert "rita" not in str({**blind, "viewers": None})
    timeline = await house.call("otto", "GET", f"/v1/requests/{identifier}/timeline")
    assert "rita" not in str(timeline)

    second = await house.approve("otto", identifier)
    assert (second["status"], second["review"]["state"], second["request"]["outcome"]) == (
        "applied",
        "decided",
        "approved",
    )
    assert (await house.approve("rita", identifier)) == {**second, **_own(first)}, "told again as it now stands"
    timeline = await house.call("anna", "GET", f"/v1/requests/{identifier}/timeline")
    human = [(entry["kind"], entry["who"]) for entry in timeline["entries"] if entry["who"] in PEOPLE]
    assert ("claimed", "rita") in human
    assert human.count(("opened_page", "otto")) == 1
    assert [who for kind, who in human if kind == "decision_judged"] == ["rita", "otto"]


def _own(answer: dict[str, Any]) -> dict[str, Any]:
    return {name: answer[name] for name in ("decision_id", "status", "because")}


async def test_a_queue_with_members_is_closed_and_a_delegation_opens_it(house: House) -> None:
    identifier = await house.held()
    await house.call("olaf", "PUT", "/v1/queues/default/members/rita")
    refused = await house.approve("otto", identifier, 403)
    assert (refused["status"], refused["error"]["code"]) == ("unauthorised", "not_entitled")
    assert (await house.call("otto", "GET", f"/v1/reviews/{identifier}"))["may_decide"]["allowed"] is False

    until = (NOW + timedelta(days=2)).isoformat()
    made = await house.call("rita", "POST", "/v1/delegations", {"delegate": "otto", "ends_at": until}, 201)
    assert (await house.call("otto", "GET", "/v1/delegations"))["items"] == [made]
    allowed = (await house.call("otto", "GET", f"/v1/reviews/{identifier}"))["may_decide"]
    assert (allowed["allowed"], allowed["on_behalf_of"]) == (True, "rita")
    counted = await house.approve("otto", identifier, decision_id="otto-2")
    assert counted["status"] == "counted"

    record = await house.call("anna", "GET", f"/v1/requests/{identifier}/record")
    kept = [(order["decision_id"], order["status"], order["on_behalf_of"]) for order in record["decisions"]]
    assert sorted(kept) == [("otto-1", "unauthorised", None), ("otto-2", "counted", "rita")]
    assert (await house.call("sena", "GET", "/v1/queues"))["items"][0]["pending"] == 1
    await house.call("rita", "DELETE", f"/v1/delegations/{made['id']}")


async def test_the_requester_and_the_barred_decide_nothing(house: House) -> None:
    identifier = await house.held(barred=("otto",))
    assert (await house.approve("otto", identifier, 403))["error"]["code"] == "not_entitled"
    own = await house.held(requester="rita")
    assert (await house.approve("rita", own, 403))["error"]["code"] == "separation_of_duties"
    figures = await house.call("sena", "GET", "/v1/reviews/figures")
    assert figures["time_to_decision"]["n"] == 0, "what was refused is no decision"
    assert sum(band["count"] for band in figures["pending_by_age"]) == 2
