"""How long each Activity may take and how it is retried. One table, so that it can be read at a glance.

Commits to the ledger are retried without end: a request whose decision cannot be recorded waits, it is not released.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from temporalio.common import RetryPolicy
from temporalio.workflow import ActivityConfig, LocalActivityConfig

from activities.failures import CEILING_REACHED, LEDGER_CONFLICT, PROVIDER_REFUSED
from domain.guardrails import Guardrail
from domain.stage import StageTask

BESIDE_THE_WORKFLOW = LocalActivityConfig(
    start_to_close_timeout=timedelta(seconds=5),
    retry_policy=RetryPolicy(initial_interval=timedelta(milliseconds=100), maximum_interval=timedelta(minutes=1)),
    # While the roster cannot be read, longer pauses are timers: local retries fill the history.
    local_retry_threshold=timedelta(seconds=10),
)
"""Options of what takes milliseconds and is therefore done by the worker that runs the Workflow."""


def ledger_options(summary: str) -> ActivityConfig:
    """Options of everything that reads or writes the ledger's database."""
    return ActivityConfig(
        start_to_close_timeout=timedelta(seconds=10),
        retry_policy=RetryPolicy(
            initial_interval=timedelta(milliseconds=200),
            backoff_coefficient=2,
            maximum_interval=timedelta(seconds=10),
            non_retryable_error_types=[LEDGER_CONFLICT],
        ),
        summary=summary,
    )


_STAGE_GRACE = timedelta(seconds=5)
"""Time for the journal beside the call itself."""


def stage_options(task: StageTask, now: datetime) -> ActivityConfig:
    """Options of one stage: as many attempts as policy and ceilings leave, until the request's deadline.

    The heartbeat time-out makes a stage whose worker died start again after seconds, however long its call may take.
    """
    return ActivityConfig(
        start_to_close_timeout=task.stage.timeout + _STAGE_GRACE,
        schedule_to_close_timeout=max(task.budget.deadline - now, timedelta(seconds=1)) + _STAGE_GRACE,
        heartbeat_timeout=timedelta(seconds=5),
        retry_policy=RetryPolicy(
            initial_interval=timedelta(milliseconds=250),
            backoff_coefficient=2,
            maximum_interval=timedelta(seconds=15),
            maximum_attempts=max(1, min(task.stage.max_attempts, task.budget.attempts)),
            non_retryable_error_types=[CEILING_REACHED, PROVIDER_REFUSED],
        ),
        summary=f"{task.stage.name}: ask {task.model.name}",
    )


def guardrail_options(guardrail: Guardrail, summary: str) -> ActivityConfig:
    """Options of one check: its own time-out for each attempt, three attempts. After that its verdict is ``error``."""
    return ActivityConfig(
        start_to_close_timeout=guardrail.timeout,
        retry_policy=RetryPolicy(
            initial_interval=timedelta(milliseconds=100),
            backoff_coefficient=3,
            maximum_attempts=3,
        ),
        summary=summary,
    )
