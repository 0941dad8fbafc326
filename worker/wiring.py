"""The worker's composition root: the only place of this process that names concrete adapters."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import httpx
from temporalio.client import Client
from temporalio.worker import Worker

from activities.guardrails import GuardrailActivities
from activities.ledger import LedgerActivities
from activities.notices import NoticeActivities
from activities.reviewing import ReviewActivities
from activities.routing import RoutingActivities
from activities.stages import StageActivities
from adapters.channel_http import channel_client
from adapters.chat_provider import ChatProvider
from adapters.database import Database
from adapters.decision_authority import SqlDecisionAuthority
from adapters.delivery_log import SqlDeliveryLog
from adapters.http_verifier import HttpVerifier
from adapters.notifiers import Notifiers
from adapters.policy_files import load_catalog
from adapters.roster import Roster
from adapters.settings import Settings
from adapters.sql_journal import SqlAttemptJournal
from adapters.sql_ledger import SqlLedger
from domain.notice import DeliveryLog, Notifier
from domain.ports import AttemptJournal, DecisionAuthority, Ledger, ModelProvider, Verifier
from workflows.cascade import CascadeWorkflow
from workflows.delivery import DeliveryWorkflow

GRACEFUL_SHUTDOWN = timedelta(seconds=90)
"""Longer than any model call should take: a deploy must not tear calls that are then made, and billed, again."""


@dataclass(frozen=True)
class World:
    """Everything outside that Activities need, each as the port they know it by."""

    ledger: Ledger
    journal: AttemptJournal
    provider: ModelProvider
    verifier: Verifier
    authority: DecisionAuthority
    notifier: Notifier
    deliveries: DeliveryLog


def all_activities(world: World) -> list[Callable[..., Any]]:
    """Every Activity of the project, with its dependencies injected."""
    routing, stages = RoutingActivities(world.ledger), StageActivities(world.provider, world.journal)
    guardrails, commits = GuardrailActivities(world.verifier), LedgerActivities(world.ledger)
    reviews, notices = ReviewActivities(world.authority), NoticeActivities(world.notifier, world.deliveries)
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
        reviews.verify_decision,
        reviews.verify_override,
        reviews.plan_hold,
        notices.send_notice,
        notices.record_delivery,
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
        workflows=[CascadeWorkflow, DeliveryWorkflow],
        activities=activities,
        max_concurrent_activities=200,
        max_concurrent_workflow_tasks=200,
        graceful_shutdown_timeout=graceful_shutdown,
        # How long a Signal waits for a worker that has just died before another one takes over.
        sticky_queue_schedule_to_start_timeout=timedelta(seconds=2),
    )


@asynccontextmanager
async def wired_world(settings: Settings) -> AsyncIterator[World]:
    """The outside world of this installation, with database and HTTP connections that close after it."""
    catalog = load_catalog(settings.catalog)
    database = Database(settings.database_url)
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=50)
    async with AsyncExitStack() as closing:
        closing.push_async_callback(database.close)
        http = await closing.enter_async_context(httpx.AsyncClient(limits=limits, follow_redirects=False))
        channel_http = await closing.enter_async_context(channel_client())
        notifiers = Notifiers(catalog, channel_http, os.environ, settings.public_url)
        closing.callback(notifiers.close)
        yield World(
            ledger=SqlLedger(database),
            journal=SqlAttemptJournal(database),
            provider=ChatProvider(catalog, http, os.environ),
            verifier=HttpVerifier(catalog, http, os.environ),
            authority=SqlDecisionAuthority(settings.decision_verifier(), Roster(database)),
            notifier=notifiers,
            deliveries=SqlDeliveryLog(database),
        )


@asynccontextmanager
async def wired_worker(settings: Settings, client: Client) -> AsyncIterator[Worker]:
    """The worker of this installation."""
    async with wired_world(settings) as world:
        yield build_worker(client, settings.task_queue, all_activities(world))
