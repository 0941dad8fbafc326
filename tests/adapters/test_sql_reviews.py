"""The reviewers' queue as it is read: order, pages, filters, search, how little is read for it, and how fast."""

from __future__ import annotations

import json
import time
from datetime import timedelta
from functools import partial
from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection

from adapters.claims import Claims
from adapters.database import Database
from adapters.decision_outbox import DecisionOutbox
from adapters.delivery_log import SqlDeliveryLog
from adapters.ledger_reader import CursorError, LedgerReader, ReviewQuery
from adapters.review_rows import PREVIEW, PREVIEW_STORED, beginning
from adapters.sql_journal import SqlAttemptJournal
from adapters.sql_ledger import SqlLedger
from adapters.tables import RequestBodyRow, RequestRow, ReviewRow, table
from domain.ledger import ReviewOpening
from domain.notice import Delivery, DeliveryOutcome, Notice, NoticeEvent
from domain.request import Outcome, Status
from domain.review import DecisionStatus, ReviewState, ReviewVerdict
from domain.risk import RiskTier
from domain.stage import Attempt, AttemptState, StageAnswer
from tests.adapters.ledger_examples import START, ending, held_request, hold, judged, judgement, records
from tests.adapters.statements import plan_of
from tests.examples import decision

LEASE = timedelta(minutes=15)


def asked(**filters: Any) -> ReviewQuery:
    return ReviewQuery(now=START, **filters)


async def due(database: Database, hours: float, **changes: Any) -> ReviewOpening:
    return await hold(database, expires_at=START + timedelta(hours=hours), **changes)


async def ids(database: Database, **filters: Any) -> list[str]:
    page = await LedgerReader(database).reviews("acme", asked(**filters), 100, None)
    return [review.request_id for review in page.items]


async def test_pages_go_on_where_the_one_before_ended(database: Database) -> None:
    reader, pending = LedgerReader(database), asked(state=ReviewState.PENDING)
    held = [await due(database, hours) for hours in (5, 1, 3, 3, 2)]
    first = await reader.reviews("acme", pending, 2, None)
    assert [review.expires_at for review in first.items] == [START + timedelta(hours=hours) for hours in (1, 2)]
    await due(database, 1)  # before the place the next page starts at
    later = await due(database, 4)
    await SqlLedger(database).end(ending(held_request(held[1])))
    second = await reader.reviews("acme", pending, 2, first.next_cursor)
    third = await reader.reviews("acme", pending, 2, second.next_cursor)
    seen = [review.request_id for review in (*second.items, *third.items)]
    equal = sorted([held[2].request_id, held[3].request_id])
    assert seen == [*equal, later.request_id, held[0].request_id]
    assert third.next_cursor is None


async def test_a_list_shows_a_review_without_its_text(database: Database) -> None:
    text = 'é\x00\n"' * 100
    review = await hold(database, subject="parcel 7", text=text, senior_only=True, barred=("eddy",), approvals=1)
    (row,) = (await LedgerReader(database).reviews("acme", asked(), 10, None)).items
    assert row.preview == text[:PREVIEW]
    assert (row.request_id, row.subject, row.risk) == (review.request_id, "parcel 7", RiskTier.HIGH)
    assert (row.review_version, row.result_sha256) == (1, review.proposal.result_sha256)
    assert (row.senior_only, row.barred, row.approvals, row.edited) == (True, ("eddy",), 1, False)
    assert (row.opened_at, row.expires_at) == (review.opened_at, review.expires_at)


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=300))
def test_a_preview_is_the_beginning_of_the_text_wherever_its_stored_form_is_cut(text: str) -> None:
    stored = json.dumps(text, ensure_ascii=False)
    assert beginning(stored[:PREVIEW_STORED]) == text[:PREVIEW]


async def test_filters_by_state_queue_policy_risk_and_tenant(database: Database) -> None:
    legal = (await due(database, 1, queue="legal", risk=RiskTier.CRITICAL)).request_id
    default = await due(database, 2, policy="claims")
    await due(database, 1, queue="legal", tenant="other")
    await SqlLedger(database).end(ending(held_request(default)))
    assert await ids(database) == [legal, default.request_id]
    assert await ids(database, state=ReviewState.PENDING) == [legal]
    assert await ids(database, state=ReviewState.CANCELLED) == [default.request_id]
    assert await ids(database, queue="legal") == [legal]
    assert await ids(database, policy="claims") == [default.request_id]
    assert await ids(database, risk=RiskTier.CRITICAL) == [legal]
    assert await ids(database, risk=RiskTier.CRITICAL, policy="claims") == []
    assert await LedgerReader(database).review(legal, "other", START) is None
    assert await LedgerReader(database).count_pending("acme") == 1


