"""The documents do not drift: whatever they name exists, and whatever they show loads."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from http.server import HTTPServer
from pathlib import Path

import httpx
import pytest
import typer
from standardwebhooks import Webhook

from adapters.policy_files import json_schema, load_catalog, load_policies, parse_policy
from adapters.settings import Settings, environment_names
from adapters.webhook_notifier import webhook_body
from api import chat, health, overrides, policies, queues, requests, reviews, timeline
from api.console import (
    figures_routes,
    people_routes,
    queue_routes,
    request_routes,
    review_page,
    review_routes,
    sign_in,
)
from cli.main import build
from domain.cascade import Verb
from domain.catalog import EmailChannel, SlackChannel, WebhookChannel
from domain.hold import Hold, ReviewVerdict, RungAction
from domain.identity import Role
from domain.ledger import RecordKind
from domain.notice import Notice, NoticeEvent
from domain.override import OverrideAction
from domain.request import Outcome, Status
from domain.review import DecisionStatus
from standalone.commands import app as standalone_app
from standalone.stack import StackOptions

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *ROOT.glob("docs/**/*.md"), ROOT / "policies/README.md"])
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
SOURCES = ("adapters", "api", "cli", "deploy", "domain", "policies", "standalone", "worker")
WRITTEN_BY_RUNNING = {"var/", "var/credentials.json", "var/pepper", "var/decision.key", "var/logs", "var/logs/"}
"""Paths that a running stack makes."""
OLLAMA_PORT = 11434
_PATH = re.compile(r"(?:[\w.-]+/)+[\w.-]*|[\w.-]+\.(?:md|yaml|yml|toml|lock|py|example)|Makefile")

every_document = pytest.mark.parametrize("name", NAMES)


@cache
def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@cache
def fenced(name: str) -> tuple[tuple[str, str], ...]:
    """Language and content of every fenced block."""
    return tuple(re.findall(r"^```(\w+)\n(.*?)^```$", text(name), re.MULTILINE | re.DOTALL))


def blocks(name: str, language: str) -> list[str]:
    return [content for found, content in fenced(name) if found == language]


def prose(name: str) -> str:
    return re.sub(r"^```\w*\n.*?^```$", "", text(name), flags=re.MULTILINE | re.DOTALL)


def spans(name: str) -> list[str]:
    """Everything between backticks, outside of fenced blocks."""
    return re.findall(r"`([^`\n]+)`", prose(name))


def code(name: str) -> str:
    """All that is written as code, where commands are looked for."""
    return "\n".join([*spans(name), *blocks(name, "sh")])


@cache
def sources() -> str:
    """The text of what is not documentation and names environment variables."""
    files = [ROOT / "docker-compose.yml", ROOT / ".env.example", ROOT / "Makefile"]
    for folder in SOURCES:
        files += [path for path in (ROOT / folder).rglob("*") if path.suffix in {".py", ".yaml", ".sh"}]
    return "\n".join(path.read_text(encoding="utf-8") for path in files)


@cache
def targets() -> frozenset[str]:
    return frozenset(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


@cache
def options(command: str) -> frozenset[str]:
    """The options of a ``sluice`` command."""
    group = typer.main.get_command(build())
    found = group.commands[command]  # type: ignore[attr-defined]
    return frozenset(option for parameter in found.params for option in parameter.opts) | {"--help"}


@cache
def commands() -> frozenset[str]:
    return frozenset(typer.main.get_command(build()).commands)  # type: ignore[attr-defined]


@cache
def addresses() -> frozenset[str]:
    """The templates of all routes of the API and the console, every name in braces written as ``{}``."""
    api = (requests, overrides, timeline, reviews, queues, chat, policies, health)
    console = (sign_in, queue_routes, review_routes, request_routes, figures_routes, people_routes)
    paths = [route.path for part in (*api, *console) for route in part.router.routes]
    known = [*paths, "/docs", "/openapi.json", "/console"]
    return frozenset(re.sub(r"\{\w+\}", "{}", path) for path in known)


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@every_document
def test_every_fence_is_closed_and_has_a_language(name: str) -> None:
    fences = re.findall(r"^```(.*)$", text(name), re.MULTILINE)
    assert len(fences) % 2 == 0
    assert all(fences[0::2]), "a fence opens without a language"
    assert not any(fences[1::2])


@every_document
def test_no_relative_link_is_dead(name: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", prose(name)):
        if re.match(r"[a-z]+://", target):
            continue
        path, _, anchor = target.partition("#")
        found = ((ROOT / name).parent / path).resolve() if path else ROOT / name
        assert found.exists(), f"{target} leads nowhere"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in map(slug, headings), f"{target} names no heading"


@every_document
def test_every_make_target_exists(name: str) -> None:
    named = set(re.findall(r"^(?:.*\s)?make ([a-z-]+)", code(name), re.MULTILINE))
    assert named <= targets()


@every_document
def test_every_module_that_is_run_exists(name: str) -> None:
    for module in re.findall(r"python3? -m ([\w.]+)", code(name)):
        assert importlib.util.find_spec(module) is not None, module


@every_document
def test_every_sluice_command_and_option_exists(name: str) -> None:
    for line in code(name).replace("\\\n", " ").splitlines():
        match = re.match(r"(?:.*\s)?(?:\.venv/bin/)?sluice ([a-z-]\S*)(.*)", line)
        if match is None or match[1] in ("--help",):
            continue
        assert match[1] in commands(), line
        given = set(re.findall(r"(?<!\S)(--?[a-z][\w-]*)", match[2].partition("#")[0]))
        assert given <= options(match[1]), line


@every_document
def test_every_path_exists(name: str) -> None:
    folders = {path.name for path in ROOT.iterdir() if path.is_dir()} | {"var"}
    for span in spans(name):
        if not _PATH.fullmatch(span) or span in WRITTEN_BY_RUNNING:
            continue
        if "/" in span and span.split("/")[0] not in folders:
            continue  # not one of ours: a media type, a provider's path
        beside = (ROOT / name).parent / span
        assert (ROOT / span).exists() or beside.exists(), span


@every_document
def test_every_environment_variable_exists(name: str) -> None:
    named = set(re.findall(r"\b(?:SLUICE|DATABASE|TEMPORAL|OPENAI|OLLAMA|POSTGRES)_[A-Z_]*[A-Z]\b", text(name)))
    temporals_own = {"TEMPORAL_API_KEY", "TEMPORAL_TLS"}
    missing = {variable for variable in named - temporals_own if not re.search(rf"\b{variable}\b", sources())}
    assert missing == set()


def test_operators_find_every_setting() -> None:
    guide = text("docs/operators.md")
    assert [variable for variable in sorted(environment_names()) if f"`{variable}`" not in guide] == []


def test_operators_find_the_defaults() -> None:
    for field in Settings.model_fields.values():
        variable, default = str(field.validation_alias), field.default
        row = next(line for line in text("docs/operators.md").splitlines() if line.startswith("|") and variable in line)
        if default is not None:
            assert f"`{default}`" in row, variable


@every_document
def test_every_port_is_one_of_ours(name: str) -> None:
    stack = StackOptions()
    ours = {stack.api_port, stack.temporal_port, stack.ui_port, stack.provider_port, OLLAMA_PORT}
    named = {int(port) for port in re.findall(r"(?:127\.0\.0\.1|localhost):(\d+)", text(name))}
    assert named <= ours
    if name == "README.md":
        table = {int(port) for port in re.findall(r"^\| (\d+) \|", text(name), re.MULTILINE)}
        assert table == ours - {OLLAMA_PORT}


def test_the_flags_of_the_embedded_stack_exist() -> None:
    command = typer.main.get_command(standalone_app)
    known = {option for parameter in command.params for option in parameter.opts}
    named = set(re.findall(r"`(--[a-z-]+)`", prose("README.md"))) | set(
        re.findall(r"ARGS=\"(--[a-z-]+)\"", text("README.md"))
    )
    assert {"--once", "--json", "--port", "--data"} <= named <= known


@every_document
def test_every_address_of_the_api_exists(name: str) -> None:
    written = re.findall(
        r"(?<![\w./])(?:\$API|http://127\.0\.0\.1:8080)?(/(?:v1/|health/|console\b)[\w/{}$.-]*)", text(name)
    )
    known = addresses()
    for address in written:
        template = re.sub(r"\{\w+\}|\$ID|req_\w+", "{}", address.rstrip(".").partition("?")[0])
        assert template in known, address


def policy_blocks() -> Iterator[tuple[str, str]]:
    for name in NAMES:
        for block in blocks(name, "yaml"):
            yield name, block


def test_real_models_take_three_lines(tmp_path: Path) -> None:
    """The blocks of the README, put in the place of the simulated models' lines, and loaded with every policy."""
    shown = blocks("README.md", "yaml")
    assert len(shown) == 2
    told = [name for name, _ in policy_blocks()]
    assert told == ["README.md"] * 2 + ["policies/README.md"], "every other YAML block needs a test as well"
    catalog = text("policies/catalog.yaml")
    for entry, lines in zip(("small", "medium"), shown, strict=True):
        simulated = f"    provider: simulated\n    id: simulated-{entry}\n    version: 2026-11\n"
        assert lines.count("\n") == 3
        assert catalog.count(simulated) == 1
        catalog = catalog.replace(simulated, lines)
    (tmp_path / "catalog.yaml").write_text(catalog, encoding="utf-8")
    store = load_policies(ROOT / "policies", load_catalog(tmp_path / "catalog.yaml"))
    assert len(store.names()) == 4
    snapshot = store.snapshot("support-triage")
    assert snapshot is not None
    assert [(model.name, model.provider) for model in snapshot.models] == [
        ("sim-small", "openai"),
        ("sim-medium", "ollama"),
        ("sim-large", "simulated"),
    ]


