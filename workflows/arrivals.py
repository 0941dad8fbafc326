"""Signals as they come: kept undecoded, so that none goes unrecorded, and read when they are judged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from temporalio import workflow
from temporalio.common import RawValue

from domain.override import OVERRIDE_SIGNAL

DECIDE_SIGNAL = "decide"
"""The name under which reviewers' decisions are signalled."""

MALFORMED_SHOWN = 200
"""Characters of an explanation of a malformed Signal that are kept."""

BATCH_BYTES = 512 * 1024
"""Signals are judged together up to this size: they are committed as one payload, and Temporal limits its length."""

E = TypeVar("E")


@dataclass(frozen=True)
class Arrival:
    """A Signal as it came: its name, and whatever number of payloads in whatever encoding.

    ``after_end`` says that the request was ending when it came. Whoever had seen the end signals later than that.
    """

    name: str
    payloads: tuple[RawValue, ...]
    after_end: bool = False

    @property
    def size(self) -> int:
        """Bytes it carried, and about as many as a record of it takes."""
        return 1024 + sum(len(payload.payload.data) for payload in self.payloads)


def opened(arrival: Arrival, read: Callable[[Any], E | str]) -> E | str:
    """What ``read`` makes of a Signal's one argument, or in one sentence why there is none. Never raises."""
    if arrival.name not in (DECIDE_SIGNAL, OVERRIDE_SIGNAL):
        return f"no Signal is called {arrival.name[:64]!r}; a decision comes as {DECIDE_SIGNAL!r}"
    if not arrival.payloads:
        return "the Signal carried no payload"
    if len(arrival.payloads) > 1:
        return f"the Signal carried {len(arrival.payloads)} arguments; a decision is one"
    try:
        decoded = workflow.payload_converter().from_payload(arrival.payloads[0].payload)
    except Exception as error:  # whatever a converter raises on foreign bytes is one and the same finding
        return f"the payload cannot be decoded: {error.__class__.__name__}"
    read_as = read(decoded)
    return read_as[:MALFORMED_SHOWN] if isinstance(read_as, str) else read_as