async def test_filters_by_claim_as_it_lives_now(database: Database) -> None:
    mine, hers, nobodys = [(await due(database, hours)).request_id for hours in (1, 2, 3)]
    claims = Claims(database)
    await claims.claim(mine, "acme", "rita", LEASE, START)
    await claims.claim(hers, "acme", "nora", 2 * LEASE, START)
    assert await ids(database, claimed_by="rita") == [mine]
    assert await ids(database, claimed_by="") == [nobodys]
    reader, later = LedgerReader(database), START + LEASE
    page = await reader.reviews("acme", ReviewQuery(now=later, claimed_by=""), 10, None)
    assert [(row.request_id, row.claimed_by) for row in page.items] == [(mine, None), (nobodys, None)]
    page = await reader.reviews("acme", ReviewQuery(now=later, claimed_by="rita"), 10, None)
    assert page.items == ()
    views = [await reader.review(mine, "acme", now) for now in (later - timedelta(microseconds=1), later)]
    assert [(view.claimed_by, view.claimed_until) for view in views if view] == [("rita", later), (None, None)]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("überweisung", {"a"}),
        ("ÜBERWEISUNG", {"a"}),
        ("STRASSE", {"a"}),
        ("100%", {"b"}),
        ("100", {"b", "c"}),
        ("_", set()),
        ("\\", {"c"}),
        ("", {"a", "b", "c", "d"}),
        ("nothing like it", set()),
    ],
)
async def test_search_finds_parts_of_subjects_in_capitals_or_not(
    text: str, found: set[str], database: Database
) -> None:
    subjects = {"a": "Überweisung Hauptstraße", "b": "at 100% cost", "c": "100 \\ percent", "d": None}
    names = {(await hold(database, subject=subject)).request_id: name for name, subject in subjects.items()}
    hits = {names[of] for of in await ids(database, text=text)}
    # Every id has an underscore, which is no wildcard.
    assert hits == (set(names.values()) if text == "_" else found)


async def test_search_finds_parts_of_ids(database: Database) -> None:
    wanted = await hold(database, subject="parcel 7")
    await hold(database)
    assert await ids(database, text=wanted.request_id[6:].upper()) == [wanted.request_id]


async def test_search_reaches_reviews_that_a_process_of_the_version_before_opened(database: Database) -> None:
    review = await hold(database, subject="Parcel 7")
    reviews = table(ReviewRow)
    await database.write(lambda connection: connection.execute(reviews.update().values(subject_folded=None)).rowcount)
    assert await ids(database, text="pARCEL") == [review.request_id]


async def test_the_next_review_to_decide(database: Database) -> None:
    reader, held = LedgerReader(database), [await due(database, hours) for hours in (-1, 1, 2, 3)]
    await Claims(database).claim(held[2].request_id, "acme", "nora", LEASE, START)

    async def after(review: ReviewOpening | None, **filters: Any) -> str | None:
        place = None if review is None else (review.expires_at, review.request_id)
        return await reader.next_pending("acme", place, asked(**filters))

    assert await after(None) == held[1].request_id  # the one before is over
    assert await after(held[1]) == held[2].request_id
    assert await after(held[1], claimed_by="") == held[3].request_id
    assert await after(held[3]) is None
    await SqlLedger(database).end(ending(held_request(held[2])))
    assert await after(held[1], state=ReviewState.CANCELLED) == held[3].request_id
    assert await reader.next_pending("other", None, asked()) is None


@pytest.mark.parametrize("cursor", ["", "x", "é", "MjAyNg", "fHw", "MjAyNi0wMS0wMVQwMDowMDowMHxh"])
async def test_a_cursor_of_no_list_is_refused(cursor: str, database: Database) -> None:
    with pytest.raises(CursorError, match="leave it out"):
        await LedgerReader(database).reviews("acme", asked(), 10, cursor)


