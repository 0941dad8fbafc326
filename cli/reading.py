"""Texts that a person gives by file or standard input, exactly as they are."""

from __future__ import annotations

import sys
from pathlib import Path

from cli.exits import CommandError, ExitCode

_MOST_BYTES = 1024 * 1024
"""More is not even read: the API takes a quarter of it."""


def read_text(path: str, what: str) -> str:
    """The exact text of a file, or of standard input for ``-``. Raises ``CommandError`` (usage)."""
    try:
        if path == "-":
            raw = sys.stdin.buffer.read(_MOST_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                raw = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise CommandError(ExitCode.USAGE, f"{what}: {path} cannot be read: {error.strerror}") from None
    if len(raw) > _MOST_BYTES:
        raise CommandError(ExitCode.USAGE, f"{what}: longer than {_MOST_BYTES} bytes; shorten it")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        raise CommandError(ExitCode.USAGE, f"{what}: not UTF-8; convert it, for example with iconv") from None
