"""Completeness: no empty, truncated, refusing or too short answer passes, and no honest one fails."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from activities.checks.completeness import check
from domain.guardrails import CheckResult, CompletenessGuardrail, Judged, Verdict


def judge(
    text: str,
    *,
    finish_reason: str | None = "stop",
    defect: str | None = None,
    by_model: bool = True,
    min_characters: int = 1,
    must_match: str | None = None,
    allow_refusal: bool = False,
) -> CheckResult:
    guardrail = CompletenessGuardrail(
        check="completeness",
        name="completeness",
        min_characters=min_characters,
        must_match=must_match,
        allow_refusal=allow_refusal,
    )
    return check(guardrail, Judged(text=text, by_model=by_model, finish_reason=finish_reason, defect=defect))


def kinds(said: CheckResult) -> list[str]:
    return [finding.kind for finding in said.findings]


@pytest.mark.parametrize("text", ["", " \n\t", "\u200b\ufeff", "\u3000\u00a0 \u00ad", "\u2060" * 500])
def test_nothing_to_see_is_empty(text: str) -> None:
    assert kinds(judge(text)) == ["empty"]


@pytest.mark.parametrize("reason", ["length", "content_filter"])
def test_a_cut_off_answer_fails(reason: str) -> None:
    said = judge("The first three steps are", finish_reason=reason)
    assert (said.verdict, kinds(said)) == (Verdict.FAIL, [reason])


@pytest.mark.parametrize("reason", ["stop", "tool_calls", None])
def test_other_ends_are_fine(reason: str | None) -> None:
    assert judge("42", finish_reason=reason).verdict is Verdict.PASS


def test_a_defect_fails_whatever_the_text_says() -> None:
    said = judge("a fine answer", defect="the provider's answer has no choices")
    assert said.rationale == "the provider's answer has no choices"
    assert said.verdict is Verdict.FAIL


def test_length_counts_what_can_be_seen() -> None:
    assert kinds(judge("  yes  \u200b", min_characters=4)) == ["short"]
    assert judge("はい、そうです", min_characters=7).verdict is Verdict.PASS


def test_the_demanded_form_is_searched() -> None:
    assert judge("Reasoning …\nAnswer: 42", must_match=r"(?m)^Answer: \d+$").verdict is Verdict.PASS
    assert kinds(judge("It is 42.", must_match=r"(?m)^Answer: \d+$")) == ["form"]


def test_everything_that_is_wrong_is_reported() -> None:
    said = judge("I can't help with that.", finish_reason="length", min_characters=100, must_match="^{")
    assert kinds(said) == ["length", "short", "refusal", "form"]


REFUSALS = [
    "I'm sorry, but I can't help with that.",
    "I\u2019m sorry, but I can\u2019t assist with that request.",
    "I'm sorry, I cannot assist with this request.",
    "Sorry, I can't do that.",
    "I cannot help with that request.",
    "I can't comply with that.",
    "I won't help with this.",
    "I am unable to assist with that request.",
    "I'm unable to provide that.",
    "I'm not able to help with this.",
    "I apologize, but I cannot fulfill this request.",
    "I apologise, but I am unable to complete your request.",
    "I apologize for the confusion, but I can't assist you with that.",
    "Unfortunately, I cannot provide that information.",
    "As an AI language model, I cannot provide such content.",
    "As an AI assistant, I'm not able to answer that question.",
    "I'm sorry, but as an AI language model, I cannot answer this question.",
    "I must decline this request.",
    "I must respectfully decline.",
    "I refuse to answer.",
    "Your request violates our content policy.",
    "**I can't help you with that.** Please ask something else.",
    '"I cannot assist with that."',
    "No, I can't help with anything illegal.",
    "I can't assist with requests for passwords.",
    "I'm afraid I can't do that.",
]


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals_fail(text: str) -> None:
    assert kinds(judge(text)) == ["refusal"]
    assert judge(text.upper()).verdict is Verdict.FAIL
    assert judge(text, allow_refusal=True).verdict is Verdict.PASS
    assert judge(text, by_model=False).verdict is Verdict.PASS


@pytest.mark.parametrize(
    "text",
    [
        "I can't recommend this restaurant enough!",
        "Sorry, I cannot find any errors in this invoice: all lines add up.",
        "I'm sorry to hear that your parcel is late. I have opened a trace with the carrier.",
        "I'm sorry for the delay. A replacement was sent today.",
        "Unfortunately, the warranty ended in March, so a repair costs 80 EUR.",
        "I cannot help but admire the structure of this contract.",
        "I can't help noticing that the totals differ by 3.00 USD.",
        "I am unable to attend, please move the meeting: that is what the customer writes.",
        "I cannot guarantee a delivery date; the carrier estimates Friday.",
        "You cannot assist two customers at once in this plan; upgrade to Pro.",
        "The agent said: I can't help with that. The customer then escalated.",
        "If the app says 'I cannot help with that', restart it.",
        "This request violates article 5 of the data policy, so it is high risk.",
        "As an AI vendor, the company must register under article 49.",
        "No. The clause does not comply with article 5(1)(a) of the GDPR.",
        "Sorry about that! The fix is to clear the cache.",
        "I can do that: here is the summary.",
        "I will not be available; forward it to the on-call team, says the out-of-office note.",
        "Refuse the request: the applicant has no legal basis.",
        '{"decision": "refuse", "reason": "I can\'t help with that"}',
        "Es tut mir leid, dass Ihre Lieferung sich verspätet; sie kommt am Freitag.",
        "Désolé pour le retard : le colis arrive vendredi.",
        "申し訳ありませんが、配送は金曜日になります。",
        "يؤسفنا التأخير، سيصل الطرد يوم الجمعة.",
        "A",
        "0",
    ],
)
def test_honest_answers_pass(text: str) -> None:
    said = judge(text)
    assert said.verdict is Verdict.PASS, said.rationale


@given(st.sampled_from(REFUSALS), st.text(max_size=40))
def test_a_refusal_stays_one_whatever_follows(refusal: str, rest: str) -> None:
    assert judge(f"{refusal}\n{rest}").verdict is Verdict.FAIL


@given(st.text(), st.integers(1, 30))
def test_what_passes_is_long_enough(text: str, least: int) -> None:
    if judge(text, min_characters=least).verdict is Verdict.PASS:
        assert len(text.strip()) >= least


@pytest.mark.parametrize(
    "piece", ["I'm sorry, ", "I can't ", "but ", " ", "\u200b", "As an AI ", "help with that ", "a"]
)
def test_hostile_answers_of_256_kib_get_a_verdict(piece: str) -> None:
    assert judge(piece * (262_144 // len(piece))).verdict in (Verdict.PASS, Verdict.FAIL)
