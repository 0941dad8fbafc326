"""A decision and the expiry of a hold at the same moment, many times: exactly one of them takes effect."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from datetime import UTC, datetime, timedelta

from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import WorkflowEnvironment

from domain.request import Outcome
from domain.review import ReviewVerdict
from tests.examples import SAFE
from tests.workflows.harness import Harness, by_confidence
from tests.workflows.test_review_paths import risky

AT_ONCE = 100
LASTS = timedelta(seconds=1)


async def test_of_a_decision_and_the_expiry_exactly_one_takes_effect(
    dev_server: WorkflowEnvironment, trials: int
) -> None:
    """Whichever comes second is recorded as late, or is told that the request has ended."""
    chance = random.Random(7)
    gate = asyncio.Semaphore(AT_ONCE)
    async with Harness(dev_server.client, by_confidence(0.95)).working() as harness:

        async def trial() -> tuple[Outcome, tuple[str, ...]]:
            async with gate:
                handle = await harness.start(risky(expires_after=f"{LASTS.total_seconds()}s", remind_after=None))
                review = await harness.ledger.review_of(handle.id)
                away = review.expires_at - datetime.now(UTC) + timedelta(milliseconds=chance.uniform(-120, 80))
                await asyncio.sleep(max(away.total_seconds(), 0))
                try:
                    await harness.decide(handle, ReviewVerdict.APPROVE, decided_at=datetime.now(UTC))
                except RPCError as error:
                    if error.status is not RPCStatusCode.NOT_FOUND:
                        raise
                result = await handle.result()
                assert result.output == (SAFE if result.outcome is Outcome.EXPIRED else "the answer of small")
                ended = [kind for kind in harness.ledger.kinds(handle.id) if kind == "ended"]
                assert ended == ["ended"]
                return result.outcome, tuple(harness.ledger.statuses(handle.id))

        seen = Counter(await asyncio.gather(*(trial() for _ in range(trials))))
    assert seen.total() == trials
    assert set(seen) <= {
        (Outcome.APPROVED, ("applied",)),
        (Outcome.EXPIRED, ("late",)),
        (Outcome.EXPIRED, ()),  # the Workflow was closed: whoever signals is told so, and the API records it as late
    }
    approved = seen[(Outcome.APPROVED, ("applied",))]
    assert min(approved, trials - approved) > trials / 25, seen