def test_the_hold_that_is_shown_loads_with_every_setting_explained() -> None:
    (shown,) = blocks("policies/README.md", "yaml")
    catalog = load_catalog(ROOT / "policies/catalog.yaml")
    policy = text("policies/support-triage.yaml")
    start = policy.index("hold:\n  queue:")
    snapshot = parse_policy(policy[:start] + shown + policy[policy.index("\n\n", start) :], "shown", catalog)
    assert {rung.do for rung in snapshot.policy.hold.ladder} == {"remind", "reassign", "escalate"}
    rows = prose("policies/README.md")
    assert [name for name in Hold.model_fields if f"| `{name}` |" not in rows] == []
    definitions = json_schema()["$defs"]
    inside = [name for part in ("Rung", "BusinessHours", "RequestedExpiry") for name in definitions[part]["properties"]]
    assert [name for name in (*inside, "edited_by", *RungAction, *ReviewVerdict) if f"{name}" not in rows] == []
    channels = [name for kind in (WebhookChannel, SlackChannel, EmailChannel) for name in kind.model_fields]
    assert [name for name in channels if f"`{name}" not in rows] == []


def test_the_webhook_receiver_takes_what_is_signed_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (shown,) = (block for block in blocks("docs/services.md", "python") if "standardwebhooks" in block)
    secret = "whsec_" + "c2x1aWNlIHNsdWljZSBzbHVpY2Ugc2x1aWNl"
    monkeypatch.setenv("SHOP_WEBHOOK_SECRET", secret)
    (tmp_path / "shown.py").write_text(shown, encoding="utf-8")
    spec = importlib.util.spec_from_file_location("shown", tmp_path / "shown.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    notice = Notice(
        event=NoticeEvent.REQUEST_HELD,
        request_id="req_a",
        tenant="demo",
        policy="support-triage",
        policy_version="0" * 16,
        risk=None,
        queue="support-leads",
        status=Status.HELD,
        outcome=None,
        why="held by risk.hold_at",
        due=None,
        review_version=1,
        result_sha256=None,
        occurred_at=datetime.now(UTC),
    )
    body, now = webhook_body(notice), datetime.now(UTC)
    headers = {
        "webhook-id": "req_a.notice.1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign("req_a.notice.1", now, body),
    }
    server = HTTPServer(("127.0.0.1", 0), module.Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}", trust_env=False) as http:
            assert http.post("/", content=body, headers=headers).status_code == 204
            assert http.post("/", content=body.replace("held", "sent"), headers=headers).status_code == 401
            assert http.post("/", content=body, headers=headers | {"webhook-signature": "none"}).status_code == 401
    finally:
        server.shutdown()
        server.server_close()


