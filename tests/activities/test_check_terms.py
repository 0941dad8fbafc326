"""Terms: forbidden ones are found with their place, required ones missed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.checks.terms import check
from domain.guardrails import CheckResult, Judged, TermsGuardrail, Verdict


def judge(text: str, *, forbidden: tuple[str, ...] = (), required: tuple[str, ...] = ()) -> CheckResult:
    return check(TermsGuardrail(check="terms", name="terms", forbidden=forbidden, required=required), Judged(text=text))


def test_forbidden_terms_are_reported_where_they_stand() -> None:
    text = "We GUARANTEE it. A guarantee of risk\n free profit is guaranteed."
    said = judge(text, forbidden=("guarantee", "risk free"))
    assert said.verdict is Verdict.FAIL
    assert [text[f.start : f.end] for f in said.findings] == ["GUARANTEE", "guarantee", "risk\n free"]
    assert said.rationale == "forbidden term 'guarantee'; forbidden term 'risk free'"


def test_required_terms_may_not_be_missing() -> None:
    assert judge("This is not financial  advice.", required=("not financial advice",)).verdict is Verdict.PASS
    said = judge("Buy now.", required=("not financial advice",))
    assert said.verdict is Verdict.FAIL
    assert said.rationale == "required term 'not financial advice' is missing"


@pytest.mark.parametrize(
    ("text", "term"),
    [
        ("Die Größe ist zugesichert.", "größe"),
        ("Доходность ГАРАНТИРОВАНА банком", "гарантирована"),
        ("Price: $100 off", "$100"),
        ("written in C++, mostly", "c++"),
        ("the (best) offer", "(best)"),
        ("naïve café", "CAFÉ"),
    ],
)
def test_terms_of_any_script_and_sign_match(text: str, term: str) -> None:
    assert judge(text, forbidden=(term,)).verdict is Verdict.FAIL


@pytest.mark.parametrize(
    ("text", "term"),
    [("guarantees", "guarantee"), ("classic", "class"), ("no_risk", "risk"), ("a.b", "a b"), ("$1000", "$100")],
)
def test_only_whole_words_match(text: str, term: str) -> None:
    assert judge(text, forbidden=(term,)).verdict is Verdict.PASS


_CHARACTERS = st.characters(exclude_characters="\x00", exclude_categories=["Cs"])
_TERMS = st.text(_CHARACTERS, min_size=1).filter(str.strip)


@given(st.text("ab #\n", max_size=30), st.text("abc", min_size=1, max_size=3), st.text("ab #\n", max_size=30))
def test_a_planted_term_is_found_and_spans_hold_it(before: str, term: str, after: str) -> None:
    text = f"{before} {term.upper()} {after}"
    said = judge(text, forbidden=(term,))
    assert said.verdict is Verdict.FAIL
    for finding in said.findings:
        assert text[finding.start : finding.end].lower() == term
    assert judge(text, required=(term,)).verdict is Verdict.PASS


@given(st.text(), _TERMS)
def test_forbidden_and_required_are_opposites(text: str, term: str) -> None:
    forbidden, required = judge(text, forbidden=(term,)), judge(text, required=(term,))
    assert {forbidden.verdict, required.verdict} == {Verdict.PASS, Verdict.FAIL}


@pytest.mark.parametrize("piece", ["a ", "a", "a\n\n\n\n", " ", "a b", "-a"])
def test_hostile_answers_of_256_kib_get_a_verdict(piece: str) -> None:
    said = judge(piece * (262_144 // len(piece)), forbidden=("a", "a b", "a a a a a a a c", "-a"), required=("z",))
    assert said.verdict is Verdict.FAIL
    assert len(said.findings) <= 50
