"""Policies: what is in force, and for their authors a check and an explanation of a draft before it is."""

from __future__ import annotations

from typing import Self

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, model_validator
from starlette.requests import Request
from starlette.responses import Response

from api.auth import require
from api.bodies import read_json, read_query
from api.errors import ApiError, not_found
from api.openapi import documented, error_answers
from api.services import Services, services_of
from api.submit import pinned, plain_body
from api.views import View
from domain.errors import PolicyError
from domain.identity import Role
from domain.payload import Name, Text
from domain.policy import PolicySnapshot
from domain.request import CascadeInput, RequestBody
from domain.route import RouteDecision, route

DRAFT = "draft"
READERS = (Role.POLICY_ADMIN, Role.OPERATOR, Role.AUDITOR)

router = APIRouter(prefix="/v1/policies", tags=["policies"])


class PolicySummary(View):
    """A policy in a list."""

    name: str
    version: str
    description: str
    stages: tuple[str, ...]


class PolicyList(View):
    """All policies in force."""

    items: tuple[PolicySummary, ...]


class PolicyAnswer(PolicySummary):
    """A policy in force with its whole content."""

    snapshot: PolicySnapshot


class ValidateBody(BaseModel):
    """The text of a policy file."""

    model_config = ConfigDict(frozen=True)

    text: Text = Field(min_length=1)


class ExplainedRequest(RequestBody):
    """A request to be routed; the policy is named beside it."""

    policy: Name = DRAFT


class ExplainBody(BaseModel):
    """A request and the policy to route it by: one in force, or the text of a draft."""

    model_config = ConfigDict(frozen=True)

    policy: Name | None = None
    text: Text | None = Field(default=None, min_length=1)
    request: ExplainedRequest

    @model_validator(mode="after")
    def _one_policy(self) -> Self:
        if (self.policy is None) == (self.text is None):
            raise ValueError("give exactly one of 'policy' and 'text'")
        return self


class Explanation(View):
    """What routing would decide. ``policy_version`` is the version the policy has, or a draft would have."""

    policy: str
    policy_version: str
    decision: RouteDecision


def _summary(snapshot: PolicySnapshot) -> PolicySummary:
    return PolicySummary(
        name=snapshot.policy.name,
        version=snapshot.version,
        description=snapshot.policy.description,
        stages=tuple(stage.name for stage in snapshot.policy.stages),
    )


def _json(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")


@router.get("", response_model=PolicyList, responses=error_answers(400, 403), openapi_extra=documented())
async def list_policies(request: Request) -> Response:
    """The policies in force, with the version that new requests are pinned to."""
    await require(request, *READERS)
    read_query(request)
    policies = services_of(request).policies
    found = [snapshot for name in policies.names() if (snapshot := policies.snapshot(name)) is not None]
    return _json(PolicyList(items=tuple(_summary(snapshot) for snapshot in found)))


@router.get("/{name}", response_model=PolicyAnswer, responses=error_answers(400, 403, 404), openapi_extra=documented())
async def read_policy(request: Request, name: str) -> Response:
    """One policy in force, with the catalog entries it is pinned to."""
    await require(request, *READERS)
    read_query(request)
    snapshot = services_of(request).policies.snapshot(name)
    if snapshot is None:
        raise not_found("policy", name[:64])
    return _json(PolicyAnswer(**dict(_summary(snapshot)), snapshot=snapshot))


@router.post(
    "/validate",
    response_model=PolicySummary,
    responses=error_answers(400, 403, 413, 415),
    openapi_extra=documented(ValidateBody, {"text": "name: my-policy\nstages:\n  - model: sim-small\n"}),
)
async def validate_policy(request: Request) -> Response:
    """Check the text of a policy file against the catalog. Changes nothing; 400 names line and remedy."""
    await require(request, Role.POLICY_ADMIN)
    services = services_of(request)
    read_query(request)
    body = await read_json(request, ValidateBody, services.limits.max_body_bytes)
    return _json(_summary(_parsed(services, body.text)))


def _parsed(services: Services, text: str) -> PolicySnapshot:
    try:
        return services.parse_policy(text)
    except PolicyError as error:
        raise ApiError(400, "invalid_policy", str(error), param="text") from None


@router.post(
    "/explain",
    response_model=Explanation,
    responses=error_answers(400, 403, 413, 415),
    openapi_extra=documented(
        ExplainBody, {"policy": "support-triage", "request": {"input": "My invoice of May was charged twice."}}
    ),
)
async def explain_policy(request: Request) -> Response:
    """How a policy or a draft would route a request, and why no other way. Starts nothing and calls no model."""
    principal = await require(request, Role.POLICY_ADMIN)
    services = services_of(request)
    read_query(request)
    body = await read_json(request, ExplainBody, services.limits.max_body_bytes)
    snapshot = _parsed(services, body.text) if body.text is not None else pinned(services, body.policy or "", "policy")
    explained = CascadeInput(
        request_id="explained",
        tenant=principal.tenant,
        requester=principal.name,
        submitted_at=services.clock(),
        body=plain_body(body.request),
        policy=snapshot,
    )
    answer = Explanation(policy=snapshot.policy.name, policy_version=snapshot.version, decision=route(explained))
    return _json(answer)
