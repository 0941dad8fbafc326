"""Bank account and card numbers in a text: found by form, decided by checksum.

Both functions take folded text (see ``pii.folded``) and return spans (start, end) in character offsets. They look at
each character a bounded number of times, whatever the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

Span = tuple[int, int]

_IBAN_LENGTHS = {
    length: countries.split()
    for length, countries in {
        15: "NO",
        16: "BE",
        18: "DK FI FK FO GL NL SD",
        19: "MK SI",
        20: "AT BA EE KZ LT LU MN XK",
        21: "CH HR LI LV",
        22: "BG BH CR DE GB GE IE ME RS VA",
        23: "AE GI IL IQ OM SO TL",
        24: "AD CZ ES MD PK RO SA SE SK TN VG",
        25: "LY PT ST",
        26: "IS TR",
        27: "BI DJ FR GR IT MC MR SM",
        28: "AL AZ BY CY DO GT HN HU LB NI PL SV",
        29: "BR EG PS QA UA",
        30: "JO KW MU YE",
        31: "MT SC",
        32: "LC",
        33: "RU",
    }.items()
}
IBAN_LENGTH = {country: length for length, countries in _IBAN_LENGTHS.items() for country in countries}
"""Characters of an IBAN by country (ISO 3166), after the IBAN registry of SWIFT."""

_IBAN_START = re.compile(r"(?:(?<![A-Za-z0-9])|(?<=IBAN))[A-Za-z]{2}[ -]?[0-9][ -]?[0-9]")


def ibans(text: str) -> Iterator[Span]:
    """Every IBAN: known country, its length, mod-97 remainder 1 (ISO 13616). Groups may be parted by space or dash."""
    position = 0
    while (start := _IBAN_START.search(text, position)) is not None:
        end = _iban_end(text, start.start())
        if end is not None:
            yield start.start(), end
        position = start.end() if end is None else end


def _iban_end(text: str, start: int) -> int | None:
    length = IBAN_LENGTH.get(text[start : start + 2].upper())
    if length is None:
        return None
    groups, end = _grouped(text, start, length)
    iban = "".join(groups).upper()
    if len(iban) != length or _alphanumeric(text, end) or not _written_as_iban(groups, iban):
        return None
    rearranged = "".join(str(int(character, 36)) for character in iban[4:] + iban[:4])
    return end if "02" <= iban[2:4] <= "98" and int(rearranged) % 97 == 1 else None


def _grouped(text: str, start: int, length: int) -> tuple[list[str], int]:
    """The next ``length`` letters and digits, as grouped by single spaces and dashes, and where they end."""
    groups, size, position = [""], 0, start
    while size < length:
        if _alphanumeric(text, position):
            groups[-1] += text[position]
            size += 1
        elif position < len(text) and text[position] in " -" and groups[-1]:
            groups.append("")
        else:
            break
        position += 1
    return groups, position


def _alphanumeric(text: str, position: int) -> bool:
    return position < len(text) and text[position].isascii() and text[position].isalnum()


def _written_as_iban(groups: list[str], iban: str) -> bool:
    # "at 12 noon we all met" has the letters of an Austrian IBAN. With letters in the account part, only the usual
    # groups of four, or no groups, are an IBAN.
    return len(groups) == 1 or iban[4:].isdigit() or all(len(group) == 4 for group in groups[:-1])


_DIGITS_RUN = re.compile(r"(?<![A-Za-z0-9_])(?<![0-9]\.)[0-9](?:[ -]?[0-9]){12,}+")
_GOES_ON = re.compile(r"[A-Za-z_]|\.[0-9]")
"""Behind digits: they are an identifier or a decimal fraction."""
_CARD_PREFIXES: tuple[tuple[range, frozenset[int]], ...] = tuple(
    (range(first, last + 1), frozenset(lengths))
    for first, last, lengths in (
        (400000, 499999, (16, 19)),  # Visa; its 13 digits are history, and look like a German bar code
        (510000, 559999, (16,)),  # Mastercard
        (222100, 272099, (16,)),
        (340000, 349999, (15,)),  # American Express
        (370000, 379999, (15,)),
        (601100, 601199, range(16, 20)),  # Discover
        (644000, 659999, range(16, 20)),
        (300000, 305999, range(14, 20)),  # Diners Club
        (309500, 309599, range(14, 20)),
        (360000, 369999, range(14, 20)),
        (380000, 399999, range(16, 20)),
        (352800, 358999, range(16, 20)),  # JCB
        (620000, 629999, range(16, 20)),  # UnionPay
        (220000, 220499, range(16, 20)),  # Mir
        (501800, 501899, range(13, 20)),  # Maestro
        (502000, 502099, range(13, 20)),
        (503800, 503899, range(13, 20)),
        (589300, 589399, range(13, 20)),
        (630400, 630499, range(13, 20)),
        (675900, 675999, range(13, 20)),
        (676100, 676399, range(13, 20)),
        (508000, 508999, (16,)),  # RuPay
        (606900, 608599, (16,)),
        (817200, 820199, (16,)),
    )
)
_LONGEST_CARD = 19


def cards(text: str) -> Iterator[Span]:
    """Every payment card number: known prefix, its length, Luhn checksum (ISO/IEC 7812).

    A number begins and ends where a group of digits does, so that an expiry date or a security code written behind it
    does not hide it.
    """
    for run in _DIGITS_RUN.finditer(text):
        groups = [(group.start(), group.end()) for group in re.finditer("[0-9]+", run[0])]
        if _GOES_ON.match(text, run.end()):
            groups.pop()
        taken = 0
        for index, (first, _) in enumerate(groups):
            if index < taken:
                continue
            last = _last_group(run[0], groups, index)
            if last is not None:
                taken = last + 1
                yield run.start() + first, run.start() + groups[last][1]


def _last_group(run: str, groups: list[Span], first: int) -> int | None:
    """The group with which a card number that begins with group ``first`` ends; None if none does. The longest wins."""
    digits, ends = "", {}
    for index in range(first, len(groups)):
        start, end = groups[index]
        if len(digits) + end - start > _LONGEST_CARD:
            break
        digits += run[start:end]
        ends[len(digits)] = index
    lengths = _card_lengths(digits)
    for length in sorted(lengths & ends.keys(), reverse=True):
        if luhn(digits[:length]):
            return ends[length]
    return None


def _card_lengths(digits: str) -> frozenset[int]:
    if len(digits) < 13:
        return frozenset()
    prefix = int(digits[:6])
    return frozenset().union(*(lengths for prefixes, lengths in _CARD_PREFIXES if prefix in prefixes))


def luhn(digits: str) -> bool:
    """Whether the last digit is the Luhn check digit of those before it."""
    total = 0
    for place, digit in enumerate(map(int, reversed(digits))):
        doubled = digit * 2 if place % 2 else digit
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0
