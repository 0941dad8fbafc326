"""Policies, health, and the published description of the API."""

from __future__ import annotations

from tests.api.conftest import Caller


async def test_policies_are_listed_with_their_versions(caller: Caller) -> None:
    listed = (await caller.get("/v1/policies", key="sk-operator")).json()
    one = (await caller.get("/v1/policies/plain", key="sk-auditor")).json()

    assert listed == {
        "items": [{"name": "plain", "version": "0123456789abcdef", "description": "", "stages": ["small", "large"]}]
    }
    assert one["snapshot"]["policy"]["ceilings"]["attempts"] == 6
    assert (await caller.get("/v1/policies/none", key="sk-admin")).status_code == 404


async def test_a_draft_is_validated(caller: Caller) -> None:
    good = await caller.post("/v1/policies/validate", {"text": "good"}, key="sk-admin")
    bad = await caller.post("/v1/policies/validate", {"text": "stagse: []"}, key="sk-admin")

    assert (good.status_code, good.json()["name"]) == (200, "good")
    assert bad.status_code == 400
    error = bad.json()["error"]
    assert (error["param"], error["code"]) == ("text", "invalid_policy")
    assert error["message"].startswith("policy:3: ")


async def test_a_draft_explains_its_route(caller: Caller) -> None:
    asked = {"input": "x", "constraints": {"min_quality": 0.8}}
    draft = await caller.post("/v1/policies/explain", {"text": "good", "request": asked}, key="sk-admin")
    in_force = await caller.post("/v1/policies/explain", {"policy": "plain", "request": asked}, key="sk-admin")

    assert draft.json()["policy"] == "good"
    assert draft.json()["decision"] == in_force.json()["decision"]
    considered = {stage["stage"]: stage["because"] for stage in draft.json()["decision"]["considered"]}
    assert considered["small"] == "quality 0.7 is below the demanded 0.8"
    assert draft.json()["decision"]["path"] == [1]
    assert caller.world.starts == 0


async def test_explain_wants_one_policy_and_a_whole_request(caller: Caller) -> None:
    for body, param in (
        ({"request": {"input": "x"}}, "body"),
        ({"policy": "plain", "text": "good", "request": {"input": "x"}}, "body"),
        ({"policy": "none", "request": {"input": "x"}}, "policy"),
        ({"policy": "plain", "request": {}}, "request"),
        ({"policy": "plain", "request": {"input": "x", "wait": 1}}, "request.wait"),
    ):
        response = await caller.post("/v1/policies/explain", body, key="sk-admin")
        assert response.status_code == 400
        assert response.json()["error"]["param"] == param


async def test_liveness_needs_nothing_and_readiness_names_what_is_missing(caller: Caller) -> None:
    assert (await caller.http.get("/health/readiness")).json()["status"] == "ok"
    caller.world.temporal_up = caller.world.database_up = False

    assert (await caller.http.get("/health/liveness")).status_code == 200
    response = await caller.http.get("/health/readiness")
    assert response.status_code == 503
    assert response.json()["checks"] == [
        {"name": "database", "ok": False, "remedy": "start the database"},
        {"name": "temporal", "ok": False, "remedy": "start Temporal"},
    ]


async def test_the_description_covers_every_route_and_body(caller: Caller) -> None:
    document = (await caller.http.get("/openapi.json")).json()

    submit = document["paths"]["/v1/requests"]["post"]
    content = submit["requestBody"]["content"]["application/json"]
    assert content["schema"] == {"$ref": "#/components/schemas/SubmitBody"}
    assert content["example"]["policy"] == "support-triage"
    assert {parameter["name"] for parameter in submit["parameters"]} == {"Idempotency-Key", "Prefer"}
    assert submit["responses"]["409"]["content"]["application/json"]["schema"]["$ref"].endswith("/ErrorBody")
    assert _unresolved(document, document) == []
    assert (await caller.http.get("/docs")).status_code == 200


def _unresolved(node: object, document: dict[str, object]) -> list[str]:
    if isinstance(node, list):
        return [reference for item in node for reference in _unresolved(item, document)]
    if not isinstance(node, dict):
        return []
    found = [reference for item in node.values() for reference in _unresolved(item, document)]
    reference = node.get("$ref")
    if isinstance(reference, str):
        target: object = document
        for part in reference.removeprefix("#/").split("/"):
            target = target.get(part) if isinstance(target, dict) else None
        if target is None:
            found.append(reference)
    return found
