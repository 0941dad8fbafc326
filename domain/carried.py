"""What a held request takes along when its history has grown long and it continues in a new Workflow run."""

from __future__ import annotations

from domain.cascade import Decision, best_so_far
from domain.payload import Payload
from domain.progress import Progress
from domain.request import CascadeInput
from domain.review import Approval, ReviewTerms
from domain.route import RouteDecision
from domain.stage import Spent, StageEvidence

LARGEST = 1_500_000
"""Bytes of a carried request. Temporal takes two megabytes; a larger one stays in its run."""


class Journey(Payload):
    """How far a request has come: where it was routed, what it has asked and spent, what it was answered."""

    route: RouteDecision | None = None
    flagged: Decision | None = None
    """What the input checks demand of whatever answer comes."""
    insisted: Decision | None = None
    """That a person must see every answer from now on, whatever the policy says of it."""
    at: int = 0
    """Index of the stage that was asked last or is asked next."""
    visits: int = 0
    spent: Spent = Spent()
    evidence: tuple[StageEvidence, ...] = ()
    review_version: int = 0
    revisions: int = 0
    notices: int = 0

    def abridged(self) -> Journey:
        """The same with only those answers that can still count: the last one, and the best one."""
        best = best_so_far(self.evidence)
        kept = [item for item in self.evidence[:-1] if item is best] + list(self.evidence[-1:])
        return self.model_copy(update={"evidence": tuple(kept)})


class HeldState(Payload):
    """A hold under way. ``reached`` counts the moments of its ladder that are over."""

    terms: ReviewTerms
    shown: StageEvidence | None
    approvals: tuple[Approval, ...] = ()
    reached: int = 0


class Carried(Payload):
    """Everything of a held request that is not in its input."""

    journey: Journey
    held: HeldState
    progress: Progress
    sequence: int
    """Sequence of the last decision record."""
    seen: tuple[str, ...]
    """Ids of the decisions and orders that were judged."""


class CarriedRequest(CascadeInput):
    """The argument of the Workflow: a new request, or one that is held and goes on."""

    carried: Carried | None = None
