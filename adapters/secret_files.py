"""Secrets in files: made once, with mode 0600, by whichever process comes first, and read by all."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from domain.errors import SluiceError

_SHORTEST = 32
_LARGEST = 64 * 1024


class SecretFileError(SluiceError):
    """A file that should hold a secret cannot be used. Names the file and the remedy, never the content."""


def read_or_create(path: Path, fresh: Callable[[], bytes]) -> bytes:
    """The content of ``path``; where there is no such file, ``fresh()`` is written to it first, with mode 0600.

    Raises ``SecretFileError``. **Correctness:** processes that start at the same time agree on one content, and a
    crash leaves the whole file or none: the content is written to the side and then linked to its name, which fails
    for all but the first.
    """
    try:
        if not path.exists():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _create(path, fresh())
        return read(path)
    except OSError as error:
        raise SecretFileError(f"{path}: {error.strerror}; make it readable or remove it") from None


def read_or_create_secret(path: Path, size: int = 32) -> bytes:
    """The secret in ``path``, as text without white space around it; a new one holds ``size`` random bytes in hex.

    Raises ``SecretFileError``, also where the file holds fewer than 32 characters.
    """
    content = read_or_create(path, lambda: f"{secrets.token_hex(size)}\n".encode("ascii"))
    return long_enough(content, str(path))


def long_enough(secret: bytes, origin: str) -> bytes:
    """``secret`` without white space around it; ``SecretFileError`` if it is shorter than 32 bytes."""
    stripped = secret.strip()
    if len(stripped) < _SHORTEST:
        raise SecretFileError(f"{origin}: holds fewer than {_SHORTEST} characters; put a longer random secret there")
    return stripped


def read(path: Path) -> bytes:
    """The content of ``path``. Refuses a file that everybody may write to, and one too large to be a secret."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_mode & stat.S_IWOTH:
            raise SecretFileError(f"{path}: everybody may change it; run chmod 600 on it, and replace the secret")
        content = file.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise SecretFileError(f"{path}: is too large to be a secret; name another file")
    return content


def write_public(path: Path, content: bytes) -> None:
    """Write something everybody may read, with mode 0644, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = _write_beside(path, content, 0o644)
    os.replace(beside, path)


def _create(path: Path, content: bytes) -> None:
    beside = _write_beside(path, content, 0o600)
    try:
        os.link(beside, path)
    except FileExistsError:
        return  # another process was first; its content counts
    finally:
        beside.unlink()


def _write_beside(path: Path, content: bytes, mode: int) -> Path:
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    return beside
