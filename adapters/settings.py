"""What an operator sets, read from the environment once by each process's composition root.

Four settings are secrets: the database address (it holds a password), the pepper of the API keys, the key that signs
decisions and the client secret for the identity provider. Each can be given as a value in one variable or as a file
named in another, never in both.
How to reach Temporal with TLS or an API key is read by ``temporalio.envconfig`` from its own variables.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from adapters.decision_keys import DecisionKey, DecisionPublicKey
from adapters.secret_files import SecretFileError, long_enough, read, read_or_create_secret
from adapters.secure_address import is_secure
from domain.errors import SluiceError
from domain.identity import Role
from domain.request import TASK_QUEUE

if TYPE_CHECKING:
    from adapters.oidc import OidcClient

_DATABASE = re.compile(r"^(sqlite\+aiosqlite:///|postgresql\+asyncpg://[^/])")
_HOST_PORT = re.compile(r"^(\[[0-9A-Fa-f:.]+\]|[^\s:/]+):([0-9]{1,5})$")


class SettingsError(SluiceError):
    """Settings that cannot be used. The message has one line for each: the environment variable and the remedy."""


def _address(value: str) -> str:
    match = _HOST_PORT.match(value)
    if match is None or not 0 < int(match[2]) < 65536:
        raise ValueError("is not host:port; write for example 127.0.0.1:7233")
    return value


def _database(value: str) -> str:
    if not _DATABASE.match(value):
        raise ValueError(
            "must begin with sqlite+aiosqlite:/// and a path, or postgresql+asyncpg:// and user:password@host/name"
        )
    return value


def _origin(value: str) -> str:
    origin = value.removesuffix("/").lower()
    try:
        parsed = urlsplit(origin)
        fits = parsed.port != 0 and bool(parsed.hostname)
    except ValueError:
        fits = False
    if not fits or not re.fullmatch(r"https?://[a-z0-9.:\[\]-]+", origin):
        raise ValueError("must be scheme, host and, where it is not the usual one, port: https://sluice.example.com")
    return origin.removesuffix({"https": ":443", "http": ":80"}[parsed.scheme])  # as browsers name it


def _issuer(value: str) -> str:
    if not is_secure(value) or re.search(r"[\s?#]", value):
        raise ValueError(
            "must be the https:// address that the provider gives as 'issuer' in its discovery document; http:// only "
            "on this machine"
        )
    return value


def _role_map(value: Any) -> Any:
    """``staff=reviewer,staff=auditor`` as the roles of each value of the claim."""
    if not isinstance(value, str):
        return value
    found: dict[str, set[Role]] = {}
    for pair in value.split(","):
        claimed, _, role = pair.rpartition("=")  # the value of a claim may hold the sign itself
        if not claimed.strip() or role.strip() not in {known.value for known in Role}:
            raise ValueError(
                "must be pairs value=role with commas between them, such as sluice-reviewers=reviewer; roles are "
                + ", ".join(role.value for role in Role)
            )
        found.setdefault(claimed.strip(), set()).add(Role(role.strip()))
    return found


class Settings(BaseSettings):
    """All settings. Fields can be given by name in code; from the environment they come by the names in capitals.

    Relative paths are relative to the folder the process was started in.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_ignore_empty=True,
        case_sensitive=True,
        populate_by_name=True,
        hide_input_in_errors=True,
        validate_default=False,
    )

    temporal_address: Annotated[str, AfterValidator(_address)] = Field(
        default="127.0.0.1:7233", validation_alias="TEMPORAL_ADDRESS"
    )
    temporal_namespace: str = Field(default="default", min_length=1, validation_alias="TEMPORAL_NAMESPACE")
    task_queue: str = Field(default=TASK_QUEUE, min_length=1, max_length=200, validation_alias="SLUICE_TASK_QUEUE")
    database_url: Annotated[str, AfterValidator(_database)] = Field(
        default="sqlite+aiosqlite:///var/sluice.db", repr=False, validation_alias="DATABASE_URL"
    )
    database_url_file: Path | None = Field(default=None, validation_alias="DATABASE_URL_FILE")
    policies: Path = Field(default=Path("policies"), validation_alias="SLUICE_POLICIES")
    catalog: Path = Field(default=Path("policies/catalog.yaml"), validation_alias="SLUICE_CATALOG")
    host: str = Field(default="127.0.0.1", min_length=1, validation_alias="SLUICE_HOST")
    port: int = Field(default=8080, ge=0, le=65535, validation_alias="SLUICE_PORT")
    """Port of the API; 0 takes a free one."""
    max_body_bytes: int = Field(default=1024 * 1024, ge=1024, validation_alias="SLUICE_MAX_BODY_BYTES")
    """Longest request body the API reads, in bytes."""
    hasty_seconds: float = Field(default=5, ge=0, le=3600, validation_alias="SLUICE_HASTY_SECONDS")
    """An approval sooner than this after the review was opened counts as given without reading, in seconds."""
    pepper: SecretStr | None = Field(default=None, validation_alias="SLUICE_PEPPER")
    pepper_file: Path = Field(default=Path("var/pepper"), validation_alias="SLUICE_PEPPER_FILE")
    decision_key: SecretStr | None = Field(default=None, validation_alias="SLUICE_DECISION_KEY")
    decision_key_file: Path = Field(default=Path("var/decision.key"), validation_alias="SLUICE_DECISION_KEY_FILE")
    decision_public_key_file: Path | None = Field(default=None, validation_alias="SLUICE_DECISION_PUBLIC_KEY_FILE")
    """For workers that shall not hold the private key."""
    public_url: Annotated[str, AfterValidator(_origin)] | None = Field(
        default=None, validation_alias="SLUICE_PUBLIC_URL"
    )
    """Where people reach the API, without a slash at the end."""
    oidc_issuer: Annotated[str, AfterValidator(_issuer)] | None = Field(
        default=None, validation_alias="SLUICE_OIDC_ISSUER"
    )
    oidc_client_id: str | None = Field(default=None, validation_alias="SLUICE_OIDC_CLIENT_ID")
    oidc_client_secret: SecretStr | None = Field(default=None, validation_alias="SLUICE_OIDC_CLIENT_SECRET")
    oidc_client_secret_file: Path | None = Field(default=None, validation_alias="SLUICE_OIDC_CLIENT_SECRET_FILE")
    oidc_tenant: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}$", validation_alias="SLUICE_OIDC_TENANT"
    )
    """The tenant of everybody who signs in through the identity provider."""
    oidc_name_claim: str = Field(default="email", min_length=1, validation_alias="SLUICE_OIDC_NAME_CLAIM")
    oidc_role_claim: str = Field(default="roles", min_length=1, validation_alias="SLUICE_OIDC_ROLE_CLAIM")
    oidc_roles: Annotated[dict[str, frozenset[Role]] | None, NoDecode, BeforeValidator(_role_map)] = Field(
        default=None, validation_alias="SLUICE_OIDC_ROLES"
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="info", validation_alias="SLUICE_LOG_LEVEL")

    @model_validator(mode="before")
    @classmethod
    def _from_file(cls, data: Any) -> Any:
        """Put the content of DATABASE_URL_FILE in the place of DATABASE_URL, so that it is checked like it."""
        file = data.get("DATABASE_URL_FILE", data.get("database_url_file")) if isinstance(data, dict) else None
        if file is None:
            return data
        if "DATABASE_URL" in data or "database_url" in data:
            raise ValueError("DATABASE_URL and DATABASE_URL_FILE are both set; unset one")
        try:
            return {**data, "DATABASE_URL": read(Path(file)).decode("utf-8").strip()}
        except (OSError, ValueError, SecretFileError):
            raise ValueError("DATABASE_URL_FILE names a file that cannot be read; correct it or unset it") from None

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        for value in ("pepper", "decision_key", "oidc_client_secret"):
            if {value, f"{value}_file"} <= self.model_fields_set:
                raise ValueError(f"{_variable(value)} and {_variable(f'{value}_file')} are both set; unset one")
        return self

    @model_validator(mode="after")
    def _whole_identity_provider(self) -> Self:
        if not any(field.startswith("oidc_") for field in self.model_fields_set):
            return self
        needed = ("oidc_issuer", "oidc_client_id", "oidc_tenant", "oidc_roles", "public_url")
        missing = ", ".join(_variable(field) for field in needed if getattr(self, field) is None)
        if missing:
            raise ValueError(
                f"sign-in through an identity provider also needs {missing}; set it or unset SLUICE_OIDC_*"
            )
        if self.public_url is not None and not is_secure(self.public_url):
            raise ValueError("SLUICE_PUBLIC_URL must begin with https:// for sign-in through an identity provider")
        return self

    @classmethod
    def load(cls) -> Settings:
        """The settings of this process. Raises ``SettingsError``."""
        try:
            return cls()
        except ValidationError as error:
            raise SettingsError("\n".join(_lines(error))) from None

    def read_pepper(self) -> bytes:
        """The pepper of API keys, made on first use. Raises ``SecretFileError``."""
        if self.pepper is not None:
            return long_enough(self.pepper.get_secret_value().encode("utf-8"), "SLUICE_PEPPER")
        return read_or_create_secret(self.pepper_file)

    def signing_key(self) -> DecisionKey:
        """The key that signs decisions, made on first use. Raises ``SecretFileError``."""
        if self.decision_key is not None:
            return DecisionKey.from_pem(self.decision_key.get_secret_value().encode("utf-8"), "SLUICE_DECISION_KEY")
        return DecisionKey.load_or_create(self.decision_key_file)

    def decision_verifier(self) -> DecisionPublicKey:
        """What workers check decisions with: the public key where one is named, else the private one's public part.

        Raises ``SecretFileError``.
        """
        if self.decision_public_key_file is not None:
            return DecisionPublicKey.load(self.decision_public_key_file)
        return self.signing_key().public

    def oidc_client(self) -> OidcClient | None:
        """How this installation is registered at its identity provider; None without one. ``SecretFileError``."""
        if self.oidc_issuer is None or self.oidc_client_id is None or self.oidc_tenant is None:
            return None
        from adapters.oidc import OidcClient  # only the API pays for the import

        return OidcClient(
            issuer=self.oidc_issuer,
            client_id=self.oidc_client_id,
            client_secret=self._oidc_secret(),
            tenant=self.oidc_tenant,
            roles=self.oidc_roles or {},
            name_claim=self.oidc_name_claim,
            role_claim=self.oidc_role_claim,
        )

    def _oidc_secret(self) -> str | None:
        if self.oidc_client_secret is not None:
            return self.oidc_client_secret.get_secret_value()
        if self.oidc_client_secret_file is None:
            return None
        try:
            secret = read(self.oidc_client_secret_file).decode("utf-8").strip()
        except (OSError, ValueError):
            secret = ""
        if not secret:
            message = "SLUICE_OIDC_CLIENT_SECRET_FILE names a file without a readable secret; correct it or unset it"
            raise SecretFileError(message)
        return secret


def _variable(field: str) -> str:
    return str(Settings.model_fields[field].validation_alias)


def environment_names() -> frozenset[str]:
    """The names of all environment variables that are settings."""
    return frozenset(str(field.validation_alias) for field in Settings.model_fields.values())


def _lines(error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        message = problem["msg"].removeprefix("Value error, ")
        name = ".".join(str(part) for part in problem["loc"])
        remedy = "correct it or unset it" if problem["type"] != "value_error" else ""
        lines.append(": ".join(part for part in (name, message) if part) + (f"; {remedy}" if remedy else ""))
    return lines
