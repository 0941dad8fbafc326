"""The timeline of a request: what everybody sees, and what the service that asked is not told."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from adapters.claims import ReviewEventKind
from adapters.review_rows import DeliveryView
from domain.identity import Principal, Role
from domain.ledger import RecordKind
from domain.policy import PolicySnapshot
from domain.request import Outcome
from tests.api.conftest import Caller
from tests.api.fake_services import FakePolicies
from tests.api.fakes_api import KEYS, NOW
from tests.examples import POLICY, snapshot


async def told(caller: Caller, identifier: str, key: str = "sk-auditor") -> dict[str, Any]:
    answer = await caller.get(f"/v1/requests/{identifier}/timeline", key=key)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def reviewed(caller: Caller) -> str:
    """A request that was held, looked at, escalated, overridden, approved and told of."""
    identifier = await caller.held()
    world = caller.world
    world.records[identifier] = []
    attempts = [{"latency_ms": 250.0}, {"latency_ms": 500.0}, {"latency_ms": None}]
    world.record(identifier, RecordKind.ADMITTED, "pinned to policy plain", "requester:shop")
    world.record(
        identifier, RecordKind.STAGE_ANSWERED, "answered in 3 attempts", "model:small", "small", attempts=attempts
    )
    world.record(
        identifier,
        RecordKind.OUTPUT_CHECKED,
        "fail: unsure",
        "check:confidence",
        "small",
        name="confidence",
        verdict="fail",
    )
    world.put_forward(identifier)
    notice = {"event": "review.requested", "channel": "desk"}
    world.record(identifier, RecordKind.NOTIFIED, "review.requested for desk", **notice)
    raised = {"status": "applied", "verdict": "escalate", "queue": "seniors"}
    world.record(identifier, RecordKind.DECISION_JUDGED, "applied: too hard", "reviewer:rita", **raised)
    order = {"status": "inapplicable", "action": "force_review"}
    world.record(identifier, RecordKind.OVERRIDE_JUDGED, "inapplicable: held", "operator:olaf", **order)
    world.record(identifier, RecordKind.DECISION_JUDGED, "malformed: no envelope", "unknown", status="malformed")
    applied = {"status": "applied", "verdict": "approve", "on_behalf_of": "otto"}
    world.record(identifier, RecordKind.DECISION_JUDGED, "applied: secret reason", "reviewer:sena", **applied)
    world.end(identifier, Outcome.APPROVED)
    world.record(identifier, RecordKind.ENDED, "approved by a reviewer", outcome="approved")
    world.desk.note(identifier, NOW - timedelta(seconds=30), "sena", ReviewEventKind.OPENED_PAGE)
    world.desk.note(
        identifier, NOW - timedelta(seconds=29), "sena", ReviewEventKind.REASSIGNED, to="otto", reason="ill"
    )
    world.deliveries[identifier] = [
        DeliveryView(
            delivery_id=f"n{number}", channel=channel, event=event, delivered=ok, attempts=1, detail=detail, at=NOW
        )
        for number, (channel, event, ok, detail) in enumerate(
            (("desk", "review.requested", True, ""), ("crm", "request.completed", False, "status 500"))
        )
    ]
    return identifier


async def test_every_step_has_its_time_its_actor_and_its_words(caller: Caller) -> None:
    timeline = await told(caller, await reviewed(caller))
    steps = [(entry["kind"], entry["who"], entry["title"], entry["detail"]) for entry in timeline["entries"]]

    assert steps == [
        ("admitted", "shop", "admitted", "pinned to policy plain"),
        ("stage_answered", "small", "small answered", "answered in 3 attempts"),
        ("output_checked", "confidence", "check confidence of small's answer: fail", "fail: unsure"),
        ("held", None, "held for review, version 1", "risk is high"),
        ("notified", None, "notice review.requested for desk", "review.requested for desk"),
        ("decision_judged", "rita", "decision escalate: applied", "applied: too hard"),
        ("override_judged", "olaf", "override force_review: inapplicable", "inapplicable: held"),
        ("decision_judged", None, "decision unreadable: malformed", "malformed: no envelope"),
        ("decision_judged", "sena for otto", "decision approve: applied", "applied: secret reason"),
        ("ended", None, "ended: approved", "approved by a reviewer"),
        ("opened_page", "sena", "opened the review", None),
        ("reassigned", "sena", "reassigned the review", "to otto: ill"),
        ("delivery", None, "notice review.requested delivered to desk", None),
        ("delivery", None, "notice request.completed not delivered to crm", "status 500"),
    ]
    moments = [datetime.fromisoformat(entry["at"]) for entry in timeline["entries"]]
    assert moments == sorted(moments)
    assert (timeline["status"], timeline["outcome"], timeline["blind"]) == ("completed", "approved", False)


async def test_stages_take_their_attempts_and_a_hold_lasts_until_its_end(caller: Caller) -> None:
    timeline = await told(caller, await reviewed(caller))
    durations = {entry["title"]: entry["duration_ms"] for entry in timeline["entries"]}

    assert durations.pop("small answered") == 750.0
    assert durations.pop("held for review, version 1") == 5000.0, "until the approval, not until it was raised"
    assert set(durations.values()) == {None}


async def test_a_hold_that_goes_on_has_no_length_yet(caller: Caller) -> None:
    timeline = await told(caller, await caller.held())
    assert [entry["duration_ms"] for entry in timeline["entries"] if entry["kind"] == "held"] == [None]


NAMES = ("rita", "sena", "otto", "olaf", "secret reason", "too hard", "ill", "desk")


async def test_the_service_is_not_told_who_decided_and_why(caller: Caller) -> None:
    identifier = await reviewed(caller)
    answer = await caller.get(f"/v1/requests/{identifier}/timeline", key="sk-service")

    assert [name for name in NAMES if f'"{name}' in answer.text or f" {name}" in answer.text] == []
    steps = {(entry["kind"], entry["who"]) for entry in answer.json()["entries"]}
    assert {
        ("decision_judged", "a reviewer"),
        ("override_judged", "an operator"),
        ("opened_page", "a reviewer"),
    } <= steps
    assert ("admitted", "shop") in steps
    kinds = [entry["title"] for entry in answer.json()["entries"] if entry["kind"] in ("delivery", "notified")]
    assert kinds == ["notice request.completed not delivered to crm"]


class Shown(FakePolicies):
    """The policy in force tells requesters who decided; its version is that of the request unless told otherwise."""

    def __init__(self, version: str = "0123456789abcdef") -> None:
        self._version = version

    def snapshot(self, name: str) -> PolicySnapshot | None:
        hold = {**POLICY["hold"], "reason_for_requester": "shown"}
        return snapshot(hold=hold).model_copy(update={"version": self._version})


@pytest.mark.parametrize(("version", "names"), [("0123456789abcdef", True), ("another", False)])
async def test_a_policy_can_show_it_and_an_unknown_version_does_not(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, version: str, names: bool
) -> None:
    identifier = await reviewed(caller)
    services = caller.http._transport.app.state.services  # type: ignore[attr-defined]
    monkeypatch.setitem(vars(services), "policies", Shown(version))
    answer = await caller.get(f"/v1/requests/{identifier}/timeline", key="sk-service")

    assert ("sena for otto" in answer.text) is names
    assert ("secret reason" in answer.text) is names


async def test_who_is_service_and_operator_sees_all(caller: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    identifier = await reviewed(caller)
    both = Principal(tenant="acme", name="shop", roles=frozenset({Role.SERVICE, Role.OPERATOR}))
    monkeypatch.setitem(KEYS, "sk-all", both)
    assert "secret reason" in (await caller.get(f"/v1/requests/{identifier}/timeline", key="sk-all")).text


async def test_unknown_and_foreign_requests_are_404(caller: Caller) -> None:
    identifier = await caller.held()
    for path, key in (
        (f"/v1/requests/{identifier}/timeline", "sk-other"),
        ("/v1/requests/req_none/timeline", "sk-auditor"),
        ("/v1/requests/%00/timeline", "sk-service"),
    ):
        assert (await caller.get(path, key=key)).status_code == 404
    assert (await caller.get(f"/v1/requests/{identifier}/timeline?x=1", key="sk-auditor")).status_code == 400