def test_what_no_database_can_look_for_is_refused_before() -> None:
    for field in ("queue", "policy", "claimed_by", "text"):
        with pytest.raises(ValueError, match="NUL"):
            asked(**{field: "a\x00"})


async def test_answers_are_told_by_stage_visit_and_attempt(database: Database) -> None:
    of, journal = (await hold(database)).request_id, SqlAttemptJournal(database)
    for visit, stage, number in ((1, "small", 2), (2, "large", 1), (3, "large", 1)):
        key = f"{of}/{stage}/{visit}"
        await journal.begin(key, Attempt(stage=stage, number=number, state=AttemptState.UNCONFIRMED))
        answer = StageAnswer(
            text=f"{stage} \x00 {visit}", model_version_served="v", finish_reason="stop", mean_logprob=None, defect=None
        )
        await journal.finish(key, Attempt(stage=stage, number=number, state=AttemptState.FINISHED), answer)
    await journal.begin(f"{of}/large/4", Attempt(stage="large", number=1, state=AttemptState.UNCONFIRMED))
    found = await LedgerReader(database).answers(of, "acme")
    assert [(one.stage, one.visit, one.number, one.answer.text) for one in found] == [
        ("small", 1, 2, "small \x00 1"),
        ("large", 2, 1, "large \x00 2"),
        ("large", 3, 1, "large \x00 3"),
    ]
    assert await LedgerReader(database).answers(of, "other") == []


async def test_notices_are_told_with_what_became_of_them(database: Database) -> None:
    review = await hold(database)
    notice = Notice(
        event=NoticeEvent.REVIEW_REQUESTED,
        request_id=review.request_id,
        tenant="acme",
        policy="plain",
        policy_version=review.policy_version,
        risk=None,
        queue="default",
        status=Status.HELD,
        outcome=None,
        why="risk is high",
        due=None,
        review_version=1,
        result_sha256=None,
        occurred_at=START,
    )
    for number, (delivered, detail) in enumerate([(True, ""), (False, "the channel answered 404")]):
        delivery = Delivery(delivery_id=f"d-{number}", channel="team", notice=notice)
        outcome = DeliveryOutcome(delivery_id=f"d-{number}", delivered=delivered, attempts=number + 1, detail=detail)
        await SqlDeliveryLog(database).record(delivery, outcome)
    found = await LedgerReader(database).deliveries(review.request_id, "acme")
    assert [(one.delivery_id, one.channel, one.event, one.delivered, one.attempts, one.detail) for one in found] == [
        ("d-0", "team", "review.requested", True, 1, ""),
        ("d-1", "team", "review.requested", False, 2, "the channel answered 404"),
    ]
    assert await LedgerReader(database).deliveries(review.request_id, "other") == []


FILTERS: dict[str, Any] = {
    "state": ReviewState.PENDING,
    "queue": "legal",
    "policy": "claims",
    "risk": RiskTier.CRITICAL,
    "claimed_by": "rita",
    "text": "parcel",
}


async def test_no_list_sorts_or_looks_at_all_reviews(sqlite_database: Database) -> None:
    """Whatever it is filtered by, a page is read in the order of an index, from its cursor on."""
    reader = LedgerReader(sqlite_database)
    for hours in (1, 2):
        await due(sqlite_database, hours)
    cursor = (await reader.reviews("acme", asked(), 1, None)).next_cursor
    for chosen in product((False, True), repeat=len(FILTERS)):
        query = asked(**{name: value for (name, value), use in zip(FILTERS.items(), chosen, strict=True) if use})
        (steps,) = await plan_of(sqlite_database, partial(reader.reviews, "acme", query, 50, cursor))
        assert len(steps) == 1, steps
        assert steps[0].startswith("SEARCH reviews USING INDEX ix_reviews_tenant"), steps
        assert "(expires_at,request_id)>(?,?)" in steps[0], steps


@pytest.mark.parametrize("filtered", ["queue", "policy", "risk"])
async def test_a_queue_is_found_among_others_without_looking_at_these(filtered: str, sqlite_database: Database) -> None:
    reader = LedgerReader(sqlite_database)
    query = asked(state=ReviewState.PENDING, **{filtered: FILTERS[filtered]})
    ((step,),) = await plan_of(sqlite_database, lambda: reader.reviews("acme", query, 50, None))
    assert step == (
        f"SEARCH reviews USING INDEX ix_reviews_tenant_state_{filtered}_expires_at_request_id "
        f"(tenant=? AND state=? AND {filtered}=?)"
    )


