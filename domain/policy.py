"""A policy: which models may answer, in which order, under which checks, ceilings and human oversight.

A policy is data. Its version is the hash of its canonical content together with the catalog entries it uses, and the
whole snapshot travels in a request's Workflow input: a changed file never changes a running request.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from domain.catalog import ModelEntry
from domain.duration import Duration
from domain.guardrails import Action, Guardrails
from domain.hold import Hold
from domain.payload import Name, Payload, Scalar, Text, Usd
from domain.risk import RiskTier


class Stage(Payload):
    """One step of the cascade: a model and how it is called. Tried in the order written."""

    name: Name
    model: Name
    system: Text | None = None
    """Instruction put before the conversation."""
    timeout: Duration = timedelta(seconds=60)
    """Longest time for one attempt."""
    max_attempts: int = Field(default=3, ge=1, le=10)
    """Attempts when the provider fails for a moment; each one counts against the ceilings."""
    max_output_tokens: int = Field(default=1024, ge=1, le=200_000)
    temperature: float = Field(default=0.0, ge=0, le=2)

    @model_validator(mode="before")
    @classmethod
    def _named_after_model(cls, data: object) -> object:
        if isinstance(data, dict) and "name" not in data and "model" in data:
            return {"name": data["model"], **data}
        return data


class When(Payload):
    """A condition on a request. All parts that are given must hold; an empty one holds always."""

    risk_at_least: RiskTier | None = None
    input_tokens_over: int | None = Field(default=None, ge=0)
    context: dict[str, Scalar | tuple[Scalar, ...]] = Field(default_factory=dict)
    """Context fields that must equal the value, or one of the listed values."""
    context_over: dict[str, float] = Field(default_factory=dict)
    """Numeric context fields that must be above the value."""
    input_mentions: tuple[Text, ...] = ()
    """Terms of which at least one must occur in the input; whole words, case ignored."""

    @property
    def always(self) -> bool:
        """True if the condition has no part."""
        return self == When()


class RouteRule(Payload):
    """Where a request that meets ``when`` enters the cascade."""

    when: When
    start_at: Name
    because: Text = Field(min_length=1)


class Routing(Payload):
    """Rules tried in order; the first that holds decides. Without one, ``default`` does."""

    select: tuple[RouteRule, ...] = ()
    default: Name | None = None
    """Entry stage when no rule holds; the first stage unless named."""
    on_no_candidates: Literal[Action.HOLD, Action.REFUSE] = Action.REFUSE
    """What happens when no stage may serve the request."""


class RiskRule(Payload):
    """Raises the risk tier of a request that meets ``when``."""

    when: When
    to: RiskTier
    because: Text = Field(min_length=1)


class RiskRules(Payload):
    """How risky a request is, and from which tier on a person must approve its answer."""

    default: RiskTier = RiskTier.LOW
    rules: tuple[RiskRule, ...] = ()
    hold_at: RiskTier = RiskTier.HIGH


class Ceilings(Payload):
    """Hard limits of one request over all stages and attempts; checked before every call.

    ``wall_clock`` counts the time until an answer is found or held; waiting for a person is limited by the hold.
    """

    cost_usd: Usd
    wall_clock: Duration
    attempts: int = Field(ge=1, le=100)
    tokens: int = Field(ge=1)


class Policy(Payload):
    """One use case's rules, as read from one file under ``policies/``."""

    name: Name
    description: Text = ""
    edited_by: Text | None = Field(default=None, max_length=200)
    """Who edited this version last, by the name they sign in with."""
    stages: tuple[Stage, ...] = Field(min_length=1, max_length=8)
    routing: Routing = Routing()
    guardrails: Guardrails = Guardrails()
    risk: RiskRules = RiskRules()
    hold: Hold
    ceilings: Ceilings
    on_exhausted: Literal[Action.HOLD, Action.REFUSE] = Action.HOLD
    """When no stage is left, or a ceiling forbids it, and the best answer still fails a check."""
    on_unavailable: Literal["hold", "refuse", "fall_back"] = "fall_back"
    """When no further model can be reached: hold the best answer so far, refuse, or release the safe output."""
    safe_output: Text = Field(min_length=1)
    """Sent instead of an answer on refusal, rejection, expiry and fall back."""
    interim_output: Text = Field(min_length=1)
    """Sent to chat clients while the answer waits for a person."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [stage.name for stage in self.stages]
        _unique("stage", names)
        for part, checks in (("input", self.guardrails.input), ("output", self.guardrails.output)):
            _unique(f"{part} guardrail", [check.name for check in checks])
        entries = [rule.start_at for rule in self.routing.select]
        if self.routing.default is not None:
            entries.append(self.routing.default)
        for entry in entries:
            if entry not in names:
                raise ValueError(f"routing names stage {entry!r}, which does not exist; stages are {', '.join(names)}")
        self._reachable(names, entries)
        self._oversight()
        for check in self.guardrails.input:
            if Action.ESCALATE in (check.on_fail, check.on_error):
                raise ValueError(
                    f"input guardrail {check.name!r} says 'escalate', but no answer exists yet; use hold, refuse or "
                    "continue, or a routing rule"
                )
        return self

    def _oversight(self) -> None:
        checks = [check.name for check in self.guardrails.output]
        for name in self.hold.overrule:
            if name not in checks:
                known = ", ".join(checks) or "none"
                raise ValueError(f"'hold.overrule' names {name!r}; output guardrails are {known}")
        if not self.hold.editor_may_decide and self.edited_by is None:
            raise ValueError(
                "'hold.editor_may_decide' is false, but nobody is named in 'edited_by'; name the last editor"
            )

    def _reachable(self, names: list[str], entries: list[str]) -> None:
        default = self.routing.default or names[0]
        earliest = min(names.index(entry) for entry in [*entries, default])
        if earliest > 0:
            raise ValueError(
                f"stage {names[0]!r} is unreachable: every route enters after it; remove it or route to it"
            )
        seen: list[When] = []
        for rule in self.routing.select:
            if any(earlier.always or earlier == rule.when for earlier in seen):
                raise ValueError(
                    f"the routing rule to {rule.start_at!r} ({rule.because}) is unreachable: a rule before it already "
                    "takes every request it would take; remove it or move it up"
                )
            seen.append(rule.when)

    def stage_index(self, name: str) -> int:
        """Position of the stage called ``name``."""
        return [stage.name for stage in self.stages].index(name)


def _unique(what: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"two entries of {what} are called {name!r}; give each a 'name' of its own")


class PolicySnapshot(Payload):
    """A policy version as a request carries it: the policy and the catalog entries of its models, at one moment."""

    policy: Policy
    models: tuple[ModelEntry, ...]
    """The model of each stage, in the stages' order."""
    version: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    """First 16 hexadecimal digits of SHA-256 over the canonical JSON (RFC 8785) of policy and models."""

    @property
    def baseline(self) -> ModelEntry:
        """The strongest model: what would have answered if there were no cascade."""
        return self.models[-1]
