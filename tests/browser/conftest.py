"""One real stack and one Chromium for all tests of the console in a browser."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.browser.stack import OWN, ConsoleStack, console_stack


@pytest.fixture(scope="session")
async def console(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ConsoleStack]:
    """The stack, with policies for these tests."""
    async with console_stack(tmp_path_factory.mktemp("console"), OWN) as stack:
        yield stack