async def test_ones_own_reviews_are_found_by_the_claim(sqlite_database: Database) -> None:
    reader = LedgerReader(sqlite_database)
    ((step,),) = await plan_of(sqlite_database, lambda: reader.reviews("acme", asked(claimed_by="rita"), 50, None))
    assert "ix_reviews_tenant_claimed_by_expires_at_request_id (tenant=? AND claimed_by=?)" in step


async def test_what_a_reviewer_waits_for_is_found_by_keys(sqlite_database: Database) -> None:
    """One review, its versions, answers, decisions and events: each found by an index, none by looking at all."""
    reader, claims = LedgerReader(sqlite_database), Claims(sqlite_database)
    of = (await hold(sqlite_database)).request_id

    async def detail() -> None:
        await reader.review(of, "acme", START)
        await reader.versions(of, "acme")
        await reader.answers(of, "acme")
        await reader.deliveries(of, "acme")
        await reader.decisions(of, "acme")
        await claims.events(of, "acme")
        await claims.look(of, "acme", "rita", START)

    for plan in await plan_of(sqlite_database, detail):
        assert all(step.startswith(("SEARCH", "USE TEMP B-TREE FOR ORDER BY")) for step in plan), plan


async def test_a_decision_is_stored_and_committed_by_keys(sqlite_database: Database) -> None:
    """However many reviews there are, what a decision changes on its way is found by keys."""
    review, ledger, outbox = await hold(sqlite_database), SqlLedger(sqlite_database), DecisionOutbox(sqlite_database)
    of = review.request_id
    first, second = (decision(review, ReviewVerdict.APPROVE, reviewer=name) for name in ("rita", "rolf"))
    counted = judgement(of, records(of, 4, 4), [judged(first, DecisionStatus.COUNTED)], approvals=1)
    last = ending(held_request(review), Outcome.APPROVED, records(of, 5, 6), [judged(second, DecisionStatus.APPLIED)])

    async def decide() -> None:
        for one in (first, second):
            await outbox.submit(one)
            await outbox.mark_sent(of, one.decision_id)
        await ledger.judge(counted)
        await ledger.end(last)
        await LedgerReader(sqlite_database).decision(of, second.decision_id)

    plans = await plan_of(sqlite_database, decide)
    assert len(plans) >= 8
    for plan in plans:
        assert all(step.startswith("SEARCH") and "(request_id=?" in step for step in plan), plan


async def test_ten_thousand_reviews_stay_fast(database: Database) -> None:
    review = await hold(database, text="a long answer " * 500, subject="parcel 7")
    await database.write(lambda connection: _multiply(connection, review.request_id, 10_000))
    reader = LedgerReader(database)
    for filters in ({"queue": "default"}, {"policy": "plain", "text": "parcel"}, {"claimed_by": ""}):
        cursor: str | None = None
        slowest, seen = 0.0, 0
        for _ in range(10):
            started = time.perf_counter()
            page = await reader.reviews("acme", asked(state=ReviewState.PENDING, **filters), 50, cursor)
            slowest, cursor = max(slowest, time.perf_counter() - started), page.next_cursor
            seen += len(page.items)
        assert seen == 500
        assert slowest < 0.5  # a scan of the whole table for each row would take far longer
    started = time.perf_counter()
    assert await ids(database, state=ReviewState.PENDING, text="none has this") == []
    assert time.perf_counter() - started < 1.0


def _multiply(connection: Connection, request_id: str, times: int) -> None:
    for rows in (table(RequestRow), table(RequestBodyRow), table(ReviewRow)):
        template = dict(connection.execute(rows.select().where(rows.c.request_id == request_id)).one()._mapping)
        copies = []
        for number in range(times):
            changes: dict[str, Any] = {"request_id": f"req_{number:05}"}
            if "expires_at" in template:
                changes["expires_at"] = START + timedelta(seconds=number * 7919 % times)
            copies.append(template | changes)
        connection.execute(rows.insert(), copies)
