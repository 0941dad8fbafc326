"""Errors with a meaning in the domain.

SluiceError
├── ProviderError      a model server gave no usable answer; transient or permanent
├── VerifierError      a verification service gave no verdict
├── LedgerConflictError     a commit contradicts what the ledger already holds
└── PolicyError        a policy or catalog file is wrong; names file, line and remedy
"""

from __future__ import annotations

from datetime import timedelta

from domain.stage import FailureKind


class SluiceError(Exception):
    """Base of all errors of this project."""


class ProviderError(SluiceError):
    """A model server gave no usable answer.

    ``maybe_billed`` is True where the request may have reached the model (a time-out, a broken connection);
    ``retry_after`` is what the provider asked for. Messages name status and provider, never keys or content.
    """

    def __init__(
        self, kind: FailureKind, message: str, *, maybe_billed: bool = False, retry_after: timedelta | None = None
    ) -> None:
        super().__init__(message)
        self.kind = kind
        self.maybe_billed = maybe_billed
        self.retry_after = retry_after


class VerifierError(SluiceError):
    """A verification service could not be asked or gave no verdict. ``transient`` if asking again may help."""

    def __init__(self, message: str, *, transient: bool) -> None:
        super().__init__(message)
        self.transient = transient


class LedgerConflictError(SluiceError):
    """A commit contradicts what the ledger already holds. Never retried: a person has to look."""


class PolicyError(SluiceError):
    """A policy or catalog file cannot be used. The message names file, line and remedy."""

    def __init__(self, file: str, line: int | None, problem: str) -> None:
        super().__init__(f"{file}:{line}: {problem}" if line is not None else f"{file}: {problem}")
        self.file = file
        self.line = line
        self.problem = problem
