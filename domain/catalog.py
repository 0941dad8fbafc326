"""The catalog of models: who serves them, what they cost, what they may see and what they can do."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from domain.payload import Name, Payload
from domain.usage import Price

EnvironmentName = Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$")]


class ProviderEntry(Payload):
    """Where a provider is reached. Secrets and overrides are named by environment variable, never written down."""

    base_url: Annotated[str, StringConstraints(pattern=r"^https?://")]
    base_url_env: EnvironmentName | None = None
    api_key_env: EnvironmentName | None = None
    logprobs: bool = True
    """Whether to ask for token log-probabilities; some servers refuse a request that does."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the provider calls the longest output; OpenAI's reasoning models only know the second name."""


class VerifierEntry(Payload):
    """An external verification service. Policies name it; only the worker's own catalog says where it is."""

    url: Annotated[str, StringConstraints(pattern=r"^https?://")]
    url_env: EnvironmentName | None = None
    api_key_env: EnvironmentName | None = None


class ModelEntry(Payload):
    """One model. ``price`` is in US dollars per million tokens, ``context_window`` in tokens."""

    name: Name
    provider: Name
    id: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    """The name sent to the provider."""
    version: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    price: Price
    context_window: int = Field(gt=0)
    quality: float = Field(ge=0, le=1)
    """The operator's estimate of the share of answers that are right, compared with ``min_quality``."""
    latency_ms: int = Field(gt=0)
    """Typical time to a whole answer in milliseconds, compared with ``max_latency_ms``."""
    capabilities: tuple[Name, ...] = ()
    data_classes: tuple[Name, ...] = ()


class Catalog(Payload):
    """All models, providers and verifiers an installation knows."""

    providers: dict[Name, ProviderEntry]
    models: tuple[ModelEntry, ...]
    verifiers: dict[Name, VerifierEntry] = Field(default_factory=dict)

    def model_named(self, name: str) -> ModelEntry | None:
        """The entry called ``name``, or None."""
        return next((entry for entry in self.models if entry.name == name), None)
