"""Who may decide and order: the signature first, then rights as the roster has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import DBAPIError

from adapters.api_keys import ApiKeys
from adapters.database import Database
from adapters.decision_authority import SqlDecisionAuthority
from adapters.decision_keys import DecisionKey
from adapters.roster import Roster
from domain.hold import ReviewVerdict
from domain.identity import Principal, Role
from domain.override import OverrideAction, OverrideEnvelope
from domain.review import DecisionCheck, DecisionEnvelope
from domain.rights import WhoMayDecide
from tests.adapters.ledger_examples import opening, order
from tests.adapters.statements import watched
from tests.examples import decision, request

REVIEW = opening(request())
HELD = WhoMayDecide(requester="shop", queue="legal", barred=("eddy",))
HOUR = timedelta(hours=1)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> DecisionKey:
    return DecisionKey.load_or_create(tmp_path_factory.mktemp("keys") / "decision.key")


@pytest.fixture
async def authority(database: Database, key: DecisionKey) -> SqlDecisionAuthority:
    """Rita, eddy and the shop review, sue is senior, olga is an operator, bob of another tenant reviews there."""
    keys = ApiKeys(database, b"p" * 32)
    for name, role in (
        ("rita", Role.REVIEWER),
        ("eddy", Role.REVIEWER),
        ("shop", Role.REVIEWER),
        ("sue", Role.SENIOR_REVIEWER),
        ("olga", Role.OPERATOR),
    ):
        await keys.create(Principal(tenant="acme", name=name, roles=frozenset({role})))
    await keys.create(Principal(tenant="other", name="bob", roles=frozenset(Role)))
    return SqlDecisionAuthority(key.public, Roster(database))


def check(key: DecisionKey, who: WhoMayDecide | None = HELD, **changes: Any) -> DecisionCheck:
    unsigned = decision(REVIEW, ReviewVerdict.APPROVE, **{"decided_at": datetime.now(UTC)} | changes)
    return DecisionCheck(envelope=key.sign(unsigned), who=who)


async def test_a_reviewer_of_an_open_queue_may_decide(authority: SqlDecisionAuthority, key: DecisionKey) -> None:
    assert await authority.problem(check(key)) is None
    assert await authority.problem(check(key, reviewer="sue")) is None


@pytest.mark.parametrize(
    ("reviewer", "problem"),
    [
        ("shop", "made this request"),
        ("eddy", "edited the policy"),
        ("olga", "does not hold the role reviewer"),
        ("bob", "does not hold the role reviewer"),
        ("nobody", "does not hold the role reviewer"),
    ],
)
async def test_others_may_not(reviewer: str, problem: str, authority: SqlDecisionAuthority, key: DecisionKey) -> None:
    assert problem in (await authority.problem(check(key, reviewer=reviewer)) or "")


async def test_rights_follow_the_queue_and_the_delegation(
    authority: SqlDecisionAuthority, key: DecisionKey, database: Database
) -> None:
    roster, now = Roster(database), datetime.now(UTC)
    await roster.add_member("acme", "legal", "sue", "olga")
    assert "not a member" in (await authority.problem(check(key)) or "")
    for_sue = check(key, on_behalf_of="sue")
    assert "has not delegated" in (await authority.problem(for_sue) or "")
    delegation = await roster.delegate("acme", "sue", "rita", "legal", now - HOUR, now + HOUR, "sue")
    assert await authority.problem(for_sue) is None
    seniors = HELD.model_copy(update={"senior_only": True})
    assert await authority.problem(check(key, seniors, on_behalf_of="sue")) is None
    over = check(key, on_behalf_of="sue", decided_at=now + HOUR)
    assert "has not delegated" in (await authority.problem(over) or "")
    await roster.revoke_delegation("acme", delegation.id)
    assert await authority.problem(for_sue) is None  # decided before it was revoked
    assert "has not delegated" in (await authority.problem(check(key, on_behalf_of="sue")) or "")


async def test_where_nothing_is_held_only_the_signature_counts(
    authority: SqlDecisionAuthority, key: DecisionKey
) -> None:
    assert await authority.problem(check(key, None, reviewer="nobody")) is None


async def test_nobody_is_looked_up_for_what_is_not_signed(
    authority: SqlDecisionAuthority, key: DecisionKey, tmp_path: Path
) -> None:
    other = DecisionKey.load_or_create(tmp_path / "other.key")
    signed = check(key)
    changed = signed.envelope.model_copy(update={"reviewer": "sue"})
    with watched() as seen:
        for envelope in (
            changed,
            other.sign(signed.envelope),
            signed.envelope.model_copy(update={"signature": ""}),
        ):
            assert "signature" in (await authority.problem(DecisionCheck(envelope=envelope, who=HELD)) or "")
        unsigned = order(REVIEW, OverrideAction.FORCE_REVIEW)
        assert "signature" in (await authority.override_problem(unsigned) or "")
    assert seen == []


async def test_only_an_operator_of_the_tenant_overrides(authority: SqlDecisionAuthority, key: DecisionKey) -> None:
    def ordered(operator: str, tenant: str = "acme") -> OverrideEnvelope:
        now = datetime.now(UTC)
        return key.sign(order(REVIEW, OverrideAction.FORCE_REVIEW, operator=operator, tenant=tenant, decided_at=now))

    assert await authority.override_problem(ordered("olga")) is None
    for other in (ordered("rita"), ordered("bob"), ordered("olga", tenant="other")):
        assert "does not hold the role operator" in (await authority.override_problem(other) or "")


async def test_a_roster_that_cannot_be_read_entitles_nobody(key: DecisionKey, tmp_path: Path) -> None:
    empty = Database(f"sqlite+aiosqlite:///{tmp_path}/empty.db")
    authority = SqlDecisionAuthority(key.public, Roster(empty))
    with pytest.raises(DBAPIError):
        await authority.problem(check(key))
    with pytest.raises(DBAPIError):
        await authority.override_problem(key.sign(order(REVIEW, OverrideAction.FORCE_REVIEW)))
    await empty.close()


def test_a_signed_envelope_keeps_its_type(key: DecisionKey) -> None:
    assert isinstance(check(key).envelope, DecisionEnvelope)
    assert isinstance(key.sign(order(REVIEW, OverrideAction.FORCE_REVIEW)), OverrideEnvelope)
