"""What came of recorded questions: accuracy and cost of the cascade beside simpler ways to use the same two models.

Only this report reads whether a recorded answer was right; nothing that decides over a request ever sees it. Every
share has a 95 % Wilson interval, except expected values. Costs are exact, over tokens that are counted as
characters / 4, because tokens were not recorded.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from domain.catalog import ModelEntry

CHARACTERS_PER_TOKEN = 4
TOKENS_NOTE = "tokens were not recorded; each text is counted as characters / 4, rounded up"
_Z_95 = 1.959963984540054
_MILLION = Decimal(1_000_000)
_EQUAL_WITHIN = Decimal("1e-9")
"""Costs that differ by less are equal: what the API tells is a binary floating-point number."""


@dataclass(frozen=True)
class RecordedAnswer:
    """A model's recorded answer, and whether it was right."""

    text: str
    correct: bool


@dataclass(frozen=True)
class Question:
    """A recorded question with the answers it was given, by the models' provider-side names."""

    id: str
    prompt: str
    answers: Mapping[str, RecordedAnswer]


@dataclass(frozen=True)
class Told:
    """What the API told of one question: where it ended, with whose answer, at what cost.

    ``model`` is the catalog's name of the model whose answer was released or is held; empty where there is none.
    ``objections`` name the checks that the first stage's answer did not pass, ``unjudged`` those of any stage that
    could not judge.
    """

    question: Question
    request_id: str
    status: str
    model: str
    text: str
    stages: int
    cost_usd: Decimal
    objections: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()
    reason: str = ""


@dataclass(frozen=True)
class Pair:
    """The two models of the cascade, in its order, and how to look their recorded answers up."""

    cheap: ModelEntry
    strong: ModelEntry

    def named(self, name: str) -> ModelEntry | None:
        """The one the catalog calls ``name``."""
        return next((model for model in (self.cheap, self.strong) if model.name == name), None)


def answer_of(question: Question, model: ModelEntry) -> RecordedAnswer:
    """What ``model`` was recorded to answer."""
    return question.answers[model.id]


def right(told: Told, pair: Pair) -> bool:
    """Whether the answer that was released, or is held, was right."""
    model = pair.named(told.model)
    return model is not None and answer_of(told.question, model).correct


