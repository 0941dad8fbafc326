"""The bundled sample requests, with the simulated models' answers to them and what the policy should make of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from domain.payload import Name, Scalar, Text
from domain.request import Constraints, ContextKey, Message, RequestBody
from standalone.simulation import Size

_SIZES: tuple[Size, ...] = ("small", "medium", "large")
SAMPLES = Path(__file__).parent / "samples"


class SampleError(ValueError):
    """A sample file cannot be used. Names file and field."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SampleRequest(_Strict):
    """The body of ``POST /v1/requests`` without ``policy``, which the file's name gives."""

    input: Text | None = None
    messages: tuple[Message, ...] | None = None
    context: dict[ContextKey, Scalar] = Field(default_factory=dict)
    constraints: Constraints = Constraints()
    subject: Text | None = None
    metadata: dict[ContextKey, Text] = Field(default_factory=dict)


class ScriptedAnswer(_Strict):
    """What one simulated model answers. ``confidence`` is the geometric mean of its token probabilities."""

    text: str
    confidence: float = Field(gt=0, le=1)
    latency_ms: int = Field(ge=0, le=60_000)
    finish_reason: Literal["stop", "length", "content_filter"] = "stop"


class Expectation(_Strict):
    """How the request should end or stand. ``stage`` is the model whose answer is released or held, if any is."""

    status: Literal["completed", "held", "refused"]
    stage: Size | None = None
    because: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _released_by_a_stage(self) -> Self:
        if self.status == "completed" and self.stage is None:
            raise ValueError("a completed sample names the 'stage' whose answer is released")
        return self


class Sample(_Strict):
    """One sample request of a policy."""

    policy: Name
    id: Name
    request: SampleRequest
    answers: dict[Size, ScriptedAnswer]
    expect: Expectation

    @model_validator(mode="before")
    @classmethod
    def _same_text(cls, data: Any) -> Any:
        """A model without a 'text' answers with the text of the next smaller one."""
        if not isinstance(data, dict) or not isinstance(answers := data.get("answers"), dict):
            return data
        filled: dict[Any, Any] = {}
        text = None
        for size in sorted(answers, key=lambda size: _SIZES.index(size) if size in _SIZES else len(_SIZES)):
            answer = answers[size]
            if isinstance(answer, dict):
                answer = answer if "text" in answer or text is None else {**answer, "text": text}
                text = answer.get("text")
            filled[size] = answer
        return {**data, "answers": filled}

    @model_validator(mode="after")
    def _three_answers(self) -> Self:
        if set(self.answers) != set(_SIZES):
            raise ValueError("'answers' needs small, medium and large")
        self.body()
        return self

    def body(self) -> RequestBody:
        """The request as the API takes it."""
        given = self.request.model_dump(exclude_unset=True)
        return RequestBody.model_validate({**given, "policy": self.policy}, extra="forbid")

    @property
    def prompt(self) -> str:
        """The text of the last user message, by which the simulated provider knows the sample."""
        return next(message.content for message in reversed(self.body().conversation()) if message.role == "user")


def normalised(text: str) -> str:
    """``text`` with every run of white space as one blank, none at the ends."""
    return " ".join(text.split())


def load_samples(directory: Path = SAMPLES) -> tuple[Sample, ...]:
    """All samples of ``directory``, one file per policy. Raises ``SampleError`` naming file, sample and field."""
    samples: list[Sample] = []
    for path in sorted(directory.glob("*.yaml")):
        entries = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(entries, list):
            raise SampleError(f"{path.name}: holds no list of samples")
        samples.extend(_sample(path, entry) for entry in entries)
    for name, values in (("id", [sample.id for sample in samples]), ("text", [normalised(s.prompt) for s in samples])):
        repeated = sorted({value for value in values if values.count(value) > 1})
        if repeated:
            raise SampleError(f"{directory}: two samples have the same {name}: {repeated[0][:80]!r}")
    return tuple(samples)


def _sample(path: Path, entry: object) -> Sample:
    if not isinstance(entry, dict):
        raise SampleError(f"{path.name}: an entry is no mapping")
    try:
        return Sample.model_validate({"policy": path.stem, **entry})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise SampleError(f"{path.name}: sample {entry.get('id')!r}: {place}: {first['msg']}") from None