def test_reviewers_find_every_verdict_key_and_order() -> None:
    guide = text("docs/reviewers.md")
    keys = {key for key, _ in (*queue_routes._SHORTCUTS, *review_page._SHORTCUTS)} | set("aernsv")
    assert [key for key in sorted(keys) if f"`{key}`" not in guide] == []
    assert [verdict for verdict in ReviewVerdict if f"sluice {verdict} ID" not in guide] == []
    said = {DecisionStatus.APPLIED: "it took effect", DecisionStatus.PENDING: "stored"}
    unsendable = {DecisionStatus.MALFORMED}
    told = [said.get(status, status) for status in DecisionStatus if status not in unsendable]
    assert [word for word in told if f"| {word} |" not in guide] == []
    assert [action for action in OverrideAction if f"`{action}`" not in text("docs/architecture.md")] == []


@every_document
def test_every_picture_is_told_in_words(name: str) -> None:
    assert all(len(words) > 20 for words in re.findall(r"!\[([^\]]*)\]\(", prose(name)))


def test_there_is_one_drawing_and_it_is_also_told_in_words() -> None:
    (picture,) = blocks("README.md", "mermaid")
    lines = [line.strip() for line in picture.splitlines() if line.strip()]
    assert lines[0] == "flowchart LR"
    assert sum(line.startswith("subgraph") for line in lines) == lines.count("end")
    for opening, closing in ("[]", "()", "{}"):
        assert picture.count(opening) == picture.count(closing)
    words = prose("README.md")
    assert "In words:" in words
    told = words[words.index("In words:") :].partition("\n\n")[0].lower()
    assert [verb for verb in Verb if verb.value.replace("_", " ") not in told] == []


@every_document
def test_every_python_block_compiles_and_its_imports_exist(name: str) -> None:
    for block in blocks(name, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = importlib.import_module(node.module or "")
                assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)


def test_every_word_with_a_meaning_is_explained() -> None:
    architecture, auditors, services = (text(f"docs/{name}.md") for name in ("architecture", "auditors", "services"))
    assert [status for status in DecisionStatus if f"| `{status}` |" not in architecture] == []
    assert [kind for kind in RecordKind if f"`{kind}`" not in auditors] == []
    assert [word for word in (*Status, *Outcome) if f"`{word}`" not in services] == []
    assert [role for role in Role if f"| `{role}` |" not in text("docs/operators.md")] == []


def test_the_decisions_are_listed_in_order() -> None:
    files = sorted(path.name for path in (ROOT / "docs/adr").glob("0*.md"))
    assert re.findall(r"\]\((0\S+)\)", text("docs/adr/README.md")) == files
    assert [int(file[:4]) for file in files] == list(range(1, len(files) + 1))
    for file in files:
        body = text(f"docs/adr/{file}")
        assert body.startswith(f"# {file[:4]} ")
        assert all(f"**{part}.**" in body for part in ("Context", "Decision", "Consequences"))
