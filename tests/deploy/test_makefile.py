"""The Makefile says what it can do, and says what is missing before anything else goes wrong."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAKE = shutil.which("make")
pytestmark = pytest.mark.skipif(MAKE is None, reason="make is not installed")


def make(*arguments: str, folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run([MAKE or "make", *arguments], cwd=folder, env=environ, capture_output=True, text=True)


def test_make_alone_explains_every_target() -> None:
    told = make().stdout
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert targets is not None
    assert set(re.findall(r"^  make ([\w-]+) +\S", told, re.MULTILINE)) == set(targets[1].split())


@pytest.mark.parametrize(
    ("target", "command"),
    [
        ("run", "python -m standalone --some-flag"),
        ("bench", "python -m standalone.bench --some-flag"),
        ("bench-holds", "python -m standalone.hold_bench --some-flag"),
        ("pictures", "python -m tests.browser.pictures"),
        ("test", "python -m pytest --some-flag"),
        ("golden", "python -m tests.replay.capture --some-flag"),
    ],
)
def test_passes_arguments_on(target: str, command: str) -> None:
    assert command in make("--dry-run", target, "ARGS=--some-flag").stdout


def test_check_runs_every_tool() -> None:
    planned = make("--dry-run", "check").stdout
    assert all(tool in planned for tool in ("ruff check", "ruff format --check", "mypy", "lint-imports"))


def test_says_which_python_it_needs(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.lock", "requirements-dev.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    old = tmp_path / "python-of-old"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)
    ended = make("run", f"PYTHON={old}", folder=tmp_path)
    assert ended.returncode != 0
    assert "needs Python 3.11 or newer" in ended.stderr
    assert not (tmp_path / ".venv").exists()


def test_says_that_venv_is_missing(tmp_path: Path) -> None:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name in ("requirements.lock", "requirements-dev.lock", "pyproject.toml"):
        (tmp_path / name).touch()
    bare = tmp_path / "python-without-venv"
    bare.write_text('#!/bin/sh\ncase "$2" in *version_info*) exit 0 ;; *) exit 1 ;; esac\n')
    bare.chmod(0o755)
    ended = make("run", f"PYTHON={bare}", folder=tmp_path)
    assert ended.returncode != 0
    assert "install its venv module" in ended.stderr
