"""The catalog: models, who serves them, what they cost and may see; and where verifiers and channels are."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias
from urllib.parse import urlsplit

from pydantic import Field, StringConstraints, model_validator

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


_HTTPS_OR_PRIVATE = (
    "'url' begins with http://, which anybody on the way can read; use https://, or set allow_private: true for a "
    "service in your own network"
)
_STARTTLS_OR_PRIVATE = (
    "'starttls' is false, so anybody on the way can read the mail; leave it out, or set allow_private: true for a mail "
    "server in your own network"
)
_SMTPS_PORT = 465
MailAddress: TypeAlias = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9.-]+$", max_length=254)
]
"""A bare mail address without a display name, such as ``reviews@example.com``."""


class WebhookChannel(Payload):
    """A service that is told by webhook, signed as Standard Webhooks. ``url_env`` wins over ``url`` where it is set."""

    kind: Literal["webhook"]
    url: Annotated[str, StringConstraints(pattern=r"^https?://", max_length=2000)] | None = None
    url_env: EnvironmentName | None = None
    secret_env: EnvironmentName
    """Holds ``whsec_`` and the base64 of 24 to 64 random bytes, which the receiver knows too."""
    allow_private: bool = False
    """Whether it may be at an address that is not public, and may do without TLS."""

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.url is None and self.url_env is None:
            raise ValueError("nothing says where the channel is; add url: or url_env:")
        if self.url is None:
            return self
        if self.url.startswith("http:") and not self.allow_private:
            raise ValueError(_HTTPS_OR_PRIVATE)
        try:
            names_user = urlsplit(self.url).username is not None
        except ValueError:
            raise ValueError("'url' is no address; correct it") from None
        if names_user:
            raise ValueError("'url' holds a user name or password; remove it, or put the whole address into url_env")
        return self


class SlackChannel(Payload):
    """A Slack channel, told through an incoming webhook. Its address is a secret, so only the environment holds it."""

    kind: Literal["slack"]
    url_env: EnvironmentName
    allow_private: bool = False
    """Whether it may be at an address that is not public, and may do without TLS."""


class EmailChannel(Payload):
    """Mail to ``to`` through the submission server ``host``."""

    kind: Literal["email"]
    host: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9:]([A-Za-z0-9.:-]*[A-Za-z0-9:])?$", max_length=253)]
    port: int = Field(default=587, ge=1, le=65535)
    starttls: bool = True
    username_env: EnvironmentName | None = None
    password_env: EnvironmentName | None = None
    sender: MailAddress
    to: tuple[MailAddress, ...] = Field(min_length=1, max_length=50)
    allow_private: bool = False
    """Whether the server may be at an address that is not public, and may do without TLS."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if (self.username_env is None) != (self.password_env is None):
            raise ValueError("'username_env' and 'password_env' go together; add the other one or leave both out")
        if not self.starttls and not self.allow_private:
            raise ValueError(_STARTTLS_OR_PRIVATE)
        if self.port == _SMTPS_PORT:
            raise ValueError("'port' 465 expects TLS before the first word; use the server's STARTTLS port, mostly 587")
        return self


ChannelEntry: TypeAlias = Annotated[WebhookChannel | SlackChannel | EmailChannel, Field(discriminator="kind")]
"""Where people and services are told what happens to a request. Policies and requests name it; only the worker's own
catalog says where it is. Secrets are named by environment variable, never written down."""


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
    """All models, providers, verifiers and channels an installation knows."""

    providers: dict[Name, ProviderEntry]
    models: tuple[ModelEntry, ...]
    verifiers: dict[Name, VerifierEntry] = Field(default_factory=dict)
    channels: dict[Name, ChannelEntry] = Field(default_factory=dict)

    def model_named(self, name: str) -> ModelEntry | None:
        """The entry called ``name``, or None."""
        return next((entry for entry in self.models if entry.name == name), None)
