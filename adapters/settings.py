"""What an operator sets, read from the environment once by each process's composition root.

Three settings are secrets: the database address (it holds a password), the pepper of the API keys and the key that
signs decisions. Each can be given as a value in one variable or as a file named in another, never in both.
How to reach Temporal with TLS or an API key is read by ``temporalio.envconfig`` from its own variables.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from adapters.decision_keys import DecisionKey, DecisionPublicKey
from adapters.secret_files import SecretFileError, long_enough, read, read_or_create_secret
from domain.errors import SluiceError
from domain.ports import DecisionVerifier
from domain.request import TASK_QUEUE

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
    pepper: SecretStr | None = Field(default=None, validation_alias="SLUICE_PEPPER")
    pepper_file: Path = Field(default=Path("var/pepper"), validation_alias="SLUICE_PEPPER_FILE")
    decision_key: SecretStr | None = Field(default=None, validation_alias="SLUICE_DECISION_KEY")
    decision_key_file: Path = Field(default=Path("var/decision.key"), validation_alias="SLUICE_DECISION_KEY_FILE")
    decision_public_key_file: Path | None = Field(default=None, validation_alias="SLUICE_DECISION_PUBLIC_KEY_FILE")
    """For workers that shall not hold the private key."""
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
        for value, file in (("pepper", "pepper_file"), ("decision_key", "decision_key_file")):
            if {value, file} <= self.model_fields_set:
                names = [str(type(self).model_fields[field].validation_alias) for field in (value, file)]
                raise ValueError(f"{names[0]} and {names[1]} are both set; unset one")
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

    def decision_verifier(self) -> DecisionVerifier:
        """What workers check decisions with: the public key where one is named, else the private one's public part.

        Raises ``SecretFileError``.
        """
        if self.decision_public_key_file is not None:
            return DecisionPublicKey.load(self.decision_public_key_file)
        return self.signing_key().public


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
