"""docker-compose.yml, Dockerfile and the scripts beside them, checked without a Docker engine.

The JSON Schema is the Compose project's own, as packaged with check-jsonschema; the rules after it are ours.
"""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import tomllib
from collections.abc import Iterator
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from adapters.settings import Settings, environment_names
from domain.attributes import SEARCH_ATTRIBUTES
from worker.wiring import GRACEFUL_SHUTDOWN

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if "build" in service}
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")
COPIED = set(re.findall(r"^COPY (\w+) \1$", DOCKERFILE, re.MULTILINE))
PINNED = re.compile(r"^[\w./-]+:[0-9]+\.[0-9]+(\.[0-9]+)?(-[a-z0-9-]+)?$")
REFERENCE = re.compile(r"\$\{([A-Z0-9_]+)(:[?-])?([^}]*)\}")
BY_TEMPORAL = {"TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE"}


def schema_errors(document: Any) -> list[str]:
    schema = json.loads((files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json").read_text("utf-8"))
    return [f"{error.json_path}: {error.message}" for error in Draft202012Validator(schema).iter_errors(document)]


def environment(service: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in service.get("environment", {}).items()}


def one_shots() -> set[str]:
    """Services that others wait for until they have ended."""
    return {
        name
        for service in SERVICES.values()
        for name, wait in service.get("depends_on", {}).items()
        if wait["condition"] == "service_completed_successfully"
    }


def modules_run() -> Iterator[tuple[str, str]]:
    """Service and module of every ``python -m`` in commands and health checks."""
    for name, service in SERVICES.items():
        for words in (service.get("command", []), service.get("healthcheck", {}).get("test", [])):
            for flag, module in pairwise(words):
                if flag == "-m":
                    yield name, module


def test_it_is_a_compose_file() -> None:
    assert schema_errors(COMPOSE) == []


@pytest.mark.parametrize("wrong", [{"helthcheck": {}}, {"ports": 8080}, {"depends_on": {"api": {"condition": "up"}}}])
def test_the_schema_notices_a_mistake(wrong: dict[str, Any]) -> None:
    changed = {**COMPOSE, "services": {**SERVICES, "api": {**SERVICES["api"], **wrong}}}
    assert schema_errors(changed)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_image_is_pinned(name: str) -> None:
    assert PINNED.match(SERVICES[name]["image"])


def test_the_image_is_built_from_pinned_and_hashed_parts_for_an_ordinary_user() -> None:
    bases = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert bases
    assert all(PINNED.match(base) for base in bases)
    assert "--require-hashes" in DOCKERFILE
    users = re.findall(r"^USER (\S+)", DOCKERFILE, re.MULTILINE)
    assert users
    assert users[-1].split(":")[0] not in ("root", "0")


def test_the_image_holds_every_package() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    packages = {name.partition(".")[0] for name in project["tool"]["setuptools"]["packages"]}
    assert packages | {"migrations", "policies"} == COPIED
    assert {line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text("utf-8").split()} >= COPIED
    assert all(service["image"].endswith(f":{project['project']['version']}") for service in OURS.values())


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_whatever_keeps_running_is_watched_and_restarted(name: str) -> None:
    service = SERVICES[name]
    if name in one_shots():
        assert "healthcheck" not in service
        assert service.get("restart", "no") != "unless-stopped"
    else:
        assert service["restart"] == "unless-stopped"
        check = service["healthcheck"]
        assert check["test"][0] == "CMD"
        assert {"interval", "timeout", "retries", "start_period"} <= set(check)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_waits_only_for_what_can_be_waited_for(name: str) -> None:
    for other, wait in SERVICES[name].get("depends_on", {}).items():
        assert other in SERVICES
        if wait["condition"] == "service_healthy":
            assert "healthcheck" in SERVICES[other]
        else:
            assert wait["condition"] == "service_completed_successfully"
        assert set(SERVICES[other].get("profiles", [])) <= set(SERVICES[name].get("profiles", []))


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_nothing_listens_beyond_this_machine_or_has_more_rights_than_it_needs(name: str) -> None:
    service = SERVICES[name]
    assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", []))
    assert not {"privileged", "cap_add", "pid", "ipc", "env_file"} & set(service)
    assert service.get("network_mode", "none") == "none"
    if name in OURS:
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_holds_no_secret(name: str) -> None:
    for variable, value in environment(SERVICES[name]).items():
        shape = REFERENCE.sub("<reference>", value)
        if re.search(r"PASSWORD|PWD|SECRET|TOKEN|PEPPER$|_KEY$", variable):
            assert shape == "<reference>", f"{variable} must come from the environment"
        for password in re.findall(r"://[^/@]*:([^/@]*)@", shape):
            assert password == "<reference>", f"the password in {variable} must come from the environment"


def test_a_missing_password_stops_the_start_with_a_remedy() -> None:
    for _, operator, remedy in REFERENCE.findall((ROOT / "docker-compose.yml").read_text("utf-8")):
        assert operator == ":-" or (operator == ":?" and ".env.example" in remedy)


def test_the_example_of_the_environment_is_complete_and_empty() -> None:
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    settings = dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))
    assert set(settings.values()) == {""}
    used = {name for name, _, _ in REFERENCE.findall((ROOT / "docker-compose.yml").read_text("utf-8"))}
    assert set(settings) == used


