"""Servers that many tests share: the real Temporal dev server and the time-skipping one, each started once."""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from temporalio.common import SearchAttributeKey
from temporalio.testing import WorkflowEnvironment

from adapters.temporal_connect import add_search_attributes
from adapters.temporal_plugin import temporal_plugin
from domain.attributes import SEARCH_ATTRIBUTES

TUNED = [
    "--dynamic-config-value",
    "history.transferProcessorMaxPollRPS=2000",
    "--dynamic-config-value",
    "history.timerProcessorMaxPollRPS=2000",
]


def binary(name: str) -> str:
    """An executable beside the interpreter or on the path; the test fails with a remedy where it is absent."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        pytest.fail(f"{name} is not installed; run 'make test', which installs it from the lock file")
    return found


def pytest_addoption(parser: pytest.Parser) -> None:
    """Let a campaign try more often than everyday's tests do."""
    parser.addoption("--trials", type=int, default=100, help="races between a decision and the expiry of its hold")


@pytest.fixture
def trials(pytestconfig: pytest.Config) -> int:
    """How often a race is run."""
    return int(pytestconfig.getoption("--trials"))


@pytest.fixture(scope="session")
async def dev_server() -> AsyncIterator[WorkflowEnvironment]:
    """A real Temporal dev server in memory: for concurrency."""
    async with await WorkflowEnvironment.start_local(
        dev_server_existing_path=binary("temporal"),
        plugins=[temporal_plugin()],
        search_attributes=[SearchAttributeKey.for_keyword(name) for name in SEARCH_ATTRIBUTES],
        dev_server_extra_args=TUNED,
    ) as environment:
        yield environment


@pytest.fixture(scope="session")
async def time_skipping() -> AsyncIterator[WorkflowEnvironment]:
    """The time-skipping test server: for timers."""
    async with _time_skipping() as environment:
        yield environment


@pytest.fixture
async def own_time() -> AsyncIterator[WorkflowEnvironment]:
    """A time-skipping server of its own: none skips time while an Activity of an earlier test is open."""
    async with _time_skipping() as environment:
        yield environment


@asynccontextmanager
async def _time_skipping() -> AsyncIterator[WorkflowEnvironment]:
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=binary("temporal-test-server"), plugins=[temporal_plugin()]
    ) as environment:
        await add_search_attributes(environment.client, SEARCH_ATTRIBUTES)
        yield environment
