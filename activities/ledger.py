"""Commits to the ledger. Each is idempotent in the ledger itself, so that these Activities may run twice."""

from __future__ import annotations

from temporalio import activity

from activities.failures import ledger_conflicts_are_final
from domain.ledger import Ending, Judgement, ReviewOpening
from domain.ports import Ledger


class LedgerActivities:
    """Writes decision records, reviews and releases. One instance a worker."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    @activity.defn(name="open_review")
    async def open_review(self, opening: ReviewOpening) -> None:
        """Commit the records so far and show the held answer to reviewers."""
        with ledger_conflicts_are_final():
            await self._ledger.open_review(opening)

    @activity.defn(name="judge_decisions")
    async def judge_decisions(self, judgement: Judgement) -> None:
        """Commit what became of decisions, or a reminder, while the request goes on."""
        with ledger_conflicts_are_final():
            await self._ledger.judge(judgement)

    @activity.defn(name="end_request")
    async def end_request(self, ending: Ending) -> None:
        """Commit the end of the request.

        **Correctness:** the Workflow returns its result only after this returned. The ledger accepts one ending per
        request; a second, different one is a ``LedgerConflict`` and nothing is released.
        """
        with ledger_conflicts_are_final():
            await self._ledger.end(ending)
