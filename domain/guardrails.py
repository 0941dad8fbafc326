"""Guardrails: what may be checked, what a check can say, and what each answer of a check means.

A check says ``pass``, ``fail``, ``error`` or ``skipped``. Only ``pass`` is a pass. What ``fail`` means stands in
``on_fail``, what ``error`` and ``skipped`` mean stands in ``on_error``; both are written per check in the policy and
hold for a person unless it says otherwise.
"""

from __future__ import annotations

import re
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import AfterValidator, Field, model_validator

from domain.duration import Duration
from domain.payload import Name, Payload, Text


class Verdict(StrEnum):
    """What a check said. ``error``: it could not judge. ``skipped``: what it judges by was not there."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    ERROR = "error"
    SKIPPED = "skipped"


class Action(StrEnum):
    """What a verdict other than pass leads to, from mildest to strictest."""

    CONTINUE = "continue"
    ESCALATE = "escalate"
    HOLD = "hold"
    REFUSE = "refuse"


class Finding(Payload):
    """One thing a check found. ``start`` and ``end`` are character offsets into the judged text.

    ``detail`` never repeats a personal or secret value: it is stored in histories and logs.
    """

    kind: str
    detail: str
    start: int | None = None
    end: int | None = None


class CheckResult(Payload):
    """The verdict of one check with its reasons. ``score`` is between 0 and 1 where the check has one."""

    name: str
    check: str
    verdict: Verdict
    rationale: str
    findings: tuple[Finding, ...] = ()
    score: float | None = None
    threshold: float | None = None


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is not a regular expression: {error}") from None
    return text


Pattern: TypeAlias = Annotated[str, AfterValidator(_pattern)]


class _Guardrail(Payload):
    name: Name
    on_fail: Action = Action.HOLD
    on_error: Action = Action.HOLD
    timeout: Duration = timedelta(seconds=5)

    @model_validator(mode="before")
    @classmethod
    def _named_after_check(cls, data: Any) -> Any:
        if isinstance(data, dict) and "name" not in data and isinstance(data.get("check"), str):
            return {"name": data["check"].replace("_", "-"), **data}
        return data

    def action(self, verdict: Verdict) -> Action:
        """What ``verdict`` leads to; a pass leads on."""
        match verdict:
            case Verdict.PASS:
                return Action.CONTINUE
            case Verdict.FAIL:
                return self.on_fail
            case _:
                return self.on_error


class Platt(Payload):
    """Calibration of a raw confidence x: 1 / (1 + exp(-(a * x + b)))."""

    a: float
    b: float


class ConfidenceGuardrail(_Guardrail):
    """Fails when the model's own confidence, from token log-probabilities, is below ``threshold``."""

    check: Literal["confidence"]
    threshold: float = Field(gt=0, le=1)
    calibration: Platt | None = None


class SchemaGuardrail(_Guardrail):
    """Fails when the answer is not JSON that satisfies ``json_schema`` (JSON Schema, draft 2020-12)."""

    check: Literal["schema"]
    json_schema: dict[str, Any]


class CompletenessGuardrail(_Guardrail):
    """Fails when the answer is empty, truncated, a refusal, too short, or does not match ``must_match``."""

    check: Literal["completeness"]
    min_characters: int = Field(default=1, ge=1)
    must_match: Pattern | None = None
    allow_refusal: bool = False


class PiiKind(StrEnum):
    """Personal data that can be recognised with certainty enough to act on."""

    EMAIL = "email"
    PHONE = "phone"
    IBAN = "iban"
    CARD = "card"


class PiiGuardrail(_Guardrail):
    """Fails when the text holds personal data of one of ``kinds``; checksums decide where there are any."""

    check: Literal["pii"]
    kinds: tuple[PiiKind, ...] = Field(default=tuple(PiiKind), min_length=1)
    regions: tuple[Annotated[str, Field(pattern=r"^[A-Z]{2}$")], ...] = ("US",)
    """Countries (ISO 3166) whose national phone number formats are recognised beside international ones."""


class TermsGuardrail(_Guardrail):
    """Fails when a forbidden term occurs or a required one is missing; whole words, case ignored."""

    check: Literal["terms"]
    forbidden: tuple[Text, ...] = ()
    required: tuple[Text, ...] = ()

    @model_validator(mode="after")
    def _some_term(self) -> Self:
        if not self.forbidden and not self.required:
            raise ValueError("names no term; list 'forbidden' or 'required' terms")
        if any(not term.strip() for term in (*self.forbidden, *self.required)):
            raise ValueError("holds an empty term; remove it")
        return self


class Bound(Payload):
    """Limits of one number in a JSON answer. ``field`` is a dotted path; ``*`` stands for every element of a list."""

    field: Annotated[str, Field(min_length=1, max_length=200)]
    min: Decimal | None = None
    max: Decimal | None = None
    required: bool = True

    @model_validator(mode="after")
    def _some_limit(self) -> Self:
        if self.min is None and self.max is None:
            raise ValueError(f"bound on {self.field!r} has neither 'min' nor 'max'")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"bound on {self.field!r} has 'min' above 'max'")
        return self


class BoundsGuardrail(_Guardrail):
    """Fails when a number of the JSON answer lies outside its bounds or is missing; cannot judge what is not JSON."""

    check: Literal["bounds"]
    bounds: tuple[Bound, ...] = Field(min_length=1)


class ExternalGuardrail(_Guardrail):
    """Asks a verification service named in the catalog. Sends the request's input only where ``send_input`` is set."""

    check: Literal["external"]
    verifier: Name
    send_input: bool = False


Guardrail: TypeAlias = Annotated[
    ConfidenceGuardrail
    | SchemaGuardrail
    | CompletenessGuardrail
    | PiiGuardrail
    | TermsGuardrail
    | BoundsGuardrail
    | ExternalGuardrail,
    Field(discriminator="check"),
]


class Guardrails(Payload):
    """The checks of a policy: on the request before a model sees it, on every answer before anybody does."""

    input: tuple[Guardrail, ...] = ()
    output: tuple[Guardrail, ...] = ()


class Judged(Payload):
    """What is put before a check: a text and, where a model wrote it, how it came about.

    ``mean_logprob`` is the mean natural logarithm of the token probabilities; None where the provider sent none or a
    person wrote the text. ``defect`` names what was wrong with a provider's answer that came back as a success.
    """

    text: str
    by_model: bool = True
    finish_reason: str | None = None
    mean_logprob: float | None = None
    defect: str | None = None
    input_text: str | None = None


class CheckTask(Payload):
    """The argument of every guardrail Activity. ``stage`` is None for input checks and edits."""

    request_id: str
    stage: str | None
    guardrail: Guardrail
    judged: Judged
