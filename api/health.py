"""Whether this process lives, and whether it can take requests."""

from __future__ import annotations

import asyncio

import structlog
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from api.services import Probe, services_of
from api.views import View

_SECONDS = 3.0

router = APIRouter(prefix="/health", tags=["health"])


class Health(View):
    """Whether all is well."""

    status: str


class ProbeAnswer(View):
    """What one probe found. ``remedy`` is there where it failed."""

    name: str
    ok: bool
    remedy: str | None = None


class Readiness(Health):
    """Whether requests can be taken, and what is missing."""

    checks: tuple[ProbeAnswer, ...]


@router.get("/liveness", response_model=Health)
async def liveness() -> Response:
    """The process answers. Says nothing about what it depends on, so that an outage there restarts nothing here."""
    return Response(Health(status="ok").model_dump_json(), media_type="application/json")


@router.get("/readiness", response_model=Readiness, responses={503: {"model": Readiness}})
async def readiness(request: Request) -> Response:
    """Whether database, Temporal and policies are there; 503 with a remedy for each that is not."""
    checks = tuple(await asyncio.gather(*(_probe(probe) for probe in services_of(request).probes)))
    ready = all(check.ok for check in checks)
    answer = Readiness(status="ok" if ready else "unavailable", checks=checks)
    headers = {"Cache-Control": "no-store"}
    return Response(answer.model_dump_json(), 200 if ready else 503, headers, "application/json")


async def _probe(probe: Probe) -> ProbeAnswer:
    try:
        async with asyncio.timeout(_SECONDS):
            await probe.check()
    except Exception as error:  # whatever it is, it is not ready; the log says what
        structlog.get_logger("api").warning("not_ready", check=probe.name, error=type(error).__name__)
        return ProbeAnswer(name=probe.name, ok=False, remedy=probe.remedy)
    return ProbeAnswer(name=probe.name, ok=True)
