"""An operator's override: the order that a request go another way than its policy says, at any moment of its life."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, ValidationError, model_validator

from domain.envelope import MAX_REASON, DecisionId, Holder, SignedEnvelope
from domain.payload import Name, Payload, Text
from domain.request import CascadeInput
from domain.review import DecisionStatus, first_problem
from domain.route import obstacle

OVERRIDE_SIGNAL = "override"
"""The name under which overrides are signalled."""


class OverrideAction(StrEnum):
    """What an operator can order."""

    FORCE_MODEL = "force_model"
    """Ask this stage of the policy next, whatever routing and checks said."""
    FORCE_REVIEW = "force_review"
    """Let nothing out before a person has decided."""
    FORCE_SAFE_OUTPUT = "force_safe_output"
    """End the request now, with the policy's safe output."""


def _said(reason: str) -> str:
    if not reason.strip():
        raise ValueError("an override needs a reason")
    return reason


class OverrideOrder(Payload):
    """What an operator sends. ``stage`` names the stage to ask; for ``force_model`` only."""

    decision_id: DecisionId
    action: OverrideAction
    stage: Name | None = None
    reason: Annotated[Text, AfterValidator(_said)] = Field(max_length=MAX_REASON)

    @model_validator(mode="after")
    def _stage_with_model(self) -> Self:
        if (self.action is OverrideAction.FORCE_MODEL) != (self.stage is not None):
            raise ValueError("'stage' goes with 'force_model', and only with it")
        return self


class OverrideEnvelope(SignedEnvelope, OverrideOrder):
    """An order as it is signalled: with who gave it, when, on which request, and the API's signature over it all."""

    operator: Holder


class JudgedOverride(Payload):
    """An order with what became of it and why. ``envelope`` is None where the Signal held none."""

    envelope: OverrideEnvelope | None
    status: DecisionStatus
    because: str


def read_override(payload: Any) -> OverrideEnvelope | str:
    """The envelope in a Signal's decoded payload, or in one sentence what is wrong with it. Never raises."""
    try:
        return OverrideEnvelope.model_validate(payload)
    except ValidationError as error:
        return first_problem(error)


def judge_override(
    envelope: OverrideEnvelope, request: CascadeInput, seen: frozenset[str], *, held: bool, ended: bool
) -> JudgedOverride:
    """What becomes of an order whose signature and rights hold: applied, or why it has no effect."""

    def settled(status: DecisionStatus, because: str) -> JudgedOverride:
        return JudgedOverride(envelope=envelope, status=status, because=because)

    if envelope.request_id != request.request_id or envelope.tenant != request.tenant:
        return settled(DecisionStatus.UNAUTHORISED, f"made for request {envelope.request_id}, not for this one")
    if envelope.decision_id in seen:
        return settled(DecisionStatus.DUPLICATE, "an order with this id has already been judged")
    if ended:
        return settled(DecisionStatus.LATE, "the request had ended when it arrived")
    if envelope.action is OverrideAction.FORCE_REVIEW and held:
        return settled(DecisionStatus.INAPPLICABLE, "it is held for review already")
    impossible = _cannot_ask(envelope, request) if envelope.stage is not None else None
    if impossible is not None:
        return settled(DecisionStatus.INAPPLICABLE, impossible)
    return settled(DecisionStatus.APPLIED, envelope.reason)


def _cannot_ask(envelope: OverrideEnvelope, request: CascadeInput) -> str | None:
    """Why the named stage may not even be forced: it does not exist, or may not see or cannot take this request."""
    policy = request.policy.policy
    for stage, model in zip(policy.stages, request.policy.models, strict=True):
        if stage.name == envelope.stage:
            why = obstacle(stage, model, policy, request.body)
            return None if why is None else f"stage {stage.name} cannot be asked: {why}"
    return f"the policy has no stage {envelope.stage!r}; stages are {', '.join(stage.name for stage in policy.stages)}"
