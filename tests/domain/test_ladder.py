"""The moments of a hold: its rungs, its reminders, its end, in plain time and in business hours."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from domain.hold import BusinessHours, Hold, RungAction
from domain.ladder import PlanTask, add_business_time, plan_hold
from domain.request import Constraints
from domain.risk import RiskTier
from tests.domain.strategies import TIERS, TIMES

MONDAY_NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
DAYS = st.sets(st.sampled_from(["mon", "tue", "wed", "sat"]), min_size=1)
ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe"])
SPANS = st.integers(1, 60 * 24 * 20).map(lambda minutes: timedelta(minutes=minutes))
OFFICE = BusinessHours(timezone="Europe/Berlin", holidays=(date(2026, 12, 25),))


def hold(**changes: Any) -> Hold:
    """A hold as a policy file would have it."""
    return Hold.model_validate({"expires_after": "24h", **changes}, extra="forbid")


def hours_from(start: datetime, *moments: datetime) -> list[float]:
    """How many hours after ``start`` each moment is."""
    return [(moment - start) / timedelta(hours=1) for moment in moments]


def test_reminders_double_and_rungs_stand_between_them() -> None:
    ladder = [{"after": "3h", "do": "notify"}, {"after": "10h", "do": "reassign", "queue": "backup"}]
    plan = plan_hold(PlanTask(hold=hold(remind_after="2h", ladder=ladder), opened_at=MONDAY_NOON), None)
    assert [(moment.rung.do.value, moment.rung.queue) for moment in plan.moments] == [
        ("remind", None),
        ("notify", None),
        ("remind", None),
        ("reassign", "backup"),
        ("remind", None),
    ]
    assert hours_from(MONDAY_NOON, *(moment.at for moment in plan.moments)) == [2, 3, 6, 10, 14]
    assert hours_from(MONDAY_NOON, plan.expires_at) == [24]


def test_ninety_days_take_few_reminders() -> None:
    plan = plan_hold(PlanTask(hold=hold(expires_after="90d", remind_after="1h"), opened_at=MONDAY_NOON), None)
    assert len(plan.moments) == 11


@pytest.mark.parametrize(
    ("asked", "limits", "gets", "told"),
    [
        ("2h", None, 2, False),
        ("72h", None, 24, True),
        ("1s", None, 1 / 60, True),
        ("72h", {"most": "96h"}, 72, False),
        ("200h", {"most": "96h"}, 96, True),
        ("5m", {"least": "1h", "most": "96h"}, 1, True),
    ],
)
def test_what_a_request_asks_for_is_clamped_and_that_is_told(
    asked: str, limits: dict[str, str] | None, gets: float, told: bool
) -> None:
    wish = Constraints.model_validate({"max_hold": asked}).max_hold
    task = PlanTask(hold=hold(requested_expiry=limits), opened_at=MONDAY_NOON, asked=wish)
    plan = plan_hold(task, None)
    assert hours_from(MONDAY_NOON, plan.expires_at) == [pytest.approx(gets)]
    assert (plan.clamped is not None) == told


def test_a_shorter_hold_drops_the_rungs_that_it_does_not_reach() -> None:
    ladder = [{"after": "1h", "do": "notify"}, {"after": "20h", "do": "escalate"}]
    task = PlanTask(hold=hold(ladder=ladder), opened_at=MONDAY_NOON, asked=timedelta(hours=2))
    assert [moment.rung.do for moment in plan_hold(task, None).moments] == [RungAction.NOTIFY]


def test_a_friday_evening_goes_on_on_monday() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    friday = datetime(2026, 11, 6, 16, 30, tzinfo=berlin)
    ends = add_business_time(friday.astimezone(UTC), timedelta(hours=2), OFFICE, berlin)
    assert ends.astimezone(berlin) == datetime(2026, 11, 9, 10, 30, tzinfo=berlin)


def test_holidays_do_not_count() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    thursday = datetime(2026, 12, 24, 16, tzinfo=berlin)
    ends = add_business_time(thursday.astimezone(UTC), timedelta(hours=2), OFFICE, berlin)
    assert ends.astimezone(berlin) == datetime(2026, 12, 28, 10, tzinfo=berlin)


def test_a_change_of_clocks_within_open_time_adds_no_hour() -> None:
    """In the night to 29 March 2026 Berlin puts its clocks forward at 02:00."""
    berlin = ZoneInfo("Europe/Berlin")
    always = BusinessHours.model_validate(
        {"timezone": "Europe/Berlin", "days": ["sat", "sun"], "opens": "00:00", "closes": "23:00"}
    )
    start = datetime(2026, 3, 29, 1, tzinfo=berlin).astimezone(UTC)
    ends = add_business_time(start, timedelta(hours=3), always, berlin)
    assert ends - start == timedelta(hours=3)
    assert ends.astimezone(berlin) == datetime(2026, 3, 29, 5, tzinfo=berlin)


@given(
    TIMES,
    SPANS,
    ZONES,
    st.integers(0, 20),
    st.integers(1, 3),
    DAYS,
)
@example(MONDAY_NOON, timedelta(hours=1), "UTC", 9, 1, {"mon"})
def test_open_time_between_start_and_end_is_exactly_the_span(
    start: datetime, span: timedelta, zone_name: str, opens: int, lasts: int, days: set[str]
) -> None:
    hours = BusinessHours.model_validate(
        {"timezone": zone_name, "days": sorted(days), "opens": time(opens), "closes": time(opens + lasts)}
    )
    zone = ZoneInfo(zone_name)
    ends = add_business_time(start, span, hours, zone)
    open_time = timedelta(0)
    day = start.astimezone(zone).date()
    while day <= ends.astimezone(zone).date():
        if ("mon", "tue", "wed", "thu", "fri", "sat", "sun")[day.weekday()] in days:
            begins = max(datetime.combine(day, hours.opens, zone).astimezone(UTC), start)
            closes = min(datetime.combine(day, hours.closes, zone).astimezone(UTC), ends)
            open_time += max(closes - begins, timedelta(0))
        day += timedelta(days=1)
    assert open_time == span


@given(st.dictionaries(TIERS, st.integers(1, 9)), TIERS)
def test_a_quorum_is_that_of_the_highest_tier_not_above_the_risk(quorum: dict[RiskTier, int], risk: RiskTier) -> None:
    expected = 1
    for tier in RiskTier:
        if tier.rank <= risk.rank and tier in quorum:
            expected = quorum[tier]
    assert hold(quorum=quorum).approvals_needed(risk) == expected


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ladder": [{"after": "2h", "do": "remind"}, {"after": "1h", "do": "notify"}]}, "by time"),
        ({"ladder": [{"after": "24h", "do": "remind"}]}, "never reached"),
        ({"ladder": [{"after": "1h", "do": "reassign"}]}, "needs the 'queue'"),
        ({"ladder": [{"after": "1h", "do": "notify", "queue": "x"}]}, "leave it out"),
        ({"hours": {"timezone": "UTC", "opens": "17:00", "closes": "09:00"}}, "before 'closes'"),
        ({"hours": {"timezone": "UTC", "opens": "09:00+01:00"}}, "without an offset"),
        ({"requested_expiry": {"least": "2h", "most": "1h"}}, "longer than 'most'"),
        ({"verdicts": ["approve"]}, "must hold 'reject'"),
        ({"verdicts": ["reject", "reject"]}, "twice"),
        ({"quorum": {"high": 0}}, "greater than or equal to 1"),
    ],
)
def test_a_hold_that_contradicts_itself_is_refused_with_a_remedy(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        hold(**change)
