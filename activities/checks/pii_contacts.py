"""E-mail addresses and phone numbers in a text.

The functions take folded text (see ``pii.folded``) and return spans (start, end) in character offsets, in time linear
in the text.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence

Span = tuple[int, int]

_LONGEST_LOCAL = 64
_LONGEST_DOMAIN = 253
_FIRST_UNSPACED = "\u2e80"
"""From here on, scripts write words without spaces: such letters before an address are words, not part of it."""
_SPACED_DOMAIN = re.compile(rf"[0-9A-Za-z\u00c0-\u1fff.-]{{1,{_LONGEST_DOMAIN}}}")
_ANY_DOMAIN = re.compile(rf"[^\W_](?:[^\W_]|[.-]){{0,{_LONGEST_DOMAIN - 1}}}")
_TOP_LEVEL = re.compile(r"[^\W\d_]{2,63}|xn--[0-9a-z-]{1,59}", re.IGNORECASE)


def emails(text: str) -> Iterator[Span]:
    """Every address of the form local@domain whose domain has a top level of letters. Unicode addresses count."""
    for at in re.finditer("@", text):
        start, end = _local_start(text, at.start()), _domain_end(text, at.end())
        if start < at.start() and end is not None:
            yield start, end


def _local_start(text: str, at: int) -> int:
    start = at
    while start > 0 and at - start < _LONGEST_LOCAL and _in_local(text[start - 1]):
        start -= 1
    while start < at and text[start] in ".'-":
        start += 1
    return start


def _in_local(character: str) -> bool:
    return character in ".!#$%&'*+-/=?^_`{|}~" or (character < _FIRST_UNSPACED and character.isalnum())


def _domain_end(text: str, start: int) -> int | None:
    for form in (_SPACED_DOMAIN, _ANY_DOMAIN):
        match = form.match(text, start)
        domain = match[0].rstrip(".-") if match else ""
        # "…@example.com.2 more" ends a sentence inside what looks like the domain: drop labels that cannot be its end.
        while "." in domain:
            if _TOP_LEVEL.fullmatch(domain.rpartition(".")[2]) and not _versioned(domain):
                return start + len(domain)
            domain = domain.rpartition(".")[0].rstrip(".-")
    return None


def _versioned(domain: str) -> bool:
    """Whether it is a package version such as ``1.0.0-rc.beta`` behind its @."""
    return re.match(r"v?\d+\.\d+", domain) is not None


_DATE = r"(?:19|20)\d\d([-/.])(?:0?[1-9]|1[0-2])\1(?:0?[1-9]|[12]\d|3[01])"
_EUROPEAN_DATE = r"(?:0?[1-9]|[12]\d|3[01])([-/.])(?:0?[1-9]|[12]\d|3[01])\2(?:(?:19|20)\d\d|\d\d)"
_YEARS = r"(?:19|20)\d\d ?[-/] ?(?:19|20)\d\d"
_TIME = r"(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d+)?)?"
_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_ADDRESS = rf"{_OCTET}(?:\.{_OCTET}){{3}}"
_NO_PHONE = re.compile(
    rf"(?<![\d+(])(?<!\d[-/.])(?:{_DATE}|{_EUROPEAN_DATE}|{_YEARS}|{_TIME}|{_ADDRESS})(?![\d)]|[-/.:]\d)", re.ASCII
)
"""Dates, years, times of day and IP addresses. Blanked, for some are valid phone numbers somewhere."""

_CUE = re.compile(
    r"phone|fon\b|telef|mobile|whatsapp|(?<![^\W\d_])(?:tel|tél|mobil|cell|handy|fax|call|dial|ring|sms|text(?! *box)"
    r"|contact|reach|rufnummer|móvil|celular|portable|appel|llam|chiam|ligue|anruf|тел|мобильн|звон)"
    r"|电话|電話|手机|手機|携帯|전화|هاتف|फ़ोन|फोन",
    re.IGNORECASE,
)
_BEFORE, _AFTER = 40, 16
_BLANK = ","
"""Stands in for what is no phone number; phone numbers are never written across it."""


_PIECE = 4096
_SHORTEST_PIECE = 2048
_OVERLAP = 64
_PHONE_CHARACTERS = frozenset("0123456789 ()[]./+-~\t;=#ext")


def phones(
    text: str, regions: Sequence[str], taken: Sequence[Span], most: int, seconds: float
) -> tuple[list[Span], bool]:
    """Phone numbers outside the spans ``taken``, and whether the search came to its end within ``seconds``.

    It also ends, as complete, when ``most`` numbers are found.

    Valid international numbers, and numbers valid in one of ``regions`` as they are written there. Bare digits without
    a national prefix, and digits glued to an identifier, are a phone number only near a word such as "phone" or "call":
    one order number in three would be a valid American phone number.
    """
    from phonenumbers import Leniency, PhoneNumberMatcher

    give_up = time.monotonic() + seconds
    found: set[Span] = set()
    for offset, piece in _pieces(_blanked(text, taken)):
        for region in regions or (None,):
            # The library gives up silently after max_tries; a text that was not read to its end must not pass.
            for match in PhoneNumberMatcher(piece, region, Leniency.VALID, 10 * len(piece)):
                span = offset + match.start, offset + match.end
                if _meant_as_phone(text, *span):
                    found.add(span)
        if len(found) >= most:
            break
        if time.monotonic() > give_up:
            return _apart(found), False
    return _apart(found), True


def _pieces(text: str) -> Iterator[tuple[int, str]]:
    """``text`` in pieces with their offsets, parted where no phone number is, if there is such a place.

    The character at the parting belongs to both pieces: whether digits are a phone number depends on their neighbours.
    """
    start = 0
    while len(text) - start > _PIECE:
        end = start + _PIECE
        while end > start + _SHORTEST_PIECE and text[end - 1] in _PHONE_CHARACTERS:
            end -= 1
        yield start, text[start:end]
        start = end - 1 if end > start + _SHORTEST_PIECE else end - _OVERLAP
    yield start, text[start:]


def unknown_regions(regions: Sequence[str]) -> list[str]:
    """Those of ``regions`` whose phone numbers are not known, and in which none would ever be found."""
    from phonenumbers import SUPPORTED_REGIONS

    return [region for region in regions if region not in SUPPORTED_REGIONS]


def _blanked(text: str, taken: Sequence[Span]) -> str:
    parts, position = [], 0
    for start, end in taken:
        parts += [text[position:start], _BLANK * (end - start)]
        position = end
    parts.append(text[position:])
    return _NO_PHONE.sub(lambda match: _BLANK * len(match[0]), "".join(parts))


def _meant_as_phone(text: str, start: int, end: int) -> bool:
    number = text[start:end]
    if number.startswith("+"):
        return True
    bare = number.isdigit() and not (number.startswith("0") and len(number) >= 10)
    glued = re.search(r"[A-Za-z0-9][-_/#.]$", text[max(0, start - 2) : start]) is not None
    if not bare and not glued and not _version(number):
        return True
    return _CUE.search(text[max(0, start - _BEFORE) : start]) is not None or (
        _CUE.search(text[end : end + _AFTER]) is not None
    )


def _version(number: str) -> bool:
    """Whether it is dotted like a version, with a part of one digit other than a leading 0 or 1."""
    parts = number.split(".")
    if len(parts) < 3 or not all(part.isdigit() for part in parts):
        return False
    return any(len(part) == 1 for part in parts[1:]) or (len(parts[0]) == 1 and parts[0] not in "01")


def _apart(spans: set[Span]) -> list[Span]:
    """The spans in order, without those that overlap an earlier one; of two that begin together the longer stays."""
    apart: list[Span] = []
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        if not apart or start >= apart[-1][1]:
            apart.append((start, end))
    return apart