def call_cost(question: Question, model: ModelEntry) -> Decimal:
    """What one call of ``model`` costs in US dollars, from the texts alone; not the way the cascade computes it."""
    sent, received = (
        -(-len(text) // CHARACTERS_PER_TOKEN) for text in (question.prompt, answer_of(question, model).text)
    )
    return (model.price.input * sent + model.price.output * received) / _MILLION


def wilson(hits: int, of: int) -> tuple[float, float] | None:
    """The 95 % Wilson score interval of a share; None of nothing."""
    if of == 0:
        return None
    share, z = hits / of, _Z_95
    centre = share + z * z / (2 * of)
    spread = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    scale = 1 + z * z / of
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def problems(asked: Sequence[Question], told: Sequence[Told], pair: Pair) -> list[str]:
    """Why the figures must not be believed; empty if they may.

    Every question must have exactly one request that ended or is held, with the recorded text of the model it names,
    every check must have judged, and each cost must equal the sum recomputed from the texts.
    """
    found = [f"{len(asked)} questions were asked and {len(told)} answers came back"] if len(asked) != len(told) else []
    if len({item.request_id for item in told}) != len(told):
        found.append("two questions share one request")
    for item in told:
        found.extend(f"{item.question.id}: {problem}" for problem in _problems_of(item, pair))
    return found


def _problems_of(told: Told, pair: Pair) -> Iterable[str]:
    if told.status not in ("completed", "held"):
        yield f"ended as {told.status}: {told.reason or 'no reason was told'}"
        return
    model = pair.named(told.model)
    if model is None:
        yield f"is {told.status} with an answer of {told.model or 'no model'}"
    elif told.text != answer_of(told.question, model).text:
        yield f"the text that is {told.status} is not what {model.name} was recorded to answer"
    yield from (f"check {name} could not judge" for name in told.unjudged)
    expected = recomputed_cost(told, pair)
    if abs(told.cost_usd - expected) > _EQUAL_WITHIN:
        yield f"cost is told as {told.cost_usd:f} USD, recomputed from the texts it is {expected:f} USD"


def recomputed_cost(told: Told, pair: Pair) -> Decimal:
    """What the calls of this question must have cost: the cheap model always, the strong one if it was asked."""
    return sum((call_cost(told.question, model) for model in (pair.cheap, pair.strong)[: told.stages]), Decimal(0))


def report(told: Sequence[Told], pair: Pair) -> dict[str, Any]:
    """All figures, ready for JSON."""
    escalated = [item for item in told if item.stages > 1]
    released = [item for item in told if item.status == "completed"]
    held = [item for item in told if item.status == "held"]
    cost = sum((item.cost_usd for item in told), Decimal(0))
    return {
        "questions": len(told),
        "models": {"cheap": pair.cheap.id, "strong": pair.strong.id},
        "tokens": TOKENS_NOTE,
        "strategies": _strategies(told, pair),
        "released": _share(len(released), len(told), "count"),
        "held_proposals": _share(sum(right(item, pair) for item in held), len(held), "right"),
        "escalated": _share(len(escalated), len(told), "count"),
        "held": _share(len(held), len(told), "count"),
        "escalated_answers": {
            "right_before": sum(answer_of(item.question, pair.cheap).correct for item in escalated),
            "right_after": sum(right(item, pair) for item in escalated),
        },
        "guardrails": _guardrails(told, pair),
        "accounting": {
            "cost_usd_told": _usd(cost),
            "cost_usd_recomputed_from_texts": _usd(sum((recomputed_cost(item, pair) for item in told), Decimal(0))),
        },
    }


def _strategies(told: Sequence[Told], pair: Pair) -> list[dict[str, Any]]:
    questions = [item.question for item in told]
    asked = sum(item.stages > 1 for item in told)
    longest = {item.id for item in sorted(questions, key=lambda item: len(item.prompt), reverse=True)[:asked]}
    rows = [
        _routed("always cheap", "the cheap model alone", questions, pair, lambda _: False),
        _routed("always strong", "the strong model alone", questions, pair, lambda _: True),
        _random(questions, pair, asked),
        _routed(
            "longest prompts strong",
            f"the {asked} longest prompts go to the strong model, all others to the cheap one",
            questions,
            pair,
            lambda item: item.id in longest,
        ),
        _routed(
            "oracle",
            "knows what is right: the strong model only where the cheap one is wrong",
            questions,
            pair,
            lambda item: not answer_of(item, pair.cheap).correct,
        ),
        *_sluice(told, pair, asked),
    ]
    strong = rows[1]["cost_usd"]
    return [row | {"cost_of_always_strong": row["cost_usd"] / strong if strong else None} for row in rows]


def _sluice(told: Sequence[Told], pair: Pair, asked: int) -> Iterator[dict[str, Any]]:
    """The cascade, told apart by what is made of held answers. All calls are paid for in each."""
    released = [item for item in told if item.status == "completed"]
    unchanged = sum(right(item, pair) for item in told)
    corrected = sum(item.status == "held" or right(item, pair) for item in told)
    sums = {
        "cost_usd": _usd(sum((item.cost_usd for item in told), Decimal(0))),
        "strong_share": _ratio(asked, len(told)),
    }
    for name, note, hits, of in (
        ("Sluice: released", "of the answers that were released", sum(right(i, pair) for i in released), len(released)),
        (
            "Sluice: held unchanged",
            "of all questions, if every held answer were released as it is",
            unchanged,
            len(told),
        ),
        ("Sluice: held corrected", "of all questions, if a person put every held answer right", corrected, len(told)),
    ):
        yield {"name": name, "note": note, **_share(hits, of, "right"), **sums}


def _routed(
    name: str, note: str, questions: Sequence[Question], pair: Pair, strong: Callable[[Question], bool]
) -> dict[str, Any]:
    """A router that asks exactly one model a question."""
    chosen = [(item, pair.strong if strong(item) else pair.cheap) for item in questions]
    return {
        "name": name,
        "note": note,
        **_share(sum(answer_of(item, model).correct for item, model in chosen), len(chosen), "right"),
        "cost_usd": _usd(sum((call_cost(item, model) for item, model in chosen), Decimal(0))),
        "strong_share": _ratio(sum(model is pair.strong for _, model in chosen), len(chosen)),
    }


def _random(questions: Sequence[Question], pair: Pair, asked: int) -> dict[str, Any]:
    """What sending ``asked`` questions drawn by chance to the strong model comes to on average."""
    count = len(questions)
    hits, cost = Fraction(0), Fraction(0)
    for model, times in ((pair.cheap, count - asked), (pair.strong, asked)):
        hits += Fraction(times * sum(answer_of(item, model).correct for item in questions), count or 1)
        cost += Fraction(times * sum((call_cost(item, model) for item in questions), Decimal(0))) / (count or 1)
    return {
        "name": "random, as many strong",
        "note": f"{asked} questions drawn by chance go to the strong model; expected value",
        "right": round(float(hits), 2),
        "of": count,
        "share": float(hits / count) if count else None,
        "interval_95": None,
        "cost_usd": round(float(cost), 9),
        "strong_share": _ratio(asked, count),
    }


def _guardrails(told: Sequence[Told], pair: Pair) -> dict[str, Any]:
    """What the checks said of the cheap model's answers, against whether those were right."""
    wrong = [item for item in told if not answer_of(item.question, pair.cheap).correct]
    correct = [item for item in told if answer_of(item.question, pair.cheap).correct]
    names = sorted({name for item in told for name in item.objections})
    return {
        "wrong_cheap_answers_caught": _share(sum(bool(item.objections) for item in wrong), len(wrong), "count"),
        "false_alarms_on_right_ones": _share(sum(bool(item.objections) for item in correct), len(correct), "count"),
        "by_check": {
            name: {
                "wrong_caught": sum(name in item.objections for item in wrong),
                "false_alarms": sum(name in item.objections for item in correct),
            }
            for name in names
        },
    }


def _share(hits: int, of: int, what: str) -> dict[str, Any]:
    return {what: hits, "of": of, "share": _ratio(hits, of), "interval_95": _interval(hits, of)}


def _interval(hits: int, of: int) -> list[float] | None:
    interval = wilson(hits, of)
    return None if interval is None else [round(end, 6) for end in interval]


def _ratio(hits: int, of: int) -> float | None:
    return hits / of if of else None


def _usd(amount: Decimal) -> float:
    return float(round(amount, 9))
