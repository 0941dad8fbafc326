"""Which key reaches which route: every role on every route that is there, and another tenant on all of them."""

from __future__ import annotations

from typing import Any

import pytest

from api.app import create_app
from domain.identity import Principal, Role
from tests.api.conftest import Caller
from tests.api.fakes_api import KEYS, World

S, R, X, A, OP, P = Role.SERVICE, Role.REVIEWER, Role.SENIOR_REVIEWER, Role.AUDITOR, Role.OPERATOR, Role.POLICY_ADMIN
READ = {R, X, A, OP}
ROUTES: dict[tuple[str, str], set[Role]] = {
    ("POST", "/v1/requests"): {S},
    ("GET", "/v1/requests/{id}"): {S, A, OP},
    ("POST", "/v1/requests/{id}/cancel"): {S, OP},
    ("GET", "/v1/requests/{id}/record"): {A},
    ("GET", "/v1/requests/{id}/history"): {A},
    ("GET", "/v1/requests/{id}/events"): {S, A, OP},
    ("GET", "/v1/requests/{id}/timeline"): {S, *READ},
    ("POST", "/v1/requests/{id}/overrides"): {OP},
    ("GET", "/v1/reviews"): READ,
    ("GET", "/v1/reviews/figures"): {X, A, OP},
    ("GET", "/v1/reviews/{id}"): READ,
    ("POST", "/v1/reviews/{id}/decisions"): {R, X},
    ("POST", "/v1/reviews/{id}/claim"): {R, X},
    ("DELETE", "/v1/reviews/{id}/claim"): {R, X},
    ("POST", "/v1/reviews/{id}/reassign"): {X, OP},
    ("GET", "/v1/queues"): READ,
    ("PUT", "/v1/queues/{queue}/members/{name}"): {OP},
    ("DELETE", "/v1/queues/{queue}/members/{name}"): {OP},
    ("GET", "/v1/delegations"): READ,
    ("POST", "/v1/delegations"): {R, X, OP},
    ("DELETE", "/v1/delegations/{id}"): {R, X, OP},
    ("POST", "/v1/chat/completions"): {S},
    ("GET", "/v1/models"): {S},
    ("GET", "/v1/models/{id}"): {S},
    ("GET", "/v1/policies"): {P, OP, A},
    ("GET", "/v1/policies/{name}"): {P, OP, A},
    ("POST", "/v1/policies/validate"): {P},
    ("POST", "/v1/policies/explain"): {P},
}
BODIES: dict[str, dict[str, Any]] = {
    "decisions": {
        "decision_id": "d",
        "verdict": "approve",
        "result_sha256": "0" * 64,
        "review_version": 1,
    },
    "overrides": {"decision_id": "o", "action": "force_review", "reason": "r"},
    "claim": {},
    "reassign": {"to": "otto", "reason": "r"},
    "cancel": {"reason": "r"},
}
of_one_object = [route for route in sorted(ROUTES) if "{id}" in route[1] and "models" not in route[1]]


async def call(
    caller: Caller, method: str, path: str, key: str, identifier: str = "req_none"
) -> tuple[int, str | None]:
    address = path.replace("{id}", identifier).replace("{queue}", "default").replace("{name}", "rita")
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "k"}
    body = BODIES.get(path.rpartition("/")[2], {}) if method == "POST" else None
    answer = await caller.http.request(method, address, json=body, headers=headers)
    if answer.status_code < 400 or "json" not in answer.headers["content-type"]:
        return answer.status_code, None
    return answer.status_code, (answer.json().get("error") or {}).get("code")


def test_every_route_is_in_the_matrix() -> None:
    document = create_app(World().services()).openapi()
    known = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert known - {("GET", "/health/liveness"), ("GET", "/health/readiness")} == set(ROUTES)


@pytest.mark.parametrize("role", list(Role))
async def test_a_role_reaches_its_routes_and_no_others(
    caller: Caller, monkeypatch: pytest.MonkeyPatch, role: Role
) -> None:
    monkeypatch.setitem(KEYS, "sk-one", Principal(tenant="acme", name="one", roles=frozenset({role})))
    for (method, path), roles in ROUTES.items():
        status, code = await call(caller, method, path, "sk-one")
        assert (code == "role_required") is (role not in roles), (method, path, status, code)
        assert status != 401
        assert (await call(caller, method, path, "sk-nobody"))[0] == 401


@pytest.mark.parametrize(("method", "path"), of_one_object)
async def test_another_tenants_object_is_not_there(caller: Caller, method: str, path: str) -> None:
    identifier = await caller.held()
    made = caller.world.people.let("otto", "rita")
    if "delegations" in path:
        identifier = made.id
    before = (dict(caller.world.reviews), dict(caller.world.people.delegations), len(caller.world.decisions))
    foreign = await call(caller, method, path, "sk-other", identifier)
    absent = await call(caller, method, path, "sk-other", "req_none")

    assert foreign == absent
    assert foreign[0] == 404
    assert before == (dict(caller.world.reviews), dict(caller.world.people.delegations), len(caller.world.decisions))
