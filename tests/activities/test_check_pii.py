# ruff: noqa: RUF001 - the texts are of many scripts
"""Personal data: found by form and checksum in many languages, and not where there is none."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from activities.checks.pii import check, folded
from activities.checks.pii_numbers import IBAN_LENGTH, luhn
from domain.guardrails import CheckResult, Judged, PiiGuardrail, PiiKind, Verdict

EUROPE = ("US", "GB", "DE", "FR", "ES", "NO")


def judge(text: str, kinds: tuple[PiiKind, ...] = tuple(PiiKind), regions: tuple[str, ...] = EUROPE) -> CheckResult:
    return check(PiiGuardrail(check="pii", name="pii", kinds=kinds, regions=regions), Judged(text=text, by_model=False))


def found(text: str, regions: tuple[str, ...] = EUROPE) -> list[tuple[str, str]]:
    return [(finding.kind, text[finding.start : finding.end]) for finding in judge(text, regions=regions).findings]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Write to jane.doe+sales@example.co.uk.", [("email", "jane.doe+sales@example.co.uk")]),
        ("<mailto:info@müller-söhne.de>", [("email", "info@müller-söhne.de")]),
        ("请联系wang@example.com谢谢", [("email", "wang@example.com")]),
        ("メールは user@例え.jp まで", [("email", "user@例え.jp")]),
        ("Пишите на почта@пример.рф!", [("email", "почта@пример.рф")]),
        ('{"e":"a@b.io"}', [("email", "a@b.io")]),
        ("jane＠example．com", [("email", "jane＠example．com")]),
        ("Mail a@b.io,c@d.org;", [("email", "a@b.io"), ("email", "c@d.org")]),
        ("Call (202) 555-0123 today", [("phone", "(202) 555-0123")]),
        ("call me at 2025550123", [("phone", "2025550123")]),
        ('{"contact_phone": "2025550123"}', [("phone", "2025550123")]),
        ("Reach us: +1 202 555 0123.", [("phone", "+1 202 555 0123")]),
        ("Rufen Sie +49 30 12345678 an", [("phone", "+49 30 12345678")]),
        ("Festnetz 030/12345678", [("phone", "030/12345678")]),
        ("Handy 01512 3456789", [("phone", "01512 3456789")]),
        ("Mon numéro : 06 12 34 56 78", [("phone", "06 12 34 56 78")]),
        ("Tél. 01.23.45.67.89", [("phone", "01.23.45.67.89")]),
        ("電話は +81 3-1234-5678 です", [("phone", "+81 3-1234-5678")]),
        ("電話は＋８１ ３−１２３４−５６７８です", [("phone", "＋８１ ３−１２３４−５６７８")]),
        ("هاتف: +٩٧١ ٥٠ ١٢٣ ٤٥٦٧", [("phone", "+٩٧١ ٥٠ ١٢٣ ٤٥٦٧")]),
        ("on 12/03/2024 202-555-0123 rang", [("phone", "202-555-0123")]),
        ("IBAN DE89 3704 0044 0532 0130 00 bitte", [("iban", "DE89 3704 0044 0532 0130 00")]),
        ("gb82west12345698765432", [("iban", "gb82west12345698765432")]),
        ("FR14 2004 1010 0505 0001 3M02 606.", [("iban", "FR14 2004 1010 0505 0001 3M02 606")]),
        ("NO93-8601-1117-947", [("iban", "NO93-8601-1117-947")]),
        ("IBANDE89370400440532013000", [("iban", "DE89370400440532013000")]),
        ("card 4111 1111 1111 1111 exp 12/27", [("card", "4111 1111 1111 1111")]),
        ("4111-1111-1111-1111 123", [("card", "4111-1111-1111-1111")]),
        ("5555555555554444, 378282246310005", [("card", "5555555555554444"), ("card", "378282246310005")]),
        ("3782 822463 10005", [("card", "3782 822463 10005")]),
        ("カード４１１１ １１１１ １１１１ １１１１", [("card", "４１１１ １１１１ １１１１ １１１１")]),
        ("4111\u00a01111\u00a01111\u00a01111", [("card", "4111\u00a01111\u00a01111\u00a01111")]),
        ("6011000990139424\n30569309025904", [("card", "6011000990139424"), ("card", "30569309025904")]),
    ],
)
def test_personal_data_is_found_where_it_stands(text: str, expected: list[tuple[str, str]]) -> None:
    assert found(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Order 2025550123 was shipped on 2024-11-23 at 18:47:02.",
        "Order ORD-2024-000123456, invoice INV-415-555-2671, ticket #4155552671",
        "Bestellnummer 4111 1111 1111 1112 (keine Karte)",
        "Total: $1,234,567.89, i.e. 1.234.567,89 EUR or 12 345 678 kr",
        "Betrag 2025550123 EUR; €2025550123; 100%",
        "Version 3.11.4.2025, build 10.0.19041.1234, v4.155.552.671",
        "Hosts 192.168.100.200, 10.20.30.40 and 2001:db8::1",
        "Born 23.11.1984, valid 01/02/2023 - 03/04/2025, years 2019-2024 and 1984/1985",
        "Timestamps 20241123 184702, 1732380000, 1732380000123, 2024-11-23T18:47:02.123456Z",
        "Confidence 0.4111111111111111, ratio 0.4532015112830366",
        "sha 4111111111111111f0, uuid 4f4111b1-1111-4111-8111-411111111111",
        "EAN 4006381333931, ISBN 978-3-16-148410-0",
        "DE89 3704 0044 0532 0130 01 has a wrong check digit",
        "at 12 noon we all met there again, be 15 minutes early, no 10 is last",
        "DE00 is a product, GB2000 a lamp, FR14 a road, IS26 too",
        "Follow @jane, price @ 5.00, react@18.2.0, a@b, user@localhost, pkg@1.0.0-rc.beta",
        "A price of 20 to 25, rooms 555 0123, pages 211-227 (2003), 3 x 4 x 12",
        "Umsatz 2023: 1600 1700 1800 1900 Stück",
        "売上は１２３４５６７８円、注文番号は２０２５５５５０１２３です",
        "π = 3.14159265358979, e = 2.718281828459045",
        "",
    ],
)
def test_what_is_no_personal_data_passes(text: str) -> None:
    said = judge(text)
    assert said.verdict is Verdict.PASS, found(text)


def test_only_the_kinds_asked_for_are_reported_and_a_card_is_never_a_phone() -> None:
    text = "jane@example.com, 4111 1111 1111 1111, DE89 3704 0044 0532 0130 00, +1 202 555 0123"
    for kind in PiiKind:
        said = judge(text, (kind,))
        assert [finding.kind for finding in said.findings] == [kind]
    assert judge("4111 1111 1111 1111", (PiiKind.PHONE,)).verdict is Verdict.PASS


def test_the_rationale_counts() -> None:
    said = judge("a@b.io c@d.io +1 202 555 0123")
    assert said.rationale == "the text holds 2 e-mail addresses, 1 phone number"


def test_regions_decide_what_a_national_number_is() -> None:
    assert found("(0)30 12345678 or 030 12345678", ("DE",)) != []
    assert found("030 12345678", ("US",)) == []
    assert found("+49 30 12345678", ()) == [("phone", "+49 30 12345678")]


def test_a_region_that_does_not_exist_is_an_error() -> None:
    said = judge("call 020 7946 0958", regions=("UK",))
    assert said.verdict is Verdict.ERROR
    assert "UK" in said.rationale
    assert judge("none", (PiiKind.EMAIL,), ("UK",)).verdict is Verdict.PASS


def test_at_most_fifty_findings_are_kept() -> None:
    said = judge("a@b.io " * 500)
    assert len(said.findings) == 50
    assert "the first 50 are listed" in said.rationale


def iban(country: str, account: str) -> str:
    remainder = int("".join(str(int(c, 36)) for c in f"{account}{country}00")) % 97
    return f"{country}{98 - remainder:02}{account}"


@st.composite
def ibans(draw: st.DrawFn) -> str:
    country = draw(st.sampled_from(sorted(IBAN_LENGTH)))
    size = IBAN_LENGTH[country] - 4
    return iban(country, draw(st.text("0123456789ABCXYZ", min_size=size, max_size=size)))


def in_fours(text: str, separator: str) -> str:
    return separator.join(text[start : start + 4] for start in range(0, len(text), 4))


@given(ibans(), st.sampled_from(["", " ", "-", "\u00a0"]), st.booleans())
def test_every_iban_is_found_however_it_is_grouped(number: str, separator: str, lower: bool) -> None:
    written = in_fours(number.lower() if lower else number, separator)
    assert ("iban", written) in found(f"Pay to {written}, please")


@given(ibans(), st.data())
def test_an_iban_with_one_wrong_digit_is_none(number: str, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from([i for i, c in enumerate(number) if c.isdigit()]))
    wrong = data.draw(st.sampled_from([d for d in "0123456789" if d != number[place]]))
    corrupted = number[:place] + wrong + number[place + 1 :]
    assert not any(kind == "iban" for kind, _ in found(f"Pay to {corrupted}, please"))


@st.composite
def card_numbers(draw: st.DrawFn) -> str:
    prefix, length = draw(
        st.sampled_from([("4", 16), ("4", 19), ("51", 16), ("2221", 16), ("34", 15), ("6011", 16), ("36", 14)])
    )
    rest = length - len(prefix) - 1
    body = prefix + draw(st.text("0123456789", min_size=rest, max_size=rest))
    return next(body + digit for digit in "0123456789" if luhn(body + digit))


@given(card_numbers(), st.sampled_from(["", " ", "-", "\u2011"]))
def test_every_card_number_is_found_however_it_is_grouped(number: str, separator: str) -> None:
    written = in_fours(number, separator)
    assert found(f"My card is {written}, thanks") == [("card", written)]


@given(card_numbers(), st.data())
def test_a_card_number_with_one_wrong_digit_is_none(number: str, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(number) - 1))
    wrong = data.draw(st.sampled_from([d for d in "0123456789" if d != number[place]]))
    corrupted = number[:place] + wrong + number[place + 1 :]
    assert not luhn(corrupted)
    assert not any(kind == "card" for kind, _ in found(f"Reference {corrupted}."))


_SECRETS = st.sampled_from(
    ["jane@example.com", "+1 202 555 0123", "(202) 555-0123", "DE89 3704 0044 0532 0130 00", "4111 1111 1111 1111"]
)


@given(st.lists(_SECRETS, min_size=1, max_size=4), st.text(max_size=30))
def test_findings_lie_in_the_text_apart_and_never_repeat_it(secrets: list[str], noise: str) -> None:
    text = "\n".join([noise, *(f"here: {secret} ." for secret in secrets), noise])
    said = judge(text)
    assert said.verdict is Verdict.FAIL
    last = 0
    for finding in said.findings:
        assert finding.start is not None
        assert finding.end is not None
        assert last <= finding.start < finding.end <= len(text)
        last = finding.end
    for secret in secrets:
        assert secret in [text[finding.start : finding.end] for finding in said.findings]
        assert secret not in said.model_dump_json()


@given(st.text(st.characters(codec="utf-8")))
def test_any_text_gets_a_verdict_and_folding_keeps_offsets(text: str) -> None:
    assert len(folded(text)) == len(text)
    said = judge(text)
    assert said.verdict in (Verdict.PASS, Verdict.FAIL)
    assert all(0 <= (f.start or 0) < (f.end or 0) <= len(text) for f in said.findings)


@given(st.text("0123456789 -+().@aDE8", max_size=60), st.sampled_from(["4111111111111111", "a@b.io"]))
def test_what_stands_before_does_not_hide_what_follows(before: str, secret: str) -> None:
    assume(not before or before[-1] not in " -")
    assert secret in [text for _, text in found(f"{before}\n{secret}")]


@pytest.mark.parametrize(
    "piece",
    [
        "1",
        "1 ",
        "4 ",
        "a@",
        "@",
        "a.",
        "@a.",
        "@a-",
        "DE89",
        "DE89 ",
        "DE89 3704 0044 0532 0130 01 ",
        "202 555 01 ",
        "1/2/",
        "((",
        "+1",
        "1 ext",
        "\u200b",
        "4111111111111112,",
    ],
)
def test_hostile_texts_of_256_kib_get_a_verdict(piece: str) -> None:
    guardrail = PiiGuardrail(check="pii", name="pii", timeout=timedelta(seconds=1))
    said = check(guardrail, Judged(text=piece * (262_144 // len(piece)) + "x"))
    assert said.verdict in (Verdict.PASS, Verdict.FAIL, Verdict.ERROR)
    assert len(said.findings) <= 50


def test_a_search_that_does_not_end_in_time_is_an_error_unless_something_was_found() -> None:
    guardrail = PiiGuardrail(check="pii", name="pii", timeout=timedelta(milliseconds=1))
    numbers = "1/2/" * 10_000
    said = check(guardrail, Judged(text=numbers))
    assert said.verdict is Verdict.ERROR
    assert "timeout" in said.rationale
    assert check(guardrail, Judged(text=f"{numbers} jane@example.com")).verdict is Verdict.FAIL


@pytest.mark.parametrize("filler", [" ", "x ", "7 ", ",", "1-"])
def test_a_phone_number_is_found_wherever_a_long_text_is_parted(filler: str) -> None:
    number = "+1 202 555 0123"
    for before in range(4040, 4100, 7):
        text = (filler * 4100)[:before] + "\n" + number + "\n" + filler * 4100
        assert ("phone", number) in found(text, ("US",))


def test_neighbours_count_across_the_parting() -> None:
    for before in range(4085, 4097):
        assert found("," * before + "€" + "202 555 0123" + "," * 4100, ("US",)) == []
