"""How domain errors become Activity failures: what is retried, what is final, and under which name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from temporalio.exceptions import ApplicationError

from domain.errors import LedgerConflictError

LEDGER_CONFLICT = "LedgerConflict"
PROVIDER_UNAVAILABLE = "ProviderUnavailable"
PROVIDER_REFUSED = "ProviderRefused"
CEILING_REACHED = "CeilingReached"


@contextmanager
def ledger_conflicts_are_final() -> Iterator[None]:
    """Turn a ``LedgerConflictError`` into a failure that is not retried; any other error of the ledger is."""
    try:
        yield
    except LedgerConflictError as error:
        raise ApplicationError(str(error), type=LEDGER_CONFLICT, non_retryable=True) from error
