"""The hold of a policy: how long an answer may wait for a person, who is told meanwhile, who decides and what."""

from __future__ import annotations

from datetime import date, time, timedelta
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from domain.duration import Duration, words
from domain.payload import Name, Payload
from domain.risk import RiskTier


class ReviewVerdict(StrEnum):
    """What a reviewer can decide."""

    APPROVE = "approve"
    EDIT = "edit"
    REJECT = "reject"
    ESCALATE = "escalate"
    REVISE = "revise"


class Weekday(StrEnum):
    """A day of the week, in the order of ``date.weekday``."""

    MON = "mon"
    TUE = "tue"
    WED = "wed"
    THU = "thu"
    FRI = "fri"
    SAT = "sat"
    SUN = "sun"


_WORKDAYS = (Weekday.MON, Weekday.TUE, Weekday.WED, Weekday.THU, Weekday.FRI)


class BusinessHours(Payload):
    """When people work. With them, every duration of a hold counts only the time in which somebody is there."""

    timezone: Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_+/-]{0,63}$")]
    """A name of the IANA time zone database, such as ``Europe/Berlin``."""
    days: tuple[Weekday, ...] = Field(default=_WORKDAYS, min_length=1, max_length=7)
    opens: time = time(9)
    closes: time = time(17)
    holidays: tuple[date, ...] = Field(default=(), max_length=400)

    @model_validator(mode="after")
    def _some_time(self) -> Self:
        if self.opens.tzinfo is not None or self.closes.tzinfo is not None:
            raise ValueError("'opens' and 'closes' are local times without an offset; write for example 09:00")
        if self.opens >= self.closes:
            raise ValueError("'opens' must be before 'closes'; for work through the night leave out 'hours'")
        return self


class RungAction(StrEnum):
    """What happens when nobody has decided by a rung of the ladder."""

    NOTIFY = "notify"
    REMIND = "remind"
    REASSIGN = "reassign"
    ESCALATE = "escalate"


class Rung(Payload):
    """One step of the deadline ladder: ``after`` so long without a decision, ``do`` this."""

    after: Duration
    do: RungAction
    queue: Name | None = None
    """Where ``reassign`` moves the review to; ``escalate`` may move it as well."""
    channels: tuple[Name, ...] = Field(default=(), max_length=8)
    """Who is told; the hold's own channels unless named."""

    @model_validator(mode="after")
    def _queue_where_it_moves(self) -> Self:
        if self.do is RungAction.REASSIGN and self.queue is None:
            raise ValueError("'reassign' needs the 'queue' to move the review to")
        if self.do in (RungAction.NOTIFY, RungAction.REMIND) and self.queue is not None:
            raise ValueError(f"'queue' goes with reassign or escalate, not with '{self.do}'; leave it out")
        return self


class RequestedExpiry(Payload):
    """What a request may ask for with ``constraints.max_hold``; anything outside is moved to the nearer limit."""

    least: Duration = timedelta(minutes=1)
    most: Duration

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.least > self.most:
            raise ValueError("'least' is longer than 'most'")
        return self


class Hold(Payload):
    """What happens while an answer waits for a person."""

    queue: Name = "default"
    expires_after: Duration
    remind_after: Duration | None = None
    """First reminder; each later one waits twice as long as the one before."""
    ladder: tuple[Rung, ...] = Field(default=(), max_length=20)
    """What else happens while nobody decides, in order of time."""
    hours: BusinessHours | None = None
    channels: tuple[Name, ...] = Field(default=(), max_length=8)
    """Who is told that a review opened, was reminded of, moved, decided or expired; channels of the catalog."""
    requested_expiry: RequestedExpiry | None = None
    """Unless given, a request may only shorten the hold, and not below a minute."""
    quorum: dict[RiskTier, Annotated[int, Field(ge=1, le=9)]] = Field(default_factory=dict)
    """How many different reviewers must approve the same text, from each risk tier on; one where nothing is said."""
    verdicts: tuple[ReviewVerdict, ...] = Field(default=tuple(ReviewVerdict), min_length=1)
    """What reviewers may decide at all."""
    revisions: int = Field(default=0, ge=0, le=10)
    """How often reviewers of one request may have a model answer again under an instruction of theirs."""
    overrule: tuple[Name, ...] = ()
    """Output guardrails that a reviewer may overrule for a text of their own, by name and with a reason."""
    senior_queues: tuple[Name, ...] = ()
    """Queues that a reviewer may escalate to instead of asking the next model."""
    approval_needs_reason: bool = False
    editor_may_decide: bool = True
    """Whether the person named in the policy's ``edited_by`` may decide over what this policy holds."""
    reason_for_requester: Literal["kept", "shown"] = "kept"
    """Whether the requester is told who decided and the reason they gave."""
    lease: Duration = timedelta(minutes=15)
    """How long a claim on a review lasts before it releases itself."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        last = timedelta(0)
        for rung in self.ladder:
            if rung.after < last:
                raise ValueError(
                    f"the rung after {words(rung.after)} stands behind a later one; order the ladder by time"
                )
            if rung.after >= self.expires_after:
                raise ValueError(
                    f"the rung after {words(rung.after)} is never reached: the hold expires after "
                    f"{words(self.expires_after)}; remove it or let the hold last longer"
                )
            last = rung.after
        if len(set(self.verdicts)) < len(self.verdicts):
            raise ValueError("'verdicts' names one twice; keep one")
        if ReviewVerdict.REJECT not in self.verdicts:
            raise ValueError("'verdicts' must hold 'reject': a reviewer who finds no other way out must have this one")
        return self

    def approvals_needed(self, risk: RiskTier) -> int:
        """How many reviewers must approve a text of this risk: the number of the highest tier not above it."""
        reached = [tier for tier in self.quorum if risk.at_least(tier)]
        return self.quorum[max(reached, key=lambda tier: tier.rank)] if reached else 1
