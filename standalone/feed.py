"""Feeds the bundled samples through the API and follows each one, as a backend service would."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import httpx

from domain.identity import Role
from standalone.credentials import Credentials
from standalone.processes import StackError
from standalone.samples import Sample

AT_ONCE = 8
_LONGEST = 120.0
"""Seconds a sample may take until it has ended or is held."""
_SETTLED = ("held", "completed", "refused", "failed", "cancelled")


@dataclass
class Line:
    """What is known of one sample; changes as its events arrive."""

    sample: Sample
    request_id: str = ""
    status: str = "waiting"
    outcome: str = ""
    model: str = ""
    stage: str = ""
    verdicts: list[str] = field(default_factory=list)
    cost_usd: float = 0.0
    baseline_cost_usd: float = 0.0
    because: str = ""

    @property
    def settled(self) -> bool:
        """Whether it has ended or waits for a person."""
        return self.status in _SETTLED

    @property
    def as_expected(self) -> bool:
        """Whether it stands as its policy says it should."""
        return self.status == self.sample.expect.status and (
            self.status != "completed"
            or self.sample.expect.stage is None
            or self.model.endswith(self.sample.expect.stage)
        )


async def feed(
    url: str, credentials: Credentials, samples: Sequence[Sample], changed: Callable[[Line], None]
) -> list[Line]:
    """Send every sample, a few at once, and follow each until it has ended or is held.

    Idempotency keys are the samples' ids: fed again, the same requests are found, not made anew.
    """
    lines = [Line(sample) for sample in samples]
    gate = asyncio.Semaphore(AT_ONCE)
    async with httpx.AsyncClient(
        base_url=url, headers=credentials.bearer(Role.SERVICE), timeout=httpx.Timeout(30, read=60)
    ) as http:

        async def one(line: Line) -> None:
            async with gate, asyncio.timeout(_LONGEST):
                await _follow(http, line, changed)

        await asyncio.gather(*(one(line) for line in lines))
    return lines


async def nothing_fed_yet(url: str, credentials: Credentials) -> bool:
    """Whether the ledger holds no request of the demo tenant: samples are fed on an empty database only."""
    async with httpx.AsyncClient(base_url=url, headers=credentials.bearer(Role.REVIEWER)) as http:
        return not (await http.get("/v1/reviews", params={"limit": 1})).raise_for_status().json()["items"]


async def _follow(http: httpx.AsyncClient, line: Line, changed: Callable[[Line], None]) -> None:
    sample = line.sample
    body = {"policy": sample.policy, **sample.request.model_dump(mode="json", exclude_unset=True)}
    sent = await http.post(
        "/v1/requests", json=body, headers={"Idempotency-Key": f"sample-{sample.policy}-{sample.id}"}
    )
    if sent.status_code not in (200, 202):
        raise StackError(f"sample {sample.policy}/{sample.id} was answered {sent.status_code}: {sent.text[:500]}")
    line.request_id = sent.json()["id"]
    line.status = "running"
    changed(line)
    # A stream that breaks off costs only the live view: how the sample ends is read below.
    with suppress(httpx.RemoteProtocolError, httpx.ReadError):
        await _watch(http, line, changed)
    await _read(http, line)
    changed(line)


async def _watch(http: httpx.AsyncClient, line: Line, changed: Callable[[Line], None]) -> None:
    async with http.stream("GET", f"/v1/requests/{line.request_id}/events") as response:
        response.raise_for_status()
        async for name, data in server_sent(response):
            _take(line, name, data)
            changed(line)
            if line.status == "held":
                return


async def server_sent(response: httpx.Response) -> AsyncIterator[tuple[str, dict[str, object]]]:
    """Name and data of each progress event, as they arrive."""
    name = ""
    async for text in response.aiter_lines():
        if text.startswith("event:"):
            name = text[6:].strip()
        elif text.startswith("data:"):
            yield name, json.loads(text[5:])["data"]


def _take(line: Line, name: str, data: dict[str, object]) -> None:
    match name:
        case "stage.started":
            line.stage = str(data["stage"])
            line.verdicts = []
        case "check.finished":
            line.verdicts.append(f"{data['check']} {data['verdict']}")
        case "request.held":
            line.status = "held"


async def _read(http: httpx.AsyncClient, line: Line) -> None:
    """Take status and cost from the ledger; for a short time after its last event it may still say running."""
    while True:
        answer = (await http.get(f"/v1/requests/{line.request_id}", params={"wait": 0})).raise_for_status().json()
        line.status, line.outcome = answer["status"], answer["outcome"] or ""
        line.model = (answer["model"] or {}).get("name", "")
        line.cost_usd, line.baseline_cost_usd = answer["cost_usd"], answer["baseline_cost_usd"]
        line.because = answer["reason"] or ""
        if line.settled:
            return
        await asyncio.sleep(0.05)
