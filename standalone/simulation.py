"""What a text may ask of the simulated provider, for tests and demonstrations of failures.

A directive is ``[[simulate: name=value name ...]]`` anywhere in the last user message. Names:

``status=503``       answer with this HTTP status and an OpenAI error envelope (400 to 599)
``retry_after=1``    with ``status``: send ``Retry-After`` in seconds
``delay_ms=3000``    wait this long before anything else (at most 600,000)
``empty``            200 with an empty text
``truncated``        200 with the first half of the answer and ``finish_reason: length``
``not_json``         200 with a body that is not JSON
``refusal``          200 with a refusal in place of the answer
``no_logprobs``      leave the log-probabilities out
``confidence=0.9``   log-probabilities whose geometric mean is this
``answer=text``      answer with this text; it reaches to the closing brackets, so it comes last
``model=small``      the directive is for one model size only
``times=2``          the directive holds for this many calls per idempotency key and model

Several directives may stand in one message; of those that end a call (``status``, ``not_json``, ``empty``,
``truncated``, ``refusal``) the first that still holds is taken. Only the simulated provider reads this; to a real model
it is just text.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Size = Literal["small", "medium", "large"]
Ending = Literal["status", "not_json", "empty", "truncated", "refusal"]

_DIRECTIVE = re.compile(r"\[\[simulate:(.*?)\]\](?!\])", re.DOTALL)
_MAX_DIRECTIVES = 20


class DirectiveError(ValueError):
    """A directive that cannot be followed; says which part and why."""


class Directive(BaseModel):
    """One ``[[simulate: ...]]``. See the module's text for what each name means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: int | None = Field(default=None, ge=400, le=599)
    retry_after: float | None = Field(default=None, ge=0, le=3600)
    delay_ms: int = Field(default=0, ge=0, le=600_000)
    empty: bool = False
    truncated: bool = False
    not_json: bool = False
    refusal: bool = False
    no_logprobs: bool = False
    confidence: float | None = Field(default=None, gt=0, le=1)
    answer: str | None = None
    model: Size | None = None
    times: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _one_ending(self) -> Self:
        if sum((self.status is not None, self.empty, self.truncated, self.not_json, self.refusal)) > 1:
            raise ValueError("ends a call in two ways; write two directives")
        if self.retry_after is not None and self.status is None:
            raise ValueError("'retry_after' goes with 'status'")
        return self

    @property
    def ending(self) -> Ending | None:
        """How it ends a call; None if it only changes the answer."""
        if self.status is not None:
            return "status"
        endings: tuple[Ending, ...] = ("not_json", "empty", "truncated", "refusal")
        return next((name for name in endings if getattr(self, name)), None)


def read_directives(text: str) -> tuple[Directive, ...]:
    """The directives in ``text``, in order. Raises ``DirectiveError``."""
    bodies = [match[1] for match in _DIRECTIVE.finditer(text)]
    if len(bodies) > _MAX_DIRECTIVES:
        raise DirectiveError(f"more than {_MAX_DIRECTIVES} [[simulate: ...]] directives")
    return tuple(_directive(body) for body in bodies)


def _directive(body: str) -> Directive:
    settings, found, answer = body.partition("answer=")
    values: dict[str, Any] = {"answer": answer.strip()} if found else {}
    for word in settings.split():
        name, given, setting = word.partition("=")
        values[name] = setting if given else True
    try:
        return Directive.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "directive"
        raise DirectiveError(f"[[simulate: ...]]: {place}: {first['msg']}") from None


@dataclass(frozen=True, slots=True)
class Plan:
    """What the directives of one call come to."""

    ending: Ending | None = None
    status: int | None = None
    retry_after: float | None = None
    delay_ms: int = 0
    no_logprobs: bool = False
    confidence: float | None = None
    answer: str | None = None


@dataclass(slots=True)
class Simulation:
    """Follows directives, and counts how often each one was followed."""

    followed: Counter[tuple[str, str, int]] = field(default_factory=Counter)

    def plan(self, text: str, key: str, size: Size) -> Plan:
        """What to do with this call. ``key`` is its idempotency key. Raises ``DirectiveError``."""
        plan = Plan()
        for index, directive in enumerate(read_directives(text)):
            if directive.model not in (None, size) or (directive.ending and plan.ending):
                continue
            counted = (key, size, index)
            if directive.times is not None and self.followed[counted] >= directive.times:
                continue
            self.followed[counted] += 1
            plan = _joined(plan, directive)
        return plan


def _joined(plan: Plan, directive: Directive) -> Plan:
    return replace(
        plan,
        ending=plan.ending or directive.ending,
        status=directive.status if plan.status is None else plan.status,
        retry_after=directive.retry_after if plan.retry_after is None else plan.retry_after,
        delay_ms=plan.delay_ms + directive.delay_ms,
        no_logprobs=plan.no_logprobs or directive.no_logprobs,
        confidence=directive.confidence if directive.confidence is not None else plan.confidence,
        answer=directive.answer if directive.answer is not None else plan.answer,
    )
