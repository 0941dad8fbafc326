"""Runs guardrails: one Activity each, all of one text in parallel. What fails to judge is an error, never a pass."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from temporalio import workflow
from temporalio.exceptions import ActivityError, is_cancelled_exception

from activities.guardrails import ACTIVITY_OF
from domain.guardrails import CheckResult, CheckTask, Guardrail, Judged, Verdict
from workflows.options import guardrail_options


async def run_checks(
    request_id: str, stage: str | None, guardrails: Sequence[Guardrail], judged: Judged, called: str
) -> tuple[CheckResult, ...]:
    """The results of ``guardrails`` over ``judged``, in the order of the policy.

    ``called`` is what the Temporal UI calls the judged text.
    """
    alone = judged.model_copy(update={"input_text": None})
    tasks = [
        CheckTask(
            request_id=request_id,
            stage=stage,
            guardrail=guardrail,
            # The history keeps the argument of every check: the input goes only to the one that is told to read it.
            judged=judged if guardrail.check == "external" and guardrail.send_input else alone,
        )
        for guardrail in guardrails
    ]
    return tuple(await asyncio.gather(*(_run_check(task, called) for task in tasks)))


async def _run_check(task: CheckTask, called: str) -> CheckResult:
    guardrail = task.guardrail
    try:
        result: CheckResult = await workflow.execute_activity(
            ACTIVITY_OF[guardrail.check],
            task,
            result_type=CheckResult,
            **guardrail_options(guardrail, f"{guardrail.name} on the {called}"),
        )
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise
        cause = error.cause.__class__.__name__ if error.cause is not None else error.__class__.__name__
        return CheckResult(
            name=guardrail.name,
            check=guardrail.check,
            verdict=Verdict.ERROR,
            rationale=f"gave no verdict in time or failed ({cause})",
        )
    return result
