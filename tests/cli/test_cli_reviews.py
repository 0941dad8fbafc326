"""Commands of a reviewer against a scripted API: what a decision is bound to and what is told of its fate."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Run
from tests.cli.fake_http_api import ID, SHA, FakeApi, Reply, decision_answer, queue_item, refusal, review_answer

DECISIONS = f"/v1/reviews/{ID}/decisions"
REVIEW = f"/v1/reviews/{ID}"
LOST = Reply(drop=True)
ROOT = Path(__file__).resolve().parents[2]


def test_reviews_lists_what_waits_with_whole_ids(run: Run, api: FakeApi) -> None:
    long_id = "req_" + "a" * 26
    claimed = {"claimed_by": "otto", "claimed_until": "2999-01-01T00:00:00Z", "approvals_needed": 2}
    api.on("GET", "/v1/reviews", Reply({"items": [queue_item(id=long_id, **claimed)], "next_cursor": "c2"}))
    result = run("reviews", "--queue", "compliance")
    assert api.calls[0].query == {"state": "pending", "limit": "50", "queue": "compliance"}
    for word in (long_id, "compliance-check", "high", " d ", "left", "--cursor c2", "otto", "state", "approvals"):
        assert word in result.stdout
    api.on("GET", "/v1/reviews", Reply({"items": [queue_item()], "next_cursor": None}))
    assert "state" not in run("reviews").stdout
    run("reviews", "-p", "p", "--risk", "high", "--mine", "-s", "customer-7", "--state", "overridden", "--cursor", "c2")
    assert api.calls[-1].query == {
        "state": "overridden",
        "limit": "50",
        "policy": "p",
        "risk": "high",
        "claimed_by": "me",
        "q": "customer-7",
        "cursor": "c2",
    }
    run("reviews", "--unclaimed")
    assert api.calls[-1].query["claimed_by"] == "none"
    api.on("GET", "/v1/reviews", Reply({"items": [], "next_cursor": None}))
    assert "nothing waits" in run("reviews").stdout


def test_approve_binds_to_what_it_shows(run: Run, api: FakeApi) -> None:
    api.on("GET", REVIEW, Reply(review_answer())).on("POST", DECISIONS, LOST, Reply(decision_answer()))
    result = run("approve", ID, "--reason", "checked")
    assert result.exit_code == 0, result.output
    first, again = api.sent("POST")
    assert first.body == again.body
    identifier = first.body.pop("decision_id")
    assert first.body == {"result_sha256": SHA, "review_version": 1, "verdict": "approve", "reason": "checked"}
    assert f"decision {identifier}: approve sha256 ab12cd34ef56 in version 1" in result.stderr
    for word in ("You may sell it.", "ab12cd34ef56", "version 1", "applied", "approved"):
        assert word in result.stdout


@pytest.mark.parametrize(("typed", "code", "sent"), [("n", 1, 0), ("y", 0, 1)])
def test_approve_asks_a_person_at_a_terminal_first(api: FakeApi, typed: str, code: int, sent: int) -> None:
    api.on("GET", REVIEW, Reply(review_answer())).on("POST", DECISIONS, Reply(decision_answer()))
    keyboard, terminal = pty.openpty()
    try:
        os.write(keyboard, f"{typed}\n".encode())
        command = [sys.executable, "-m", "cli", "approve", ID]
        env = {**os.environ, "SLUICE_URL": api.url, "SLUICE_API_KEY": "k"}
        done = subprocess.run(
            command, cwd=ROOT, env=env, stdin=terminal, capture_output=True, text=True, check=False, timeout=60
        )
    finally:
        os.close(keyboard)
        os.close(terminal)
    assert (done.returncode, len(api.sent("POST"))) == (code, sent), done.stderr
    assert "You may sell it." in done.stdout
    assert "Send exactly this text?" in done.stdout


@pytest.mark.parametrize(
    ("status", "http", "code"),
    [
        *(("applied", 200, 0), ("counted", 200, 0), ("pending", 202, 6)),
        *(("stale", 409, 5), ("superseded", 409, 5), ("late", 409, 5)),
    ],
)
def test_what_became_of_a_decision_is_its_exit_code(run: Run, api: FakeApi, status: str, http: int, code: int) -> None:
    api.on("GET", REVIEW, Reply(review_answer())).on("POST", DECISIONS, Reply(decision_answer(status), http))
    result = run("reject", ID, "--reason", "wrong", "--json")
    assert result.exit_code == code
    assert json.loads(result.stdout) == decision_answer(status)
    assert status in run("reject", ID, "--reason", "wrong").stdout


def test_a_decision_for_named_bytes_needs_no_look(run: Run, api: FakeApi) -> None:
    api.on("POST", DECISIONS, Reply(decision_answer()))
    result = run("approve", ID, "--sha256", SHA, "--version", "3", "--decision-id", "d9")
    assert result.exit_code == 0
    assert api.sent("GET") == []
    body = api.calls[0].body
    assert (body["result_sha256"], body["review_version"], body["decision_id"]) == (SHA, 3, "d9")


@pytest.mark.parametrize(
    "named", [("--sha256", "0" * 12), ("--version", "2"), ("--sha256", SHA[:12], "--version", "2")]
)
def test_a_decision_for_other_bytes_is_not_sent(run: Run, api: FakeApi, named: tuple[str, ...]) -> None:
    api.on("GET", REVIEW, Reply(review_answer()))
    result = run("approve", ID, *named)
    assert result.exit_code == 5
    assert "nothing was decided" in result.stderr
    assert api.sent("POST") == []


def test_a_decision_that_may_have_arrived_says_how_to_repeat_it(run: Run, api: FakeApi) -> None:
    api.on("GET", REVIEW, Reply(review_answer())).on("POST", DECISIONS, LOST)
    result = run("escalate", ID, "--reason", "too thin")
    assert result.exit_code == 7
    identifier = api.sent("POST")[0].body["decision_id"]
    assert f"--decision-id {identifier} --sha256 {SHA} --version 1" in result.stderr


def test_a_decision_id_used_for_another_decision_is_a_conflict(run: Run, api: FakeApi) -> None:
    api.on("POST", DECISIONS, refusal(409, "this decision_id was used for another decision"))
    result = run("approve", ID, "--sha256", SHA, "--version", "1", "--decision-id", "d", "--json")
    assert result.exit_code == 5
    assert "error" in json.loads(result.stdout)


def test_edit_takes_the_text_from_option_file_and_pipe(run: Run, api: FakeApi, tmp_path: Path) -> None:
    api.on("GET", REVIEW, Reply(review_answer())).on("POST", DECISIONS, Reply(decision_answer()))
    (tmp_path / "new.txt").write_bytes(b"Vielleicht.\r\n")
    assert run("edit", ID, "--reason", "r", "--output", "Perhaps.").exit_code == 0
    assert run("edit", ID, "--reason", "r", "--output-file", "new.txt").exit_code == 0
    assert run("edit", ID, "--reason", "r", "--output-file", "-", stdin="Piped.").exit_code == 0
    assert [call.body["output"] for call in api.sent("POST")] == ["Perhaps.", "Vielleicht.\r\n", "Piped."]


def _editor(tmp_path: Path, code: str) -> str:
    script = tmp_path / "editor.py"
    script.write_text(f"import pathlib, sys\npath = pathlib.Path(sys.argv[1])\n{code}\n")
    return f"{sys.executable} {script}"


def test_edit_opens_the_editor_on_the_held_text(run: Run, api: FakeApi, tmp_path: Path) -> None:
    api.on("GET", REVIEW, Reply(review_answer())).on("POST", DECISIONS, Reply(decision_answer()))
    editor = _editor(tmp_path, "path.write_text(path.read_text().replace('may', 'may not') + '\\n')")
    result = run("edit", ID, "--reason", "r", EDITOR=editor, VISUAL="")
    assert result.exit_code == 0, result.output
    assert api.sent("POST")[0].body["output"] == "You may not sell it."


@pytest.mark.parametrize(
    ("code", "exit_code", "said"),
    [("pass", 2, "was not changed"), ("sys.exit(3)", 1, "code 3"), ("path.write_bytes(b'\\xff')", 2, "not UTF-8")],
)
def test_an_edit_that_is_none_decides_nothing(
    run: Run, api: FakeApi, tmp_path: Path, code: str, exit_code: int, said: str
) -> None:
    api.on("GET", REVIEW, Reply(review_answer()))
    result = run("edit", ID, "--reason", "r", VISUAL=_editor(tmp_path, code))
    assert result.exit_code == exit_code
    assert said in result.stderr
    assert api.sent("POST") == []


def test_a_closed_review_opens_no_editor(run: Run, api: FakeApi) -> None:
    api.on("GET", REVIEW, Reply(review_answer(state="decided", decided_by="rita", decided_verdict="reject")))
    assert run("edit", ID, "--reason", "r", VISUAL="/absent").exit_code == 5
    assert "rita: reject" in run("show", ID).stdout
