"""Progress of a request, read from its Workflow's history: what a person following it wants to see, without content."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from temporalio.api.common.v1 import Payloads
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.client import Client

from adapters.history_runs import runs_of
from domain.override import OVERRIDE_SIGNAL
from domain.payload import Payload

_ENDS = {
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED: "request.ended",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED: "request.cancelled",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED: "request.failed",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED: "request.failed",
    EventType.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT: "request.failed",
}
_STARTED = "request.started"
_RUN = 1_000_000
"""Ids of a run's events begin behind this many times its number, those of the first run at 1. No history is as long."""
_CONTINUED = EventType.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW


class ProgressEvent(Payload):
    """One step of a request. ``id`` grows from event to event, so that a reader can resume after it."""

    id: int
    name: str
    at: datetime
    data: dict[str, Any]


async def progress_events(client: Client, workflow_id: str) -> AsyncIterator[ProgressEvent]:
    """The events of a Workflow from its start, through all its runs, following it until it has ended.

    Raises ``RPCError`` (NOT_FOUND) where Temporal knows no such Workflow.
    """
    run_id, number = (await runs_of(client, workflow_id))[0], 1
    while run_id:
        events = client.get_workflow_handle(workflow_id, run_id=run_id).fetch_history_events(wait_new_event=True)
        scheduled: dict[int, tuple[str, dict[str, Any]]] = {}
        run_id = ""
        async for event in events:
            told = _tell(event, scheduled)
            if told is not None and number == 1:
                yield told
            elif told is not None and told.name != _STARTED:
                yield told.model_copy(update={"id": number * _RUN + told.id})
            if event.event_type in _ENDS:
                return
            if event.event_type == _CONTINUED:
                run_id = event.workflow_execution_continued_as_new_event_attributes.new_execution_run_id
        number += 1


def _tell(event: HistoryEvent, scheduled: dict[int, tuple[str, dict[str, Any]]]) -> ProgressEvent | None:
    name: str | None = None
    data: dict[str, Any] = {}
    match event.event_type:
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
            name = _STARTED
        case EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
            attributes = event.activity_task_scheduled_event_attributes
            task = (attributes.activity_type.name, _first(attributes.input))
            scheduled[event.event_id] = task
            name, data = _scheduled(*task)
        case EventType.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
            done = event.activity_task_completed_event_attributes
            activity, argument = scheduled.get(done.scheduled_event_id, ("", {}))
            name, data = _completed(activity, argument, _first(done.result))
        case EventType.EVENT_TYPE_ACTIVITY_TASK_FAILED:
            failed = event.activity_task_failed_event_attributes
            name, data = _failed(*scheduled.get(failed.scheduled_event_id, ("", {})), failed.failure.message)
        case EventType.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
            late = event.activity_task_timed_out_event_attributes
            name, data = _failed(*scheduled.get(late.scheduled_event_id, ("", {})), "gave no answer in time")
        case EventType.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
            signal = event.workflow_execution_signaled_event_attributes.signal_name
            name = "override.signalled" if signal == OVERRIDE_SIGNAL else "review.signalled"
        case kind if kind in _ENDS:
            name = _ENDS[kind]
    if name is None:
        return None
    return ProgressEvent(id=event.event_id, name=name, at=event.event_time.ToDatetime(tzinfo=UTC), data=data)


def _scheduled(activity: str, argument: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    if activity == "run_stage":
        return "stage.started", {"stage": argument["stage"]["name"], "model": argument["model"]["name"]}
    return None, {}


def _completed(activity: str, argument: dict[str, Any], result: dict[str, Any]) -> tuple[str | None, dict[str, Any]]:
    match activity:
        case "route":
            considered = [stage["stage"] for stage in result["considered"] if stage["eligible"]]
            return "request.routed", {"risk": result["risk"], "stages": considered}
        case "run_stage":
            answer = result["answer"]
            return "stage.answered", {
                "stage": argument["stage"]["name"],
                "model_version_served": answer["model_version_served"],
                "cost_usd": answer["cost_usd"],
                "attempts": len(result["attempts"]),
            }
        case "open_review":
            held = {field: argument[field] for field in ("why", "risk", "queue", "expires_at")}
            return "request.held", held | {"review_version": argument["proposal"]["review_version"]}
        case "end_request":
            fields = ("status", "outcome", "cost_usd", "baseline_cost_usd", "model", "stages_attempted")
            return "request.decided", {field: argument["result"][field] for field in fields}
        case check if check.startswith("check_"):
            return "check.finished", {
                "stage": argument["stage"],
                "check": result["name"],
                "verdict": result["verdict"],
                "score": result.get("score"),
            }
    return None, {}


def _failed(activity: str, argument: dict[str, Any], message: str) -> tuple[str | None, dict[str, Any]]:
    if activity == "run_stage":
        return "stage.failed", {"stage": argument["stage"]["name"], "because": message}
    if activity.startswith("check_"):
        return "check.finished", {
            "stage": argument["stage"],
            "check": argument["guardrail"]["name"],
            "verdict": "error",
            "score": None,
        }
    return None, {}


def _first(payloads: Payloads) -> dict[str, Any]:
    if not payloads.payloads:
        return {}
    decoded = json.loads(payloads.payloads[0].data or b"null")
    return decoded if isinstance(decoded, dict) else {}
