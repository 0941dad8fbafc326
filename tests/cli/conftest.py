"""A scripted API, and the command line as a test calls it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cli import client
from cli.main import build
from tests.cli.fake_http_api import FakeApi, served

Run = Callable[..., Result]
"""Runs one command; keyword arguments beside ``stdin`` are environment."""


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with served() as fake:
        yield fake


@pytest.fixture
def run(api: FakeApi, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setattr(client, "PAUSES", (0.0, 0.0))
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str, stdin: str | bytes | None = None, **env: str) -> Result:
        settings = {"SLUICE_URL": api.url, "SLUICE_API_KEY": "sk-sluice-test-secret", "COLUMNS": "160", **env}
        return CliRunner().invoke(build(), list(arguments), input=stdin, env=settings)

    return invoke
