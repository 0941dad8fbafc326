"""Is there an answer at all? Not empty, not cut off, not a refusal, long enough, of the demanded form.

``must_match`` is searched as the policy author wrote it; a pattern that can backtrack without end is the author's to
avoid, as Python's regular expressions know no time limit.
"""

from __future__ import annotations

import re

from activities.checks.results import failed_or_passed
from domain.guardrails import CheckResult, CompletenessGuardrail, Finding, Judged

_BLANK = "".join(chr(code) for code in range(33)) + (
    "\x7f\x85\xa0\xad\u1680\u180e\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u200b\u200c\u200d"
    "\u200e\u200f\u2028\u2029\u202f\u205f\u2060\u3000\ufeff"
)
"""White space and characters without a shape; an answer of nothing else is empty."""

_CUT_OFF = {
    "length": "the answer was cut off at the longest allowed output",
    "content_filter": "the provider's content filter withheld the answer or a part of it",
}

_REFUSAL_WITHIN = 400
"""Characters at the start of an answer in which a refusal must begin and end."""


def check(guardrail: CompletenessGuardrail, judged: Judged) -> CheckResult:
    """Report everything that is wrong with the form of the answer.

    Refusals are recognised in English and only in what a model wrote: a person who writes "I cannot help with that"
    means it.
    """
    visible = judged.text.strip(_BLANK)
    findings = []
    if judged.defect is not None:
        findings.append(Finding(kind="defect", detail=judged.defect))
    if judged.finish_reason in _CUT_OFF:
        findings.append(Finding(kind=judged.finish_reason or "", detail=_CUT_OFF[judged.finish_reason or ""]))
    if not visible:
        findings.append(Finding(kind="empty", detail="the answer is empty"))
    elif len(visible) < guardrail.min_characters:
        shortfall = f"the answer has {len(visible)} characters, fewer than {guardrail.min_characters}"
        findings.append(Finding(kind="short", detail=shortfall))
    if judged.by_model and not guardrail.allow_refusal and is_refusal(visible):
        findings.append(Finding(kind="refusal", detail="the model refused to answer"))
    if guardrail.must_match is not None and visible and re.search(guardrail.must_match, judged.text) is None:
        findings.append(Finding(kind="form", detail=f"the answer does not match {guardrail.must_match!r}"))
    return failed_or_passed(guardrail, findings, "the answer is complete")


def is_refusal(text: str) -> bool:
    """Whether ``text`` begins with a refusal in English.

    Only whole phrases count. "I can't recommend it enough", "Sorry, I cannot find an error" and "Unfortunately, your
    parcel is late" are answers.
    """
    start = text[:_REFUSAL_WITHIN].replace("\u2019", "'").replace("\u02bc", "'").lstrip(" \t\r\n\"'>*_#`")
    return _REFUSAL.match(start) is not None


_REGRET = r"(?:(?:i'm|i am|we're|we are)\s+(?:very |so |really |truly |deeply )?sorry|sorry|i (?:do )?apologi[sz]e"
_REGRET += r"|(?:my )?apologies|unfortunately|regrettably|i'm afraid|i am afraid|i understand|thank you|no)"
_ASIDE = r"(?:for (?:the|any) (?:confusion|inconvenience)|about that|for (?:your|the) (?:question|request|interest))"
_SELF = r"as an? (?:\w+[ -]){0,3}?(?:ai|assistant|language model|llm|chatbot)(?: \w+){0,3}"
_UNABLE = (
    r"(?:can't|cannot|can not|won't|will not|am unable to|'m unable to|am not able to|'m not able to"
    r"|'m not comfortable(?: with)?|am not comfortable(?: with)?|am not (?:allowed|permitted) to"
    r"|'m not (?:allowed|permitted) to|must (?:respectfully |politely )?decline to"
    r"|(?:have|need) to (?:respectfully |politely )?decline to)"
)
_END = r"(?=\s*(?:[.,;:!?\n]|$|as\b|because\b|since\b|due\b|at this time\b))"
_THAT = r"(?:(?:that|this|it|such|your|the)(?: \w+){0,2}? (?:request|question|prompt|task|topic|query)s?|that|this|it)"
_DEED = (
    rf"(?:(?:be able to )?(?:help|assist|aid)(?: you)?(?: (?:with|in) {_THAT})?{_END}"
    rf"|(?:comply|engage|proceed)(?: (?:with|in) {_THAT})?{_END}"
    rf"|(?:answer|fulfil+|complete|discuss|do|doing|perform|process|provide|support|respond to|continue with"
    rf"|accommodate) {_THAT}{_END}"
    r"|(?:help|helping|assist|assisting|comply|complying)(?: you)? (?:with|in) (?:any(?:thing)?|requests?|activit\w+)\b"
    r"|(?:provide|create|generate|write|produce|share|give)(?: you)?(?: with)? (?:such |any |that |this )"
    r"(?:kind of |type of )?(?:content|information|material|instructions?|advice|assistance|answers?|text)\b)"
)
_REFUSAL = re.compile(
    rf"(?:{_REGRET}(?:\s+{_ASIDE})?[\s,.;:!\u2013\u2014-]{{1,4}})?(?:but|however|that)?[\s,]{{0,2}}"
    rf"(?:{_SELF}[\s,]{{1,3}})?"
    rf"(?:i\s?{_UNABLE} {_DEED}"
    r"|i (?:must |have to |need to )(?:respectfully |politely )?decline(?: (?:that|this|your) request)?(?=\s*[.,;!]|$)"
    r"|i refuse to (?:answer|help|assist|comply)\b"
    r"|(?:this|that|your) request (?:violates|goes against|is against|breaches) "
    r"(?:my|(?:our|the) (?:content|usage|use|safety)) (?:\w+ )?(?:policy|policies|guidelines|rules)\b"
    r"|i(?:'m| am) (?:just |only )?an ai(?: \w+){0,3}[\s,]{1,3}(?:and|so) i (?:can't|cannot|am unable to)\b)",
    re.IGNORECASE,
)