@pytest.mark.parametrize(("name", "module"), sorted(modules_run()))
def test_starts_only_modules_that_exist(name: str, module: str) -> None:
    assert name in OURS
    assert module.partition(".")[0] in COPIED
    found = importlib.util.find_spec(module)
    assert found is not None
    if found.submodule_search_locations is not None:
        assert importlib.util.find_spec(f"{module}.__main__") is not None


def test_every_process_of_ours_is_started() -> None:
    assert {module for _, module in modules_run()} >= {"api", "worker", "worker.health", "migrations"}


@pytest.mark.parametrize("name", sorted(OURS))
def test_sets_only_variables_that_something_reads(name: str) -> None:
    catalog = (ROOT / "policies" / "catalog.yaml").read_text("utf-8")
    named_in_catalog = set(re.findall(r"_env: *([A-Z0-9_]+)", catalog))
    assert set(environment(OURS[name])) <= environment_names() | named_in_catalog


@pytest.mark.parametrize("name", ["api", "worker", "migrations"])
def test_the_settings_can_be_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in environment_names():
        monkeypatch.delenv(variable, raising=False)
    for variable, value in environment(OURS[name]).items():
        monkeypatch.setenv(variable, REFERENCE.sub("0123abcd", value))
    settings = Settings.load()
    assert settings.database_url == "postgresql+asyncpg://sluice:0123abcd@postgres:5432/sluice"
    assert settings.temporal_namespace == environment(SERVICES["temporal-register"])["TEMPORAL_NAMESPACE"]


def test_addresses_name_services() -> None:
    for service in SERVICES.values():
        for value in environment(service).values():
            for host in re.findall(r"(?:://|@)([a-z-]+):\d+", REFERENCE.sub("x", value)):
                assert host in SERVICES


def test_only_the_api_holds_the_private_key() -> None:
    holders = {
        name
        for name, service in SERVICES.items()
        if any("keys:/var/lib/sluice/keys" in volume for volume in service.get("volumes", []))
    }
    assert holders == {"api", "decision-key"}
    assert "public-keys:/var/lib/sluice/public:ro" in SERVICES["worker"]["volumes"]


def test_volumes_are_declared_and_mounted_folders_exist() -> None:
    for service in SERVICES.values():
        for volume in service.get("volumes", []):
            source, _, rest = volume.partition(":")
            if source.startswith("./"):
                assert (ROOT / source).is_dir()
                assert rest.endswith(":ro")
            else:
                assert source in COMPOSE["volumes"]


def test_a_deploy_lets_model_calls_end() -> None:
    assert float(SERVICES["worker"]["stop_grace_period"].removesuffix("s")) > GRACEFUL_SHUTDOWN.total_seconds()


def test_registers_the_search_attributes_of_the_workflows() -> None:
    script = (ROOT / "deploy" / "temporal" / "register.sh").read_text("utf-8")
    assert re.findall(r"--name (\w+)", script) == list(SEARCH_ATTRIBUTES)
    assert "--type Keyword" in script


def scripts() -> list[Path]:
    return [*sorted((ROOT / "deploy").rglob("*.sh")), ROOT / ".ci" / "run"]


@pytest.mark.parametrize("script", scripts(), ids=lambda script: script.name)
def test_scripts_are_well_formed_and_can_be_run(script: Path) -> None:
    shell = script.read_text("utf-8").splitlines()[0].rpartition("/")[2].rpartition(" ")[2]
    assert subprocess.run([shell, "-n", script], check=False).returncode == 0
    assert script.stat().st_mode & 0o111


@pytest.mark.parametrize("service", ["temporal-schema", "temporal-register"])
def test_scripts_that_are_run_are_mounted(service: str) -> None:
    mounted = SERVICES[service]["command"][-1]
    assert (ROOT / "deploy" / "temporal" / Path(mounted).name).is_file()
    assert mounted.startswith("/deploy/")


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-dev.lock"])
def test_lock_files_hold_hashes_and_no_addresses(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    assert "://" not in text
    assert not re.search(r"^\s*(-i|--index|--extra-index|--find-links|-f|-e)\b", text, re.MULTILINE)
    pins = re.findall(r"^[A-Za-z0-9][^\n]*==[^\n]*(?:\n {4}--hash=sha256:[0-9a-f]{64}[^\n]*)+", text, re.MULTILINE)
    assert len(pins) == len(re.findall(r"^[A-Za-z0-9]", text, re.MULTILINE)) > 40


def test_the_development_lock_only_adds() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^([A-Za-z0-9][^\s;]*==[^\s;]*)", (ROOT / name).read_text("utf-8"), re.MULTILINE))

    assert pins("requirements.lock") < pins("requirements-dev.lock")


def test_the_lock_files_hold_every_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for wanted, name in (
        (project["dependencies"], "requirements.lock"),
        (project["optional-dependencies"]["dev"], "requirements-dev.lock"),
    ):
        locked = set(re.findall(r"^([A-Za-z0-9._-]+)==", (ROOT / name).read_text("utf-8"), re.MULTILINE))
        asked = {re.split(r"[\[<>=! ;]", line)[0].lower().replace("_", "-") for line in wanted}
        assert asked <= locked, "run 'make lock'"
