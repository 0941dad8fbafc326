"""The ladder of a hold as moments: when each rung is due, and when the hold expires.

Time zones change by decree, so whoever knows ``zone`` computes this once, when a hold opens, and records the result;
a Workflow only ever follows recorded moments.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, tzinfo

from domain.duration import words
from domain.hold import BusinessHours, Hold, RequestedExpiry, Rung, RungAction, Weekday
from domain.payload import Payload

_MOST_DAYS = 20 * 366
"""Days looked at before business hours count as never coming: longer than 366 days of one working hour a day."""
_WEEKDAYS = tuple(Weekday)


class Moment(Payload):
    """When a rung is due if nobody has decided by then."""

    at: datetime
    rung: Rung


class HoldPlan(Payload):
    """The moments of one hold, in order of time; all of them before ``expires_at``.

    ``clamped`` says in words that the request asked for another expiry than it may have; None if it did not.
    """

    expires_at: datetime
    moments: tuple[Moment, ...] = ()
    clamped: str | None = None


class PlanTask(Payload):
    """What a plan is made of. ``asked`` is the request's own ``max_hold``."""

    hold: Hold
    opened_at: datetime
    asked: timedelta | None = None


def plan_hold(task: PlanTask, zone: tzinfo | None) -> HoldPlan:
    """The plan of a hold that opens now. ``zone`` is the zone of its business hours; None where it has none.

    Raises ``ValueError`` where business hours leave no time at all.
    """
    hold, opened_at = task.hold, task.opened_at
    lasts, clamped = _lasts(hold, task.asked)

    def due(after: timedelta) -> datetime:
        if hold.hours is None or zone is None:
            return opened_at + after
        return add_business_time(opened_at, after, hold.hours, zone)

    expires_at = due(lasts)
    rungs = [*_reminders(hold, lasts), *hold.ladder]
    moments = [Moment(at=due(rung.after), rung=rung) for rung in sorted(rungs, key=lambda rung: rung.after)]
    return HoldPlan(
        expires_at=expires_at, moments=tuple(moment for moment in moments if moment.at < expires_at), clamped=clamped
    )


def _lasts(hold: Hold, asked: timedelta | None) -> tuple[timedelta, str | None]:
    if asked is None:
        return hold.expires_after, None
    limits = hold.requested_expiry or RequestedExpiry.model_construct(
        least=min(timedelta(minutes=1), hold.expires_after), most=hold.expires_after
    )
    lasts = min(max(asked, limits.least), limits.most)
    if lasts == asked:
        return lasts, None
    return lasts, f"the request asked for a hold of {words(asked)}; it gets {words(lasts)}"


def _reminders(hold: Hold, lasts: timedelta) -> list[Rung]:
    """One reminder after the first interval, each later one after twice the interval before: few over any time."""
    rungs: list[Rung] = []
    interval, after = hold.remind_after, timedelta(0)
    while interval is not None and after + interval < lasts:
        after += interval
        interval *= 2
        rungs.append(Rung.model_construct(after=after, do=RungAction.REMIND, queue=None, channels=()))
    return rungs


def add_business_time(start: datetime, span: timedelta, hours: BusinessHours, zone: tzinfo) -> datetime:
    """The moment, in UTC, at which ``span`` of open time has gone by since ``start``.

    Open time is counted in real time, so that a change of the clocks within it neither adds nor takes an hour.
    """
    left = span
    day = start.astimezone(zone).date()
    for _ in range(_MOST_DAYS):
        opens, closes = _open(day, hours, zone)
        begins = max(opens, start)
        if begins < closes:
            if begins + left <= closes:
                return begins + left
            left -= closes - begins
        day += timedelta(days=1)
    raise ValueError("the business hours leave no time in which the hold could end")


def _open(day: date, hours: BusinessHours, zone: tzinfo) -> tuple[datetime, datetime]:
    """When the day's open time begins and ends, in UTC; the same moment twice where there is none."""
    opens = datetime.combine(day, hours.opens, zone).astimezone(UTC)
    if _WEEKDAYS[day.weekday()] not in hours.days or day in hours.holidays:
        return opens, opens
    return opens, datetime.combine(day, hours.closes, zone).astimezone(UTC)
