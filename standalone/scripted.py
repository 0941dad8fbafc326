"""What the simulated models answer: scripted texts for the bundled samples, recorded ones, or that they cannot know."""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from standalone.samples import Sample, normalised
from standalone.simulation import Size

SIZES: dict[str, Size] = {"simulated-small": "small", "simulated-medium": "medium", "simulated-large": "large"}
RECORDED_MODELS = ("mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview")
_RELEASE = "2026-11"
_UNKNOWING: dict[Size, float] = {"small": 0.35, "medium": 0.45, "large": 0.55}
_BENCHMARK_ANSWER = "This is the constant answer of a simulated model with fixed latency."
_PIECE = re.compile(r"\s*\S{1,5}|\s+\Z")


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. ``confidence`` is None where no log-probabilities are known."""

    text: str
    served_as: str
    confidence: float | None
    latency_ms: int
    finish_reason: str = "stop"


@dataclass(frozen=True, slots=True)
class Repertoire:
    """Everything the simulated models can answer with."""

    samples: Mapping[str, Sample] = field(default_factory=dict)
    recorded: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    fixed_latency_ms: int | None = None

    @classmethod
    def of(cls, samples: tuple[Sample, ...], recorded: Path | None = None, fixed: int | None = None) -> Repertoire:
        """The answers to ``samples``, those of a recorded file, or constant ones after ``fixed`` milliseconds."""
        by_prompt = {normalised(sample.prompt): sample for sample in samples}
        return cls(by_prompt, load_recorded(recorded) if recorded is not None else {}, fixed)

    @property
    def models(self) -> tuple[str, ...]:
        """The models that can be asked."""
        return (*SIZES, *(RECORDED_MODELS if self.recorded else ()))

    def answer(self, size: Size, prompt: str) -> Answer:
        """What the simulated model of this size answers. ``prompt`` is the last user message."""
        served_as = f"simulated-{size}-{_RELEASE}"
        if self.fixed_latency_ms is not None:
            hard = size == "small" and "hard" in prompt.lower().split()
            return Answer(_BENCHMARK_ANSWER, served_as, 0.4 if hard else 0.95, self.fixed_latency_ms)
        sample = self.samples.get(normalised(prompt))
        if sample is None:
            return Answer(_cannot_know(size), served_as, _UNKNOWING[size], 0)
        script = sample.answers[size]
        return Answer(script.text, served_as, script.confidence, script.latency_ms, script.finish_reason)

    def recorded_answer(self, model: str, prompt: str) -> Answer | None:
        """What ``model`` answered when it was recorded; None if it was not asked this."""
        text = self.recorded.get(prompt, {}).get(model)
        return None if text is None else Answer(text, f"{model} (recorded)", None, self.fixed_latency_ms or 0)


def _cannot_know(size: Size) -> str:
    return (
        f"I am a simulated model ({size}) that knows only the bundled samples, so I cannot know the answer to this. "
        "Put a real model into the catalog to get one."
    )


def load_recorded(path: Path) -> dict[str, dict[str, str]]:
    """Texts of recorded answers by prompt and model. Whether an answer was right is not read."""
    answers: dict[str, dict[str, str]] = {}
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            answers[row["prompt"]] = {model: answer["text"] for model, answer in row["answers"].items()}
    return answers


def estimated_tokens(text: str) -> int:
    """Characters divided by four, rounded up: an estimate, as no tokenizer is at hand."""
    return math.ceil(len(text) / 4)


def logprobs(text: str, confidence: float) -> list[dict[str, Any]]:
    """Tokens of ``text`` with log-probabilities whose geometric mean probability is ``confidence``. Deterministic."""
    pieces = _PIECE.findall(text)
    weights = list(_weights(text, len(pieces)))
    mean = math.log(confidence)
    scale = mean * len(pieces) / sum(weights) if pieces else 0.0
    return [
        {"token": piece, "logprob": scale * weight, "bytes": list(piece.encode("utf-8")), "top_logprobs": []}
        for piece, weight in zip(pieces, weights, strict=True)
    ]


def _weights(text: str, count: int) -> Iterator[float]:
    block = hashlib.sha256(text.encode("utf-8")).digest()
    for index in range(count):
        yield 0.25 + 1.5 * block[index % len(block)] / 255
