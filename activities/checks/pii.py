"""Does the text hold personal data? E-mail addresses, phone numbers, IBANs and card numbers, with their checksums.

Findings tell kind and place, never the value: whoever may see it finds it in the text.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence

from activities.checks.pii_contacts import emails, phones, unknown_regions
from activities.checks.pii_numbers import cards, ibans
from activities.checks.results import MOST_FINDINGS, SHARE_OF_TIMEOUT, result
from domain.guardrails import CheckResult, Finding, Judged, PiiGuardrail, PiiKind, Verdict

Span = tuple[int, int]

_CALLED = {
    PiiKind.EMAIL: ("e-mail address", "e-mail addresses"),
    PiiKind.PHONE: ("phone number", "phone numbers"),
    PiiKind.IBAN: ("IBAN", "IBANs"),
    PiiKind.CARD: ("card number", "card numbers"),
}


def check(guardrail: PiiGuardrail, judged: Judged) -> CheckResult:
    """Report each piece of personal data once, as what it certainly is: a card number is not also a phone number.

    A region without known phone numbers is an error, for the check would look for nothing there; so is a text that
    the search did not get through within the guardrail's timeout, unless something was found before.
    """
    if PiiKind.PHONE in guardrail.kinds:
        unknown = unknown_regions(guardrail.regions)
        if unknown:
            why = f"regions names {', '.join(unknown)}, of which no phone numbers are known; write ISO 3166 codes (GB)"
            return result(guardrail, Verdict.ERROR, why)
    seconds = guardrail.timeout.total_seconds() * SHARE_OF_TIMEOUT
    found, complete = personal_data(judged.text, guardrail.kinds, guardrail.regions, seconds)
    if not found and not complete:
        why = f"the search for phone numbers did not end in {seconds:g} s; raise 'timeout' or name fewer regions"
        return result(guardrail, Verdict.ERROR, why)
    if not found:
        searched = ", ".join(_CALLED[kind][0] for kind in guardrail.kinds)
        return result(guardrail, Verdict.PASS, f"no personal data found (looked for: {searched})")
    counts = Counter(kind for _, kind in found)
    said = [f"{count} {_CALLED[kind][count > 1]}" for kind, count in counts.items()]
    rationale = "the text holds " + ", ".join(said)
    if len(found) > MOST_FINDINGS:
        rationale += f" or more; the first {MOST_FINDINGS} are listed"
    findings = [Finding(kind=kind.value, detail=_CALLED[kind][0], start=start, end=end) for (start, end), kind in found]
    return result(guardrail, Verdict.FAIL, rationale, findings)


def personal_data(
    text: str, kinds: Sequence[PiiKind], regions: Sequence[str], seconds: float
) -> tuple[list[tuple[Span, PiiKind]], bool]:
    """Where personal data of ``kinds`` stands in ``text``, in order and without overlap.

    Also whether the search for phone numbers came to its end within ``seconds``.
    """
    folded_text = folded(text)
    # What has a checksum is recognised even where it is not asked for, so that it is not taken for a phone number.
    found = _without_overlap(
        [(span, PiiKind.IBAN) for span in ibans(folded_text)]
        + [(span, PiiKind.CARD) for span in cards(folded_text)]
        + [(span, PiiKind.EMAIL) for span in emails(folded_text)]
    )
    complete = True
    if PiiKind.PHONE in kinds:
        taken = [span for span, _ in found]
        numbers, complete = phones(folded_text, regions, taken, MOST_FINDINGS + 1, seconds)
        found = sorted(found + [(span, PiiKind.PHONE) for span in numbers])
    return [(span, kind) for span, kind in found if kind in kinds], complete


def _without_overlap(found: list[tuple[Span, PiiKind]]) -> list[tuple[Span, PiiKind]]:
    """In order of place; of two that overlap the earlier stays, of two that begin together the longer."""
    kept: list[tuple[Span, PiiKind]] = []
    for span, kind in sorted(found, key=lambda item: (item[0][0], -item[0][1])):
        if not kept or span[0] >= kept[-1][0][1]:
            kept.append((span, kind))
    return kept


def folded(text: str) -> str:
    """``text`` with digits, letters, spaces and dashes of other scripts as ASCII, character for character.

    Offsets stay: what is found in the folded text stands at the same place in the text. Characters without a shape
    become spaces, so that they part groups of digits and hide nothing.
    """
    if text.isascii():
        return text
    return text.translate({ord(character): _fold(character) for character in set(text) if not character.isascii()})


def _fold(character: str) -> str:
    digit = unicodedata.decimal(character, None)
    if digit is not None:
        return str(digit)
    match unicodedata.category(character):
        case "Zs" | "Cf":
            return " "
        case "Pd":
            return "-"
    if character == "\u2212":  # minus
        return "-"
    plain = unicodedata.normalize("NFKC", character)
    return plain if len(plain) == 1 and plain.isascii() else character
