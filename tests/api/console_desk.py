"""The console over real adapters and a database of its own; in Temporal's place a few lines judge what is signalled."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from math import exp
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import FastAPI

from adapters.api_keys import ApiKeys
from adapters.claims import Claims
from adapters.database import Database, migrate
from adapters.decision_keys import DecisionKey
from adapters.decision_outbox import DecisionOutbox
from adapters.ledger_reader import LedgerReader
from adapters.review_figures import ReviewFigures
from adapters.roster import Roster
from adapters.sessions import Sessions
from adapters.sql_journal import SqlAttemptJournal
from adapters.sql_ledger import SqlLedger
from api.console import routes, sign_in
from api.errors import install_error_answers
from api.services import Limits, Services
from domain.guardrails import CheckResult, Finding, Verdict
from domain.identity import Principal, Role
from domain.ledger import Admission, RecordKind, ReviewOpening
from domain.payload import sha256_text
from domain.policy import PolicySnapshot
from domain.review import Proposal, ReviewOffer
from domain.risk import RiskTier
from domain.stage import Attempt, AttemptState, StageAnswer
from domain.usage import Usage
from tests.api.console_browser import Browser
from tests.api.console_judge import Held, Judge, Records
from tests.examples import SAFE, request, snapshot

TENANT = "acme"
ORIGIN = "http://127.0.0.1:8080"
PEPPER = b"p" * 32
PEOPLE = {
    "rita": frozenset({Role.REVIEWER}),
    "otto": frozenset({Role.REVIEWER}),
    "sara": frozenset({Role.SENIOR_REVIEWER}),
    "anna": frozenset({Role.AUDITOR}),
    "olaf": frozenset({Role.OPERATOR}),
    "shop": frozenset({Role.SERVICE}),
    "paul": frozenset({Role.POLICY_ADMIN}),
}


class Desk:
    """One installation. ``now`` is what its clock says."""

    def __init__(self, database: Database, policies: Mapping[str, PolicySnapshot]) -> None:
        self.now = datetime.now(UTC)
        self.database = database
        self.policies = dict(policies)
        self.ledger = SqlLedger(database)
        self.judge = Judge(self.ledger, lambda: self.now)
        self.journal = SqlAttemptJournal(database)
        self.reader = LedgerReader(database)
        self.keys = ApiKeys(database, PEPPER, cache_seconds=0)
        self.roster = Roster(database)
        self.claims = Claims(database)

    def services(self) -> Services:
        return Services(
            reader=self.reader,
            outbox=DecisionOutbox(self.database),
            keys=self.keys,
            requests=self.judge,
            policies=self,
            parse_policy=lambda text: snapshot(),
            decision_key=DecisionKey(Ed25519PrivateKey.generate()),
            clock=lambda: self.now,
            roster=self.roster,
            claims=self.claims,
            figures=ReviewFigures(self.database),
            sessions=Sessions(self.database, PEPPER, lambda: self.now),
            limits=Limits(decision_wait_seconds=0.5),
        )

    @cached_property
    def app(self) -> FastAPI:
        app = FastAPI()
        app.state.services = self.services()
        install_error_answers(app)
        for part in (sign_in, routes):
            app.include_router(part.router)
        return app

    def snapshot(self, name: str) -> PolicySnapshot | None:
        return self.policies.get(name)

    def names(self) -> tuple[str, ...]:
        return tuple(self.policies)

    async def hold(
        self,
        text: str = "We admit liability.",
        *,
        asked: str = "Where is my parcel?",
        why: str = "terms failed: forbidden term 'we admit'",
        rule: str = "guardrails.output.terms.on_fail",
        policy: str = "plain",
        risk: RiskTier = RiskTier.HIGH,
        checks: Sequence[CheckResult] = (),
        opened: datetime | None = None,
        lasts: timedelta = timedelta(hours=4),
        offer: Mapping[str, Any] | None = None,
        body: Mapping[str, Any] | None = None,
        **changes: Any,
    ) -> str:
        """Hold an answer; the id of its request."""
        asked_for = request(asked, policy=self.policies[policy], **(body or {}))
        opened = opened or self.now
        await self.ledger.admit(Admission(request=asked_for, run_id="run-1"))
        records = Records(asked_for.request_id, opened)
        records.note(RecordKind.ADMITTED, "pinned", actor="requester:shop", data={"body_sha256": "0" * 64})
        records.note(RecordKind.ROUTED, "enters at small: cheapest stage first; risk low: policy default is low")
        await self._answer(records, asked_for.request_id, "small", text, checks)
        records.note(RecordKind.DECIDED, f"hold: {why}", data={"verb": "hold", "rule": rule})
        records.note(RecordKind.HELD, why, data={"rule": rule, "review_version": 1})
        opening = ReviewOpening(
            request_id=asked_for.request_id,
            tenant=TENANT,
            requester="shop",
            subject=asked_for.body.subject,
            policy=policy,
            policy_version=asked_for.policy.version,
            queue=changes.pop("queue", "support"),
            risk=risk,
            why=why,
            rule=rule,
            proposal=Proposal.of(text, 1, 0),
            may_escalate=True,
            opened_at=opened,
            expires_at=opened + lasts,
            offer=ReviewOffer.model_validate({"next_stage": "large", "safe_output": SAFE, **(offer or {})}),
            records=records.taken,
            **changes,
        )
        await self.ledger.open_review(opening)
        self.judge.held[opening.request_id] = Held(opening, records.sequence)
        return opening.request_id

    async def _answer(
        self, records: Records, request_id: str, stage: str, text: str, checks: Sequence[CheckResult]
    ) -> None:
        key, usage = f"{request_id}/{stage}/1", Usage(input_tokens=120, output_tokens=90)
        answer = StageAnswer(
            text=text,
            model_version_served=f"{stage}-2026-11",
            finish_reason="stop",
            mean_logprob=-0.1,
            defect=None,
            usage=usage,
            cost_usd=Decimal("0.000412"),
            latency_ms=412.0,
        )
        attempt = Attempt(
            stage=stage,
            number=1,
            state=AttemptState.FINISHED,
            usage=usage,
            cost_usd=answer.cost_usd,
            latency_ms=answer.latency_ms,
        )
        await self.journal.begin(key, attempt)
        await self.journal.finish(key, attempt, answer)
        told = {"result_sha256": sha256_text(text), "attempts": [attempt.model_dump(mode="json", exclude={"stage"})]}
        records.note(
            RecordKind.STAGE_ANSWERED,
            "answered in 1 attempt",
            actor=f"model:{stage}",
            stage=stage,
            model=stage,
            data={**told, "mean_logprob": -0.1},
        )
        for check in checks or (DEFAULT_CHECK, found(text, "terms", "We admit")):
            records.note(
                RecordKind.OUTPUT_CHECKED,
                f"{check.verdict}: {check.rationale}",
                actor=f"check:{check.name}",
                stage=stage,
                data=check.model_dump(mode="json", exclude={"rationale"}, exclude_none=True),
            )

    async def expire(self, request_id: str) -> None:
        """Let the hold end with nobody having decided."""
        self.now = self.judge.held[request_id].opening.expires_at
        await self.judge.expire(request_id)

    @asynccontextmanager
    async def browser(
        self, name: str, roles: frozenset[Role] | None = None, principal: Principal | None = None
    ) -> AsyncIterator[Browser]:
        """A browser in which the person of this name is signed in."""
        person = principal or Principal(tenant=TENANT, name=name, roles=roles or PEOPLE[name])
        transport = httpx.ASGITransport(app=self.app)
        async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as http:
            browser = Browser(http)
            await browser.sign_in(await self.keys.create(person))
            yield browser


DEFAULT_CHECK = CheckResult(
    name="confidence",
    check="confidence",
    verdict=Verdict.PASS,
    rationale="0.90 is at least 0.80",
    score=exp(-0.1),
    threshold=0.8,
)


def found(text: str, name: str, *terms: str) -> CheckResult:
    """A check that objects to each of ``terms`` where it stands in ``text``."""
    places = [(term, text.find(term)) for term in terms if term in text]
    return CheckResult(
        name=name,
        check="terms",
        verdict=Verdict.FAIL if places else Verdict.PASS,
        rationale=f"{len(places)} forbidden terms",
        findings=tuple(
            Finding(kind="forbidden", detail=f"forbidden term {term!r}", start=start, end=start + len(term))
            for term, start in places
        ),
    )


@asynccontextmanager
async def opened(folder: Path, policies: Mapping[str, PolicySnapshot] | None = None) -> AsyncIterator[Desk]:
    """A desk with a database of its own in ``folder``."""
    url = f"sqlite+aiosqlite:///{folder}/sluice.db"
    migrate(url)
    database = Database(url)
    try:
        yield Desk(database, policies or {"plain": snapshot()})
    finally:
        await database.close()
