"""What may reach a terminal, which key goes where, and the command as a real process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cli.client import Event, read_events
from cli.credentials import DEFAULT_URL, connection, find_file
from cli.exits import CommandError, ExitCode
from cli.main import build
from cli.terminal import safe, safe_json, safe_line
from tests.cli.fake_http_api import (
    ID,
    Reply,
    decision_answer,
    queue_item,
    request_answer,
    review_answer,
    served,
    streamed,
)

HOSTILE = "\x1b[2J\x1b]0;owned\x07[red]ok[/red]\r\x9b31m\u202egnp.exe\u2066\x00\x7f:smile:[link=http://x]y[/link]"
ROOT = Path(__file__).resolve().parents[2]


def _assert_harmless(shown: str) -> None:
    obeyed = [c for c in shown if c not in "\n\t" and unicodedata.category(c) in ("Cc", "Cf", "Cs")]
    assert obeyed == []
    assert "[red]ok[/red]" in shown
    assert "␛[2J" in shown
    assert ":smile:" in shown


def _hostile(value: Any) -> Any:
    """The same answer with hostile text in every place of a text that is not read by the command itself."""
    if isinstance(value, dict):
        kept = {"state", "start", "end", "number", "result_sha256", "review_version", "allowed", "status", "do"}
        return {name: inner if name in kept else _hostile(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_hostile(inner) for inner in value]
    return HOSTILE if isinstance(value, str) or value is None else value


def test_hostile_text_of_models_and_requesters_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    edit = {"review_version": 1, "edited_by": "otto", "lines": ["@@ -1 +1 @@", "-a", "+b"]}
    review = _hostile(review_answer(edits=[edit], viewers=["otto"], claimed_by="otto"))
    record = {
        "request": request_answer(reason=HOSTILE),
        "records": [{"sequence": 1, "at": HOSTILE, "kind": HOSTILE, "actor": HOSTILE, "rationale": HOSTILE}],
        "attempts": [{"stage": HOSTILE, "error": HOSTILE, "cost_usd": HOSTILE}],
        "decisions": [{"decision_id": "d", "reviewer": HOSTILE, "because": HOSTILE, "reason": HOSTILE}],
    }
    queue = {"name": HOSTILE, "pending": 1, "members": [{"name": HOSTILE}]}
    delegation = dict.fromkeys(("id", "delegator", "delegate", "queue", "starts_at", "ends_at", "revoked_at"), HOSTILE)
    figures = _hostile({"since": "s", "per_policy": [{"policy": "p"}], "hasty": [{"request_id": "r", "reviewer": "r"}]})
    with served() as api:
        api.on("GET", f"/v1/reviews/{ID}", Reply(review)).on("GET", f"/v1/requests/{ID}/record", Reply(record))
        api.on("GET", "/v1/reviews", Reply({"items": [_hostile(queue_item())], "next_cursor": HOSTILE}))
        api.on("GET", "/v1/reviews/figures", Reply(figures))
        api.on("GET", f"/v1/requests/{ID}", Reply(request_answer(output=HOSTILE, reason=HOSTILE)))
        api.on("GET", "/v1/policies", Reply({"items": [{"name": HOSTILE, "description": HOSTILE}]}))
        api.on("GET", "/v1/queues", Reply({"items": [queue]}))
        api.on("GET", "/v1/delegations", Reply({"items": [delegation]}))
        claim = Reply({"claimed_by": HOSTILE, "claimed_until": HOSTILE})
        api.on("POST", f"/v1/reviews/{ID}/claim", claim).on("POST", f"/v1/reviews/{ID}/decisions", _decided())
        events = streamed((HOSTILE.replace("\r", "").replace("\n", ""), {"at": HOSTILE, "data": {HOSTILE: HOSTILE}}))
        api.on("GET", f"/v1/requests/{ID}/events", Reply(events, content_type="text/event-stream"))
        error = {"error": {"message": HOSTILE, "type": "t", "param": HOSTILE, "code": None}}
        api.on("POST", f"/v1/requests/{ID}/cancel", Reply(error, 400))
        commands = (
            *(("show", ID), ("reviews",), ("record", ID), ("policies",), ("events", ID), ("queues",), ("delegate",)),
            *(("figures",), ("claim", ID), ("reject", ID, "--reason", "r"), ("show", ID, "--as", "request")),
            *(("cancel", ID, "--reason", "r"),),
        )
        for command in commands:
            env = {"SLUICE_URL": api.url, "SLUICE_API_KEY": "k", "COLUMNS": "3000"}
            result = CliRunner().invoke(build(), command, env=env)
            _assert_harmless(result.stdout + result.stderr)


def _decided() -> Reply:
    return Reply(decision_answer("late", because=HOSTILE), 409)


def test_hostile_json_keeps_its_meaning_without_raw_control_characters() -> None:
    value = {"output": "\x9b31m\u202e\x7f\x1b", "list": ["ä", "🙂"]}
    raw = json.dumps(value, ensure_ascii=False, indent=1)
    shown = safe_json(raw)
    assert json.loads(shown) == value
    assert "ä" in shown
    assert not any(unicodedata.category(c) in ("Cc", "Cf") for c in shown if c != "\n")


@given(st.text(alphabet=st.characters(codec=None)))
def test_nothing_a_terminal_obeys_survives(text: str) -> None:
    for shown in (safe(text), safe_line(text)):
        left = [c for c in shown if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")]
        assert set(left) <= set("\n\t\u200c\u200d")
    assert "\n" not in safe_line(text)
    assert json.loads(safe_json(json.dumps(text, ensure_ascii=False))) == text


def test_events_are_read_as_the_standard_says() -> None:
    lines = ["retry: 1", "", ": comment", "event: a", "data: one", "data:two", "id: 7", "", "data: b", "", "data: cut"]
    assert list(read_events(iter(lines))) == [Event("a", "one\ntwo", "7"), Event("message", "b", "7")]


def _stored(folder: Path, mode: int = 0o600, **changes: Any) -> Path:
    path = folder / "var" / "credentials.json"
    path.parent.mkdir()
    content = {"url": "http://127.0.0.1:4711", "tenant": "demo", "keys": {"service": "s", "reviewer": "r"}} | changes
    path.write_text(json.dumps(content))
    path.chmod(mode)
    return path


def _fails(url: str | None, key: str | None, roles: tuple[str, ...], folder: Path) -> CommandError:
    with pytest.raises(CommandError) as caught:
        connection(url, key, roles, folder, lambda text: None)
    assert caught.value.code is ExitCode.USAGE
    return caught.value


def test_the_nearest_credentials_file_above_gives_url_and_the_key_of_the_role(tmp_path: Path) -> None:
    path = _stored(tmp_path)
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    warnings: list[str] = []
    assert find_file(below) == path
    found = connection(None, None, ("auditor", "reviewer", "service"), below, warnings.append)
    assert (found.url, found.key, warnings) == ("http://127.0.0.1:4711", "r", [])
    assert "key" not in repr(found)
    same = connection("http://localhost:4711/", None, ("service",), below, warnings.append)
    assert (same.url, same.key) == ("http://127.0.0.1:4711", "s")


def test_a_key_never_goes_to_an_address_it_does_not_belong_to(tmp_path: Path) -> None:
    _stored(tmp_path, url="http://evil.example")
    given = connection(None, "mine", ("service",), tmp_path, lambda text: None)
    assert (given.url, given.key) == (DEFAULT_URL, "mine")
    assert "SLUICE_API_KEY" in (_fails("https://other.example", None, ("service",), tmp_path).remedy or "")


def test_a_file_that_others_can_read_is_warned_about(tmp_path: Path) -> None:
    path = _stored(tmp_path, mode=0o644)
    warnings: list[str] = []
    connection(None, None, ("service",), tmp_path, warnings.append)
    assert f"chmod 600 {path}" in warnings[0]
    connection("http://api.example", "k", (), tmp_path, warnings.append)
    assert "unencrypted" in warnings[1]


def test_what_is_missing_is_named_with_its_remedy(tmp_path: Path) -> None:
    assert "make run" in (_fails(None, None, ("service",), tmp_path).remedy or "")
    path = _stored(tmp_path)
    assert "auditor or operator" in _fails(None, None, ("auditor", "operator"), tmp_path).message
    for content in ("nonsense", "[]", '{"url": 1, "keys": {}}', '{"url": "http://127.0.0.1"}'):
        path.write_text(content)
        assert str(path) in _fails(None, None, ("service",), tmp_path).message
    for url in ("ftp://a", "http://", "http://u:p@a", "http://[", "http://a:99999", "http://a/?x=1"):
        assert "address" in _fails(url, "k", (), tmp_path).message


def _process(*arguments: str, folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("SLUICE_")}
    command = [sys.executable, "-m", "cli", *arguments]
    settings = {**clean, "PYTHONPATH": str(ROOT), **env}
    return subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, check=False, timeout=60)


def test_the_real_command_finds_its_credentials_and_ends_with_the_right_code(tmp_path: Path) -> None:
    with served() as api:
        _stored(tmp_path, mode=0o640, url=api.url)
        api.on("GET", f"/v1/requests/{ID}", Reply(request_answer("held", reason=HOSTILE)))
        done = _process("show", ID, "--json", folder=tmp_path)
        assert (done.returncode, json.loads(done.stdout)["status"]) == (0, "held")
        assert done.stderr.count("chmod 600") == 1
        assert [call.headers["authorization"] for call in api.calls] == ["Bearer r", "Bearer s"]
        plain = _process("show", ID, folder=tmp_path, PYTHONIOENCODING="ascii:strict")
        assert (plain.returncode, "\x1b" in plain.stdout) == (0, False)
        assert _process("show", "req_other", folder=tmp_path).returncode == 3
        assert _process("show", folder=tmp_path).returncode == 2
    gone = _process("show", ID, folder=tmp_path)
    assert gone.returncode == 7
    assert "Traceback" not in gone.stderr


def test_starting_the_command_loads_nothing_slow(tmp_path: Path) -> None:
    code = (
        "import sys, cli.main; cli.main.build(); slow = {'rich', 'httpx', 'pydantic', 'temporalio', 'sqlmodel'};"
        "print(sorted(slow & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
