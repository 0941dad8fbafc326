"""Calls one stage and turns every way it can end into a value: an answer, or a failure with its attempts."""

from __future__ import annotations

from datetime import datetime

from temporalio import workflow
from temporalio.exceptions import ActivityError, ApplicationError, is_cancelled_exception

from activities.stages import StageActivities
from domain.cascade import forbidden_by_ceiling
from domain.request import CascadeInput, Message
from domain.route import worst_case
from domain.stage import Attempt, Budget, FailureKind, StageFailure, StageResult, StageTask
from workflows.options import ledger_options, stage_options


def ceiling_before(request: CascadeInput, stage_index: int, budget: Budget, now: datetime) -> str | None:
    """Why the stage must not be called with what is left; None if it may."""
    stage, model = request.policy.policy.stages[stage_index], request.policy.models[stage_index]
    usage, cost = worst_case(stage, model, request.body)
    return forbidden_by_ceiling(budget, usage, cost, now)


def stage_task(
    request: CascadeInput, stage_index: int, visit: int, budget: Budget, further: tuple[Message, ...] = ()
) -> StageTask:
    """The argument of the stage Activity; ``further`` turns follow those of the request."""
    return StageTask(
        request_id=request.request_id,
        policy=request.policy.policy.name,
        policy_version=request.policy.version,
        stage=request.policy.policy.stages[stage_index],
        model=request.policy.models[stage_index],
        visit=visit,
        conversation=(*request.body.conversation(), *further),
        budget=budget,
    )


async def call_stage(task: StageTask) -> StageResult | StageFailure:
    """Run the stage. Cancellation passes through; every other end is a value."""
    try:
        return await workflow.execute_activity_method(
            StageActivities.run_stage, task, **stage_options(task, workflow.now())
        )
    except ActivityError as error:
        if is_cancelled_exception(error):
            raise
        return _told(error) or StageFailure(
            kind=FailureKind.TRANSIENT,
            message=f"{task.model.name} gave no answer in time",
            attempts=await attempts_of(task.call_key),
        )


async def attempts_of(call_key: str) -> tuple[Attempt, ...]:
    """What the journal knows of a call that ended without telling."""
    return await workflow.execute_activity_method(
        StageActivities.recall_attempts, call_key, **ledger_options("count its attempts")
    )


def _told(error: ActivityError) -> StageFailure | None:
    cause = error.cause
    if not isinstance(cause, ApplicationError) or not cause.details:
        return None
    return StageFailure.model_validate(cause.details[0])
