"""What the console makes of texts: marks, differences, words and addresses, over any text."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from html import unescape
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from api.console.diff import changes, shortened
from api.console.filters import Filters
from api.console.marks import notes_of, pieces_of
from api.console.rules import settings_of
from api.console.verdict_form import as_written
from api.console.wording import milliseconds, moment, money, shown, time_left, urgency, without_verdict
from api.review_views import CheckView
from domain.guardrails import Finding, Verdict
from domain.review import ReviewState
from domain.risk import RiskTier
from tests.examples import snapshot

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
OFFSETS = st.one_of(st.none(), st.integers(min_value=-5, max_value=40))
WORDS = st.text(alphabet="ab c.\n\r\u00e4\u202e", max_size=30)


def check(*findings: tuple[int | None, int | None]) -> CheckView:
    found = tuple(Finding(kind="k", detail="d", start=start, end=end) for start, end in findings)
    return CheckView(stage="s", name="n", verdict=Verdict.FAIL, rationale="r", findings=found)


@given(st.text(max_size=30), st.lists(st.tuples(OFFSETS, OFFSETS), max_size=6))
def test_pieces_are_the_text_and_each_finding_covers_its_place(
    text: str, places: list[tuple[int | None, int | None]]
) -> None:
    notes = notes_of(text, [check(*places)])
    pieces = pieces_of(text, notes)
    assert "".join(piece.text for piece in pieces) == text
    assert [note.number for note in notes] == list(range(1, len(places) + 1))
    for note in notes:
        covered = "".join(piece.text for piece in pieces if note in piece.notes)
        assert covered == ("" if note.place is None else text[slice(*note.place)])
        assert sum(note in piece.closes for piece in pieces) == (0 if note.place is None else 1)


@given(WORDS, WORDS)
def test_changes_lead_from_one_text_to_the_other(before: str, after: str) -> None:
    found = changes(before, after)
    assert "".join(change.text for change in found if change.kind != "new") == before
    assert "".join(change.text for change in found if change.kind != "gone") == after
    assert all(change.text for change in found)
    assert (len(found) <= 1 and all(change.kind == "same" for change in found)) == (before == after)


@given(st.integers(min_value=0, max_value=60), st.integers(min_value=0, max_value=60))
def test_what_is_shortened_keeps_every_change(above: int, below: int) -> None:
    before = "\n".join([*(f"a{line}" for line in range(above)), "old", *(f"b{line}" for line in range(below))])
    found = changes(before, before.replace("old", "new"))
    short = shortened(found)
    assert [change for change in short if change and change.kind != "same"] == [
        change for change in found if change.kind != "same"
    ]
    assert sum(len(change.text.splitlines()) for change in short if change) <= 20


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("." * 90_000 + "x", "y" + "." * 90_000),
        (".x" * 60_000, "y." * 60_000),
        ("a " * 60_000, "b " * 60_000),
        ("\n" * 100_000, "x\n" * 100_000),
    ],
)
def test_no_pair_of_texts_takes_long(before: str, after: str) -> None:
    started = time.process_time()
    found = changes(before, after)
    assert time.process_time() - started < 5
    assert "".join(change.text for change in found if change.kind != "gone") == after


HIDDEN = ["\x00", "\x1b", "\x85", "\u200b", "\u200e", "\u202a", "\u202e", "\u2066", "\u2069", "\ufeff", "\U000e0041"]


@pytest.mark.parametrize("character", HIDDEN)
def test_a_hidden_character_is_shown_and_not_obeyed(character: str) -> None:
    told = shown(f"a{character}b")
    assert character not in told
    assert f"U+{ord(character):04X}" in told


@given(st.text(max_size=40))
def test_a_text_stays_text(text: str) -> None:
    told = shown(text)
    assert isinstance(told, Markup)
    plain = told.replace("&lt;", "").replace("&gt;", "").replace("&amp;", "").replace("&#39;", "").replace("&#34;", "")
    without_ours = plain.replace('<span class="unseen" title="hidden character">', "").replace("</span>", "")
    assert not set(without_ours) & set("<>\"'")


@given(st.text(alphabet="ab\n\t<>&\"' \u00e4\u0623", max_size=40))
def test_a_text_without_hidden_characters_comes_back_as_it_was(text: str) -> None:
    assert unescape(str(shown(text))) == text


@pytest.mark.parametrize(
    ("left", "said"),
    [
        (timedelta(hours=2, minutes=5, seconds=30), "2 h 5 min left"),
        (timedelta(days=1, hours=4, minutes=59), "1 d 4 h left"),
        (timedelta(minutes=1), "1 min left"),
        (timedelta(seconds=59), "under 1 min left"),
        (timedelta(0), "expiring now"),
        (timedelta(hours=-3), "expiring now"),
    ],
)
def test_time_left_as_a_person_reads_it(left: timedelta, said: str) -> None:
    assert time_left(NOW + left, NOW) == said


@given(st.integers(min_value=-10_000, max_value=10**7))
def test_nothing_is_ever_overdue(seconds: int) -> None:
    said = time_left(NOW + timedelta(seconds=seconds), NOW)
    assert said.endswith("left") or said == "expiring now"
    assert "-" not in said


@pytest.mark.parametrize(("hours", "said"), [(23.0, "far"), (5.0, "soon"), (2.0, "last"), (-1.0, "last")])
def test_urgency_grows_with_the_share_that_is_over(hours: float, said: str) -> None:
    expires = NOW + timedelta(hours=hours)
    assert urgency(expires, expires - timedelta(hours=24), NOW) == said


@pytest.mark.parametrize(
    ("amount", "said"),
    [
        (Decimal(0), "$0"),
        (Decimal("0.000412"), "$0.000412"),
        (Decimal("0.0123456"), "$0.0123"),
        (0.1, "$0.100"),
        (Decimal("12.5"), "$12.50"),
        (1234.5, "$1234.50"),
        (Decimal("0.000000000000001"), "$0.00000000"),
    ],
)
def test_money_has_the_digits_that_small_amounts_need(amount: Decimal | float, said: str) -> None:
    assert money(amount) == said


def test_times_and_reasons_in_words() -> None:
    assert milliseconds(412.4) == "412 ms"
    assert milliseconds(90_000) == "1 min 30 s"
    assert milliseconds(None) == "\N{EN DASH}"
    assert without_verdict("fail: 2 terms: a, b") == "2 terms: a, b"
    assert without_verdict("note: not a verdict") == "note: not a verdict"
    told = moment(NOW + timedelta(seconds=7), exact=True)
    assert 'datetime="2026-11-24T12:00:07.000Z"' in told
    assert "24 Nov 2026, 12:00:07 UTC" in told


def test_the_setting_that_held_an_answer_is_shown_as_the_policy_writes_it() -> None:
    pinned = snapshot()
    rule = "guardrails.output.terms.on_fail, guardrails.output.confidence.on_fail"
    assert settings_of(rule, pinned, pinned.version) == (
        "guardrails.output.terms.on_fail: hold",
        "guardrails.output.confidence.on_fail: escalate",
    )
    assert settings_of("risk.hold_at", pinned, pinned.version) == ("risk.hold_at: high",)
    assert settings_of("on_exhausted", pinned, pinned.version) == ("on_exhausted: hold",)
    assert settings_of("risk.hold_at", pinned, "another") == ("risk.hold_at",)
    assert settings_of("risk.hold_at", None, "another") == ("risk.hold_at",)
    assert settings_of("no.such.setting", pinned, pinned.version) == ("no.such.setting",)
    assert settings_of("guardrails.output", pinned, pinned.version) == ("guardrails.output",)
    assert settings_of("fail closed", pinned, pinned.version) == ()


FILTERS = st.builds(
    Filters,
    q=st.text(max_size=20).map(str.strip).filter(lambda text: "\x00" not in text),
    state=st.sampled_from([*(state.value for state in ReviewState), "all"]),
    risk=st.sampled_from(["", *(tier.value for tier in RiskTier)]),
    queue=st.sampled_from(["", "support", "a.b-c_d"]),
    policy=st.sampled_from(["", "plain"]),
    who=st.sampled_from(["", "me", "none", "otto@example.com"]),
)


@given(FILTERS)
def test_an_address_holds_the_filters(filters: Filters) -> None:
    query = filters.query()
    assert Filters.read(query) == filters
    assert Filters.of(dict(parse_qsl(filters.address("/console/reviews", cursor="c").partition("?")[2]))) == filters


@pytest.mark.parametrize(
    "given_fields",
    [{"state": "open"}, {"risk": "extreme"}, {"queue": "No Queue!"}, {"q": "\x00"}, {"q": "  "}, {"policy": "../x"}],
)
def test_an_impossible_filter_filters_nothing(given_fields: dict[str, str]) -> None:
    assert Filters.of(given_fields) == Filters()


def test_an_edit_keeps_the_line_ends_of_what_it_was_made_of() -> None:
    assert as_written("a\nb\n", "x\r\ny") == "a\r\nb\r\n"
    assert as_written("a\nb\n", "x\ny") == "a\nb\n"
    assert as_written("a\nb\n", "x\r\ny\nz") == "a\nb\n"
    assert as_written("a\nb", "no line end") == "a\nb"
