"""Real stacks for the end-to-end tests: one that all share, and one whose processes are killed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from typing import Any

import pytest

from tests.e2e.live import Live, live_stack


@pytest.fixture(scope="session")
async def live(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Live]:
    """A stack for tests that leave its processes alone."""
    async with live_stack(tmp_path_factory.mktemp("live")) as stack:
        yield stack


@pytest.fixture(scope="module")
async def doomed(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Live]:
    """A stack for tests that kill its processes and start them again."""
    async with live_stack(tmp_path_factory.mktemp("doomed")) as stack:
        yield stack


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the ends of the processes' logs with every failure: what went wrong is seldom in the test's own process."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for stack in item.funcargs.values():
            if isinstance(stack, Live):
                for part in stack.parts:
                    state = "running" if part.running else "not running"
                    report.sections.append((f"log of {part.name} ({state})", part.tail()))
    return report
