"""The verification services: arithmetic recomputed from prose, citations looked up in the register."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.guardrails import Verdict
from standalone.arithmetic import verify_arithmetic
from standalone.citations import CitationCheck, Regulation, load_register

CITATIONS = CitationCheck(load_register())

RIGHT = [
    "It fills 4 shifts * 55 liters/shift = 220 liters, and 220 liters/day * 6 days/order = 1320 liters/order.",
    "The hall takes 7 * 30 = 210 chairs. We take away: 210 - 85 = 125 chairs.",
    "7 x 85 = <<7*85=595>>595 bricks.\n#### 595",
    "In all 45 (north wing) + 38 (south wing) + 19 (annex) = <<45+38+19=102>>102 desks.",
    "It costs $1,200 + $34.50 = $1,234.50.",
    "60% of 50 = 30, and 25% of the 80 = 20.",
    "100% - 20% = 80%. The price of $100 + 10% = $110.",
    "20/100 = 20%",
    "1/3 * 12 = 4 and (2 + 3) * 4 = 20",
    "2/3 = 0.67, or 2/3 = 0.66 if you cut it, or about 2 / 3 = 1",
    "10 \\* 4 = 40, 7 \N{MULTIPLICATION SIGN} 6 = 42, 9 ÷ 3 = 3, 5 \N{MINUS SIGN} 2 = 3",
    "\\( 5 \\times 4 = 20 \\) and \\[ \\frac{18}{3} = 6 \\] and $\\frac{1}{2} \\cdot 8 = 4$",
    "45 - 5 = 40 / 2 = 20 years",
    "2 * 3 = 12 - 6 = 6",
    "3 * 25 cents = $0.75",
    "1 hour + 30 minutes = 90 minutes",
    "2 * 60 minutes = 2 hours",
    "4 cups / 1/6 cup = 24 lemons",
    "3 times 4 = 12, 3 plus 4 = 7, 12 divided by 4 = 3, 12 multiplied by 2 = 24",
    "2^10 = 1024 and 3**2 = 9",
    "140 / 3 = 46.666666666666664",
    "**Total: 3 * 4 = 12**",
    "The answer is 42.",
    "- 5 + 8 = 13\n- 2 * 4 = 8",
    "4500 / 7 ≈ 640",
]
NOT_READ = [
    "6s + 9 = 3s + 27, so 3s = 18",
    "x + 5 = 12",
    "3 * x = 12",
    "Fare of 7 riders = 7 riders * $2.50 = $17.50",
    "half of 3 * 4 = 6",
    "2 dozen + 3 = 27",
    "1 week = 7 days",
    "2 hours = 120 minutes",
    "15 / 4 = 3 remainder 3",
    "f(2) = 7",
    "3 <= 4, 5 >= 2, a => 4",
    "On 12/25 at 3:00 it was 5.",
]
WRONG = [
    "2 + 2 = 5",
    "4 shifts * 55 liters/shift = 230 liters",
    "So he pays <<5*8=45>>45 dollars.\n#### 45",
    "It costs $1,200 + $34.50 = $1,235.50.",
    "60% of 50 = 20",
    "1/3 * 12 = 3",
    "(2 + 3) * 4 = 14",
    "5 \N{MINUS SIGN} 2 = 4",
    "10 - 3 = 7 - 2 = 4",
    "4 / 0 = 0",
    "which leaves 61 + 37 = <<61+3",
    "which leaves 61 + 37 =",
    "I cannot tell.",
    "",
]


@pytest.mark.parametrize("text", RIGHT)
def test_right_arithmetic_passes(text: str) -> None:
    said = verify_arithmetic(text)
    assert said.verdict is Verdict.PASS, said.rationale


@pytest.mark.parametrize("text", NOT_READ)
def test_what_is_no_plain_arithmetic_raises_no_alarm(text: str) -> None:
    said = verify_arithmetic(text)
    assert said.verdict is Verdict.PASS, said.rationale


@pytest.mark.parametrize("text", WRONG)
def test_wrong_or_broken_off_arithmetic_fails(text: str) -> None:
    assert verify_arithmetic(text).verdict is Verdict.FAIL


def test_a_finding_points_at_the_equation_and_does_not_repeat_the_text() -> None:
    text = "First \\(2 \\times 3 = 6\\), then 6 apples * 4 = 25 apples."
    said = verify_arithmetic(text)
    (finding,) = said.findings
    assert text[finding.start : finding.end] == "6 apples * 4 = 25"
    assert "24" in finding.detail
    assert "25" not in finding.detail
    assert said.score == 0.5


numbers = st.integers(1, 5000)
units = st.sampled_from(["", " apples", " kg", " boxes of tea", " meters/lap"])
signs = st.sampled_from(
    [
        *(("+", "+"), ("-", "-"), ("*", "*"), ("*", "\N{MULTIPLICATION SIGN}"), ("*", "x"), ("*", "\\*")),
        *(("/", "/"), ("/", "\N{DIVISION SIGN}")),
    ]
)


@st.composite
def sums(draw: st.DrawFn) -> tuple[str, Fraction]:
    """A sum as prose has it, and what it comes to."""
    first = draw(numbers)
    text, formula = f"{first}{draw(units)}", [Fraction(first)]
    operators: list[str] = []
    for _ in range(draw(st.integers(1, 3))):
        meant, written = draw(signs)
        number = draw(numbers)
        text += f" {written} {number}{draw(units)}"
        operators.append(meant)
        formula.append(Fraction(number))
    return text, in_order(formula, operators)


def in_order(formula: list[Fraction], operators: list[str]) -> Fraction:
    """The value with multiplication and division first."""
    terms = [formula[0]]
    for operator, number in zip(operators, formula[1:], strict=True):
        if operator == "*":
            terms[-1] *= number
        elif operator == "/":
            terms[-1] /= number
        else:
            terms.append(number if operator == "+" else -number)
    return sum(terms, Fraction(0))


def shown(value: Fraction) -> str:
    return f"{value.numerator:,}" if value.denominator == 1 else f"{float(round(value, 4)):.4f}"


@settings(deadline=None)
@given(sums(), units)
def test_every_true_equation_passes(written: tuple[str, Fraction], unit: str) -> None:
    text, result = written
    said = verify_arithmetic(f"So they have {text} = {shown(result)}{unit}, and that is it.")
    assert said.verdict is Verdict.PASS, said.rationale
    assert said.score == 1


@settings(deadline=None)
@given(sums(), st.integers(2, 900), st.sampled_from([-1, 1]))
def test_every_false_equation_fails(written: tuple[str, Fraction], off: int, sign: int) -> None:
    text, result = written
    false = shown(result + sign * off) if result.denominator == 1 else shown(result + sign * Fraction(off, 1000))
    assert verify_arithmetic(f"So they have {text} = {false} in the end.").verdict is Verdict.FAIL


@settings(deadline=None)
@given(sums(), sums())
def test_one_false_equation_among_true_ones_is_found(first: tuple[str, Fraction], second: tuple[str, Fraction]) -> None:
    good, bad = f"{first[0]} = {shown(first[1])}", f"{second[0]} = {shown(second[1] + 3)}"
    assert verify_arithmetic(f"We see {good}. Then {bad}.").verdict is Verdict.FAIL


@settings(deadline=None)
@given(st.text(max_size=300))
def test_no_text_breaks_the_checks(text: str) -> None:
    assert verify_arithmetic(text).verdict in (Verdict.PASS, Verdict.FAIL)
    assert CITATIONS.verify(text).verdict in (Verdict.PASS, Verdict.FAIL)


@settings(deadline=None)
@given(st.text(alphabet="0123456789 +-*/=^().,%<>x$ab\n", max_size=200))
def test_no_formula_breaks_the_check(text: str) -> None:
    assert verify_arithmetic(text).verdict in (Verdict.PASS, Verdict.FAIL)


@pytest.mark.parametrize(
    "piece", ["1+", "1+1=", "(", "<<2+2=4>>", "A-", "Ab ", "Art. 1, ", "§ 3 GDPR ", "\n=", "9^9=1 "]
)
def test_a_long_hostile_text_is_judged_in_time(piece: str) -> None:
    text = piece * (64_000 // len(piece))
    began = time.process_time()
    verify_arithmetic(text)
    CITATIONS.verify(text)
    assert time.process_time() - began < 10


@pytest.mark.parametrize(
    "text",
    [
        "GDPR Art. 33 applies, as do MiFID II Art. 25, AML Directive 2015/849 Art. 18 and SOX s. 404.",
        "Articles 33 and 34 of the GDPR apply; Art. 5 as well.",
        "Section 404 of the Sarbanes-Oxley Act of 2002, and § 302 SOX",
        "Directive (EU) 2015/849, Art. 18a",
        "Regulation (EU) 2016/679 Art. 6(1)(f)",
        '["GDPR Art. 6", "PSD2 Art. 97"]',
    ],
)
def test_existing_articles_pass(text: str) -> None:
    said = CITATIONS.verify(text)
    assert said.verdict is Verdict.PASS, said.rationale


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("See GDPR Art. 106.", "GDPR Art. 106"),
        ("See SOX s. 999 there", "SOX s. 999"),
        ("the Consumer Honesty Act s. 12", "the Consumer Honesty Act s. 12"),
        ("GDPR Art. 5 and Regulation (EU) 2099/1 too", "Regulation (EU) 2099/1"),
        ("Art. 6 says so", "Art. 6"),
        ("GDPR Arts. 5 and 120", "GDPR Arts. 5 and 120"),
    ],
)
def test_what_does_not_exist_fails_with_its_place(text: str, span: str) -> None:
    said = CITATIONS.verify(text)
    assert said.verdict is Verdict.FAIL
    assert text[said.findings[0].start : said.findings[0].end] == span


def test_a_text_without_citation_fails() -> None:
    said = CITATIONS.verify("This is allowed under the GDPR.")
    assert (said.verdict, said.findings) == (Verdict.FAIL, ())
    assert "no article" in said.rationale


def test_inserted_articles_exist_only_where_listed() -> None:
    entry = Regulation(title="Test", names=("T",), ranges=((1, 9),), inserted=("3a",))
    assert [entry.has(article) for article in ("1", "9", "10", "3a", "3b", "0")] == [
        True,
        True,
        False,
        True,
        False,
        False,
    ]
