"""Settings: their names, their defaults, and errors that an operator can act on."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.decision_keys import DecisionKey
from adapters.secret_files import SecretFileError
from adapters.settings import Settings, SettingsError, environment_names
from domain.identity import Role


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in environment_names():
        monkeypatch.delenv(name, raising=False)


def sign_in_through_a_provider(monkeypatch: pytest.MonkeyPatch, **changes: str) -> None:
    """Set all that signing in through an identity provider needs."""
    needed = {
        "SLUICE_OIDC_ISSUER": "https://login.example",
        "SLUICE_OIDC_CLIENT_ID": "sluice",
        "SLUICE_OIDC_TENANT": "acme",
        "SLUICE_OIDC_ROLES": "staff=reviewer",
        "SLUICE_PUBLIC_URL": "https://Sluice.example/",
    }
    for name, value in {**needed, **changes}.items():
        monkeypatch.setenv(name, value)


def problem() -> str:
    with pytest.raises(SettingsError) as caught:
        Settings.load()
    return str(caught.value)


def test_the_defaults_serve_one_machine() -> None:
    settings = Settings.load()
    assert settings.temporal_address == "127.0.0.1:7233"
    assert settings.temporal_namespace == "default"
    assert settings.task_queue == "sluice"
    assert settings.database_url == "sqlite+aiosqlite:///var/sluice.db"
    assert (settings.policies, settings.catalog) == (Path("policies"), Path("policies/catalog.yaml"))
    assert (settings.host, settings.port) == ("127.0.0.1", 8080)
    assert settings.max_body_bytes == 1024 * 1024
    assert (settings.pepper_file, settings.decision_key_file) == (Path("var/pepper"), Path("var/decision.key"))


def test_reads_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", "temporal:7233")
    monkeypatch.setenv("DATABASE_URL", "postgresql+asyncpg://sluice:pw@postgres:5432/sluice")
    monkeypatch.setenv("SLUICE_PORT", "9000")
    monkeypatch.setenv("SLUICE_POLICIES", "/etc/sluice")
    monkeypatch.setenv("SLUICE_HOST", "")
    settings = Settings.load()
    assert settings.temporal_address == "temporal:7233"
    assert settings.database_url.endswith("@postgres:5432/sluice")
    assert (settings.port, settings.policies) == (9000, Path("/etc/sluice"))
    assert settings.host == "127.0.0.1"


def test_code_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite+aiosqlite:///env.db")
    assert Settings(database_url="sqlite+aiosqlite:///code.db", port=0).database_url.endswith("code.db")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("TEMPORAL_ADDRESS", "temporal"),
        ("TEMPORAL_ADDRESS", "http://temporal:7233"),
        ("TEMPORAL_ADDRESS", "temporal:99999"),
        ("DATABASE_URL", "postgres://u:hidden@h/d"),
        ("DATABASE_URL", "sqlite:///x"),
        ("SLUICE_PORT", "hidden"),
        ("SLUICE_PORT", "70000"),
        ("SLUICE_MAX_BODY_BYTES", "0"),
        ("SLUICE_LOG_LEVEL", "hidden"),
        ("SLUICE_PUBLIC_URL", "hidden.example"),
        ("SLUICE_PUBLIC_URL", "https://"),
        ("SLUICE_PUBLIC_URL", "https://hidden.example/sluice"),
        ("SLUICE_PUBLIC_URL", "https://hidden.example?x"),
        ("SLUICE_PUBLIC_URL", "https://me@hidden.example"),
        ("SLUICE_PUBLIC_URL", "https://hidden.example:99999"),
        ("SLUICE_OIDC_ISSUER", "http://hidden.example"),
        ("SLUICE_OIDC_ISSUER", "https://hidden.example?x"),
        ("SLUICE_OIDC_ISSUER", "hidden.example"),
        ("SLUICE_OIDC_TENANT", "hidden tenant"),
        ("SLUICE_OIDC_ROLES", "hidden"),
        ("SLUICE_OIDC_ROLES", "hidden=king"),
        ("SLUICE_OIDC_ROLES", "=reviewer"),
        ("SLUICE_OIDC_ROLES", "hidden=reviewer,"),
    ],
)
def test_errors_name_the_variable_and_not_its_value(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    told = problem()
    assert told.startswith(f"{name}: ")
    assert "hidden" not in told


def test_every_problem_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_PORT", "x")
    monkeypatch.setenv("TEMPORAL_ADDRESS", "x")
    assert len(problem().splitlines()) == 2


def test_nothing_secret_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql+asyncpg://u:hidden@h/d")
    monkeypatch.setenv("SLUICE_PEPPER", "hidden" * 8)
    monkeypatch.setenv("SLUICE_DECISION_KEY", "hidden")
    sign_in_through_a_provider(monkeypatch, SLUICE_OIDC_CLIENT_SECRET="hidden")
    assert "hidden" not in f"{Settings.load()!r} {Settings.load()}"


@pytest.mark.parametrize(
    ("value", "file"),
    [
        ("DATABASE_URL", "DATABASE_URL_FILE"),
        ("SLUICE_PEPPER", "SLUICE_PEPPER_FILE"),
        ("SLUICE_DECISION_KEY", "SLUICE_DECISION_KEY_FILE"),
        ("SLUICE_OIDC_CLIENT_SECRET", "SLUICE_OIDC_CLIENT_SECRET_FILE"),
    ],
)
def test_a_secret_comes_from_one_place(monkeypatch: pytest.MonkeyPatch, value: str, file: str) -> None:
    monkeypatch.setenv(value, "sqlite+aiosqlite:///x")
    monkeypatch.setenv(file, "/run/secrets/x")
    assert problem() == f"{value} and {file} are both set; unset one"


def test_the_database_address_can_lie_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "url"
    monkeypatch.setenv("DATABASE_URL_FILE", str(file))
    assert "DATABASE_URL_FILE" in problem()
    file.write_text("postgresql+asyncpg://u:p@h/d\n")
    assert Settings.load().database_url == "postgresql+asyncpg://u:p@h/d"
    file.write_text("mysql://u:hidden@h/d\n")
    told = problem()
    assert told.startswith("DATABASE_URL: ")
    assert "hidden" not in told


def test_the_pepper_is_a_value_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLUICE_PEPPER_FILE", str(tmp_path / "pepper"))
    made = Settings.load().read_pepper()
    assert Settings.load().read_pepper() == made
    monkeypatch.delenv("SLUICE_PEPPER_FILE")
    monkeypatch.setenv("SLUICE_PEPPER", f" {made.decode()}\n")
    assert Settings.load().read_pepper() == made
    monkeypatch.setenv("SLUICE_PEPPER", "short")
    with pytest.raises(SecretFileError, match=r"SLUICE_PEPPER: .*fewer than 32"):
        Settings.load().read_pepper()


def test_the_decision_key_is_a_value_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SLUICE_DECISION_KEY_FILE", str(tmp_path / "key"))
    key = Settings.load().signing_key()
    monkeypatch.delenv("SLUICE_DECISION_KEY_FILE")
    monkeypatch.setenv("SLUICE_DECISION_KEY", (tmp_path / "key").read_text())
    assert Settings.load().signing_key().public.key_id == key.public.key_id
    monkeypatch.setenv("SLUICE_DECISION_KEY", "hidden")
    with pytest.raises(SecretFileError, match="SLUICE_DECISION_KEY: ") as caught:
        Settings.load().signing_key()
    assert "hidden" not in str(caught.value)


def test_a_worker_needs_the_public_part_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    key = DecisionKey.load_or_create(tmp_path / "key")
    key.publish(tmp_path / "pub")
    monkeypatch.setenv("SLUICE_DECISION_KEY_FILE", str(tmp_path / "never-made"))
    monkeypatch.setenv("SLUICE_DECISION_PUBLIC_KEY_FILE", str(tmp_path / "pub"))
    verifier = Settings.load().decision_verifier()
    assert getattr(verifier, "key_id", None) == key.public.key_id
    assert not (tmp_path / "never-made").exists()


def test_there_is_no_identity_provider_unless_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings.load().oidc_client() is None
    monkeypatch.setenv("SLUICE_PUBLIC_URL", "http://10.0.0.1:8080/")
    settings = Settings.load()
    assert (settings.oidc_client(), settings.public_url) == (None, "http://10.0.0.1:8080")


@pytest.mark.parametrize(
    ("written", "origin"),
    [
        ("https://sluice.example:443", "https://sluice.example"),
        ("http://sluice.example:80/", "http://sluice.example"),
        ("https://sluice.example:80", "https://sluice.example:80"),
        ("HTTP://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_the_public_address_is_written_as_browsers_do(
    monkeypatch: pytest.MonkeyPatch, written: str, origin: str
) -> None:
    monkeypatch.setenv("SLUICE_PUBLIC_URL", written)
    assert Settings.load().public_url == origin


def test_an_identity_provider_is_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    sign_in_through_a_provider(
        monkeypatch,
        SLUICE_OIDC_ROLES="staff=reviewer, cn=audit=auditor,staff=senior-reviewer",
        SLUICE_OIDC_NAME_CLAIM="sub",
        SLUICE_OIDC_ROLE_CLAIM="realm_access.roles",
    )
    settings = Settings.load()
    client = settings.oidc_client()
    assert client is not None
    assert settings.public_url == "https://sluice.example"
    assert (client.issuer, client.client_id, client.tenant) == ("https://login.example", "sluice", "acme")
    assert (client.name_claim, client.role_claim, client.client_secret) == ("sub", "realm_access.roles", None)
    assert client.roles == {"staff": {Role.REVIEWER, Role.SENIOR_REVIEWER}, "cn=audit": {Role.AUDITOR}}


@pytest.mark.parametrize(
    "missing",
    ["SLUICE_OIDC_ISSUER", "SLUICE_OIDC_CLIENT_ID", "SLUICE_OIDC_TENANT", "SLUICE_OIDC_ROLES", "SLUICE_PUBLIC_URL"],
)
def test_half_an_identity_provider_is_none(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    sign_in_through_a_provider(monkeypatch)
    monkeypatch.delenv(missing)
    assert f"also needs {missing};" in problem()


@pytest.mark.parametrize("name", ["CLIENT_SECRET", "CLIENT_SECRET_FILE", "NAME_CLAIM", "ROLE_CLAIM", "ROLES"])
def test_a_setting_of_a_provider_without_one_is_a_mistake(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"SLUICE_OIDC_{name}", "x=reviewer")
    assert "SLUICE_OIDC_ISSUER" in problem()


def test_people_come_back_from_a_provider_over_https_only(monkeypatch: pytest.MonkeyPatch) -> None:
    sign_in_through_a_provider(monkeypatch, SLUICE_PUBLIC_URL="http://sluice.example")
    assert problem().startswith("SLUICE_PUBLIC_URL must begin with https://")
    monkeypatch.setenv("SLUICE_PUBLIC_URL", "http://127.0.0.1:8080")
    assert Settings.load().oidc_client() is not None


def test_the_client_secret_is_a_value_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    sign_in_through_a_provider(monkeypatch, SLUICE_OIDC_CLIENT_SECRET_FILE=str(file))
    with pytest.raises(SecretFileError, match="SLUICE_OIDC_CLIENT_SECRET_FILE"):
        Settings.load().oidc_client()
    file.write_text("\n")
    with pytest.raises(SecretFileError, match="SLUICE_OIDC_CLIENT_SECRET_FILE"):
        Settings.load().oidc_client()
    file.write_text("s3cret\n")
    client = Settings.load().oidc_client()
    assert client is not None
    assert client.client_secret == "s3cret"
    monkeypatch.delenv("SLUICE_OIDC_CLIENT_SECRET_FILE")
    monkeypatch.setenv("SLUICE_OIDC_CLIENT_SECRET", "value")
    client = Settings.load().oidc_client()
    assert client is not None
    assert client.client_secret == "value"
