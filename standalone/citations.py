"""A verification service's judgement: does every regulation that a text cites exist, with the article it names?

It knows the regulations in ``regulations.yaml`` and nothing else, and says nothing about whether a citation fits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, TypeAdapter

from domain.guardrails import Finding, Verdict
from domain.ports import Verification

REGISTER = Path(__file__).parent / "regulations.yaml"
MAX_FINDINGS = 20


class Regulation(BaseModel):
    """An entry of the register. ``ranges`` hold first and last number of existing articles or sections."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    names: tuple[str, ...]
    ranges: tuple[tuple[int, int], ...]
    inserted: tuple[str, ...] = ()

    def has(self, article: str) -> bool:
        """Whether the article or section called ``article`` (``33``, ``16a``) exists."""
        if not article.isdigit():
            return article.lower() in self.inserted
        return len(article) < 6 and any(first <= int(article) <= last for first, last in self.ranges)


def load_register(path: Path = REGISTER) -> tuple[Regulation, ...]:
    """The entries of a register file."""
    return TypeAdapter(tuple[Regulation, ...]).validate_python(yaml.safe_load(path.read_text(encoding="utf-8")))


@dataclass(frozen=True, slots=True)
class Citation:
    """A place of a text that cites. ``name`` is None for an article without a regulation. Offsets in characters."""

    name: str | None
    articles: tuple[str, ...]
    start: int
    end: int


_SIGN = r"(?:\b(?:Articles?|Arts?\.?|Sections?|Secs?\.?|ss?\.|para(?:graph)?s?\.?)|§{1,2})"
_NUMBER = r"\d{1,6}[a-z]?(?![\w/])(?:\s?\(\d{0,3}[a-z]{0,4}\))*"
_NUMBERS = rf"{_NUMBER}(?:(?:\s?[,-]\s?|\s?\u2013\s?|\s(?:and|or|to|und)\s){_NUMBER}){{0,12}}"
_INSTRUMENT = r"(?:Directive|Regulation)\s(?:\((?:EU|E?EC)\)\s)?(?:No\.?\s)?"
_OFFICIAL = r"\d{2,4}/\d{1,4}"
_BODY = r"(?:/(?:EU|E?EC))?"
_BESIDE = rf"(?:\s\(?(?:{_INSTRUMENT}|\(EU\)\s)?{_OFFICIAL}{_BODY}\)?)?"
"""The official number written behind a name."""
_CAPITALISED = r"[A-Z][\w-]{0,30}"
_NAMED = rf"\b{_CAPITALISED}(?:\s{_CAPITALISED}){{0,5}}\s(?:Directive|Regulation|Act|Code)\b(?:\sof\s\d{{4}}\b)?"
_SHORT = r"\b[A-Za-z]{0,3}[A-Z][A-Za-z]{0,8}[A-Z][A-Za-z]{0,8}\d?(?:\s?(?:I{1,3}|IV|V|\d)\b)?"
# Every repetition is bounded: the text may be hostile.


class CitationCheck:
    """The check with its register. Holds no state; may be used by many requests at once."""

    def __init__(self, register: tuple[Regulation, ...]) -> None:
        self._by_name = {_key(name): entry for entry in register for name in entry.names}
        known = "|".join(
            r"\s".join(re.escape(word) for word in name.split())
            for name in sorted((name for entry in register for name in entry.names), key=len, reverse=True)
        )

        def name(place: str) -> str:
            number = rf"{_INSTRUMENT}(?P<official_{place}>{_OFFICIAL}){_BODY}"
            return (
                rf"(?:(?:the|The)\s)?(?:{number}|\b(?P<known_{place}>{known})\b|(?P<other_{place}>{_NAMED}|{_SHORT}))"
            )

        self._pattern = re.compile(
            rf"{name('ahead')}{_BESIDE},?\s{_SIGN}\s?(?P<numbers_behind>{_NUMBERS})"
            rf"|{_SIGN}\s?(?P<numbers_ahead>{_NUMBERS})(?:,?\s(?:of\s)?{name('behind')})?"
            rf"|{_INSTRUMENT}(?P<official_alone>{_OFFICIAL})"
        )

    def citations(self, text: str) -> Iterator[Citation]:
        """Every citation in ``text``, in order."""
        for match in self._pattern.finditer(text):
            found = {part: text for part, text in match.groupdict().items() if text is not None}
            name = next((text for part, text in found.items() if not part.startswith("numbers")), None)
            numbers = re.sub(r"\([^)]*\)", "", found.get("numbers_behind") or found.get("numbers_ahead") or "")
            yield Citation(name, tuple(re.findall(r"\d+[a-z]?", numbers)), match.start(), match.end())

    def verify(self, text: str) -> Verification:
        """Fail if a citation is not in the register, or there is none; else pass."""
        findings: list[Finding] = []
        cited = 0
        latest: Regulation | None = None
        for citation in self.citations(text):
            cited += bool(citation.articles)
            regulation = latest if citation.name is None else self._by_name.get(_key(citation.name))
            problem = _problem(citation, regulation)
            if problem is not None:
                findings.append(Finding(kind="citation", detail=problem, start=citation.start, end=citation.end))
            latest = regulation
        if findings:
            return _verification(Verdict.FAIL, "; ".join(finding.detail for finding in findings[:3]), findings)
        if not cited:
            return _verification(Verdict.FAIL, "cites no article of a regulation", [])
        return _verification(Verdict.PASS, f"all {cited} citations exist in the register", [])


def _verification(verdict: Verdict, rationale: str, findings: list[Finding]) -> Verification:
    return Verification(verdict=verdict, rationale=rationale, findings=tuple(findings[:MAX_FINDINGS]))


def _problem(citation: Citation, regulation: Regulation | None) -> str | None:
    if citation.name is None and regulation is None:
        return "an article is cited without a regulation"
    if regulation is None:
        return "a regulation is cited that is not in the register"  # its name is the text's, and may be anything
    missing = [article for article in citation.articles if not regulation.has(article)]
    return f"{regulation.title} has no article or section {', '.join(missing)}" if missing else None


def _key(name: str) -> str:
    """One spelling for every way to write a name: official numbers alone, letters without case, spaces and dashes."""
    number = re.search(r"\d{2,4}/\d{2,4}", name)
    return number[0] if number else re.sub(r"[\s-]", "", name).casefold()
