"""Overrides over HTTP: signed, signalled under their own name, answered like decisions, at any moment of a request."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest

from api.outbox import resend
from domain.override import OverrideAction, OverrideEnvelope
from domain.request import Outcome
from domain.review import DecisionStatus
from tests.api.conftest import Caller


def order(**changes: Any) -> dict[str, Any]:
    return {"decision_id": "o1", "action": "force_review", "reason": "to be sure", **changes}


async def override(
    caller: Caller, identifier: str, wait: float = 5, key: str = "sk-operator", **changes: Any
) -> httpx.Response:
    path = f"/v1/requests/{identifier}/overrides?wait_seconds={wait:g}"
    return await caller.post(path, order(**changes), key=key)


async def running(caller: Caller) -> str:
    caller.world.answer = "running"
    return str((await caller.start()).json()["id"])


async def test_an_applied_override_of_a_running_request_has_no_review(caller: Caller) -> None:
    identifier = await running(caller)
    call = asyncio.create_task(override(caller, identifier))
    await caller.judged(0, DecisionStatus.APPLIED, "to be sure")
    answer = await call

    assert answer.status_code == 200
    assert answer.json() == {
        "decision_id": "o1",
        "status": "applied",
        "because": "to be sure",
        "review": None,
        "request": {"id": identifier, "status": "running", "outcome": None},
    }
    assert answer.headers["x-sluice-request-id"] == identifier
    (sent,) = caller.world.signals
    assert isinstance(sent, OverrideEnvelope)
    assert (sent.operator, sent.tenant, sent.action, sent.signature) == (
        "olaf",
        "acme",
        OverrideAction.FORCE_REVIEW,
        "genuine",
    )
    again = await override(caller, identifier)
    assert (again.status_code, again.json()) == (200, answer.json())
    assert len(caller.world.signals) == 1


async def test_an_override_of_a_held_request_tells_of_its_review(caller: Caller) -> None:
    identifier = await caller.held()
    call = asyncio.create_task(override(caller, identifier, action="force_model", stage="large"))
    await caller.judged(0, DecisionStatus.INAPPLICABLE, "stage large cannot be asked")
    answer = await call

    assert answer.status_code == 409
    told = answer.json()
    assert (told["review"]["state"], told["error"]["code"]) == ("pending", "decision_inapplicable")
    assert "cannot be asked" in told["error"]["message"]
    record = (await caller.get(f"/v1/requests/{identifier}/record", key="sk-auditor")).json()
    (kept,) = record["decisions"]
    assert (kept["kind"], kept["reviewer"], kept["action"], kept["stage"]) == (
        "override",
        "olaf",
        "force_model",
        "large",
    )
    assert (kept["verdict"], kept["review_version"], kept["result_sha256"]) == (None, None, None)


async def test_an_override_is_sent_later_when_temporal_is_away(caller: Caller) -> None:
    identifier = await running(caller)
    caller.world.temporal_up = False
    answer = await override(caller, identifier)
    assert (answer.status_code, answer.json()["status"]) == (202, "pending")

    caller.world.temporal_up = True
    assert await resend(caller.world.services(), timedelta(0)) == 1
    assert [envelope.decision_id for envelope in caller.world.signals] == ["o1"]


async def test_an_override_after_the_end_is_late(caller: Caller) -> None:
    identifier = await running(caller)
    caller.world.end(identifier, Outcome.ACCEPTED)
    caller.world.signals_end = True
    answer = await override(caller, identifier, action="force_safe_output")

    assert (answer.status_code, answer.json()["status"]) == (409, "late")
    assert answer.json()["request"] == {"id": identifier, "status": "completed", "outcome": "accepted"}


async def test_an_override_before_the_admission_is_asked_to_come_again(caller: Caller) -> None:
    caller.world.answer = None
    identifier = (await caller.start()).json()["id"]
    answer = await override(caller, identifier)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_admitted")
    assert answer.headers["retry-after"] == "1"
    assert not caller.world.decisions


async def test_an_id_that_a_decision_has_used_is_a_conflict(caller: Caller) -> None:
    identifier = await caller.held()
    await caller.decide(identifier, "approve", "sk-reviewer", wait=0, decision_id="o1")
    answer = await override(caller, identifier)

    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "decision_conflict")
    await override(caller, identifier, wait=0, decision_id="o2")
    answer = await override(caller, identifier, decision_id="o2", reason="another")
    assert (answer.status_code, answer.json()["error"]["code"]) == (409, "decision_conflict")


async def test_unknown_and_foreign_requests_are_404(caller: Caller) -> None:
    identifier = await running(caller)
    assert (await override(caller, "req_none")).status_code == 404
    assert (await override(caller, identifier, key="sk-other")).status_code == 404
    assert not caller.world.decisions


@pytest.mark.parametrize(
    ("changes", "param"),
    [
        ({"action": "force_everything"}, "action"),
        ({"action": "force_model"}, "body"),
        ({"stage": "large"}, "body"),
        ({"action": "force_model", "stage": "No Stage"}, "stage"),
        ({"reason": "  "}, "reason"),
        ({"reason": "a\x00"}, "reason"),
        ({"reason": "x" * 4001}, "reason"),
        ({"decision_id": "no id"}, "decision_id"),
        ({"operator": "somebody else"}, "operator"),
        ({"signature": "forged"}, "signature"),
        ({"model": "large"}, "model"),
    ],
)
async def test_a_wrong_order_names_its_field(caller: Caller, changes: dict[str, Any], param: str) -> None:
    identifier = await running(caller)
    answer = await override(caller, identifier, **changes)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text
    assert not caller.world.decisions
