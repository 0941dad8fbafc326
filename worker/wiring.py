"""The worker's composition root: the only place of this process that names concrete adapters."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import httpx
from temporalio.client import Client
from temporalio.worker import Worker

from activities.guardrails import GuardrailActivities
from activities.ledger import LedgerActivities
from activities.routing import RoutingActivities
from activities.stages import StageActivities
from adapters.chat_provider import ChatProvider
from adapters.database import Database
from adapters.http_verifier import HttpVerifier
from adapters.policy_files import load_catalog
from adapters.settings import Settings
from adapters.sql_journal import SqlAttemptJournal
from adapters.sql_ledger import SqlLedger
from domain.ports import AttemptJournal, DecisionVerifier, Ledger, ModelProvider, Verifier
from workflows.cascade import CascadeWorkflow

GRACEFUL_SHUTDOWN = timedelta(seconds=90)
"""Longer than any model call should take: a deploy must not tear calls that are then made, and billed, again."""


def all_activities(
    ledger: Ledger, journal: AttemptJournal, provider: ModelProvider, verifier: Verifier, decisions: DecisionVerifier
) -> list[Callable[..., Any]]:
    """Every Activity of the project, with its dependencies injected."""
    routing, stages = RoutingActivities(ledger), StageActivities(provider, journal)
    guardrails, commits = GuardrailActivities(verifier), LedgerActivities(ledger, decisions)
    return [
        routing.route,
        stages.run_stage,
        stages.recall_attempts,
        guardrails.check_confidence,
        guardrails.check_schema,
        guardrails.check_completeness,
        guardrails.check_pii,
        guardrails.check_terms,
        guardrails.check_bounds,
        guardrails.check_external,
        commits.open_review,
        commits.judge_decisions,
        commits.end_request,
        commits.verify_decision,
    ]


def build_worker(
    client: Client,
    task_queue: str,
    activities: Sequence[Callable[..., Any]],
    *,
    graceful_shutdown: timedelta = GRACEFUL_SHUTDOWN,
) -> Worker:
    """A worker for the Workflows and Activities of this project."""
    return Worker(
        client,
        task_queue=task_queue,
        workflows=[CascadeWorkflow],
        activities=activities,
        max_concurrent_activities=200,
        max_concurrent_workflow_tasks=200,
        graceful_shutdown_timeout=graceful_shutdown,
        # How long a Signal waits for a worker that has just died before another one takes over.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
    )


@asynccontextmanager
async def wired_worker(settings: Settings, client: Client) -> AsyncIterator[Worker]:
    """The worker of this installation, with database and HTTP connections that close after it."""
    catalog = load_catalog(settings.catalog)
    database = Database(settings.database_url)
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=50)
    try:
        async with httpx.AsyncClient(limits=limits, follow_redirects=False) as http:
            activities = all_activities(
                SqlLedger(database),
                SqlAttemptJournal(database),
                ChatProvider(catalog, http, os.environ),
                HttpVerifier(catalog, http, os.environ),
                settings.decision_verifier(),
            )
            yield build_worker(client, settings.task_queue, activities)
    finally:
        await database.close()
