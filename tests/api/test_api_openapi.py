"""The published document tells what the routes really read and answer."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from api.app import create_app
from tests.api.conftest import Caller
from tests.api.fakes_api import World
from tests.api.test_api_roles import ROUTES

DOCUMENT: dict[str, Any] = create_app(World().services()).openapi()
OPERATIONS = [(method, path, DOCUMENT["paths"][path][method.lower()]) for method, path in sorted(ROUTES)]
BODIES = [(path, told["requestBody"]) for _, path, told in OPERATIONS if "requestBody" in told]
KEYS = {"sk-service", "sk-reviewer", "sk-senior", "sk-auditor", "sk-operator", "sk-admin"}


def test_every_route_says_what_it_is_for_and_what_can_go_wrong() -> None:
    for method, path, told in OPERATIONS:
        where = f"{method} {path}"
        assert told["description"].strip(), where
        assert told["security"] == [{"key": []}], where
        assert {"401", "403"} <= set(told["responses"]), where
        assert ("{id}" in path) <= ("404" in told["responses"]), where
        if "requestBody" in told:
            assert {"413", "415"} <= set(told["responses"]), where


@pytest.mark.parametrize(("path", "body"), BODIES, ids=[path for path, _ in BODIES])
def test_every_example_of_a_body_is_one(path: str, body: dict[str, Any]) -> None:
    content = body["content"]["application/json"]
    schema = {**content["schema"], "components": DOCUMENT["components"]}
    Draft202012Validator(schema).validate(content["example"])


def test_reviews_are_documented_down_to_their_parts() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    fields = {
        "ReviewAnswer": {"offer", "may_decide", "attempts", "versions", "edits", "viewers", "blind", "claimed_by"},
        "ReviewItem": {"preview", "approvals", "approvals_needed", "senior_only"},
        "ReviewDecision": {"overrule", "queue", "instruction", "on_behalf_of"},
        "OverrideOrder": {"action", "stage"},
        "DecisionAnswer": {"status", "review", "request", "error"},
        "TimelineEntry": {"at", "kind", "who", "title", "detail", "duration_ms"},
        "FiguresAnswer": {"pending_by_age", "agreement", "hasty"},
        "DelegationBody": {"delegate", "ends_at"},
        "ClaimAnswer": {"claimed_by", "claimed_until"},
    }
    for name, wanted in fields.items():
        assert wanted <= set(schemas[name]["properties"]), name
    assert "counted" in schemas["DecisionStatus"]["enum"]


async def test_every_documented_query_parameter_is_read(caller: Caller) -> None:
    asked = 0
    for method, path, told in OPERATIONS:
        address = path.replace("{id}", "req_none").replace("{queue}", "q").replace("{name}", "n")
        for parameter in told.get("parameters", ()):
            if parameter["in"] != "query":
                continue
            codes = []
            for key in sorted(KEYS):
                answer = await caller.http.request(
                    method,
                    f"{address}?{parameter['name']}=x",
                    json={} if method == "POST" else None,
                    headers={"Authorization": f"Bearer {key}"},
                )
                codes.append(answer.json().get("error", {}).get("code"))
            assert "unknown_parameter" not in codes, f"{method} {path} {parameter['name']}"
            asked += 1
    assert asked >= 15
