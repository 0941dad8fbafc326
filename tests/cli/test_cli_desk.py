"""Claims, verdicts with all their parts, overrides, people and figures, and the live queue, against a scripted API."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cli import watching
from tests.cli.conftest import Run
from tests.cli.fake_http_api import ID, SHA, FakeApi, Reply, decision_answer, queue_item, refusal, review_answer

DECISIONS = f"/v1/reviews/{ID}/decisions"
BOUND = ("--sha256", SHA, "--version", "1", "--decision-id", "d1")
CLAIM = f"/v1/reviews/{ID}/claim"
ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("command", "sent"),
    [
        (("approve", "--on-behalf-of", "otto"), {"verdict": "approve", "reason": "", "on_behalf_of": "otto"}),
        (
            ("edit", "-r", "r", "-o", "Perhaps.", "--overrule", "citations", "--overrule", "terms"),
            {"verdict": "edit", "reason": "r", "output": "Perhaps.", "overrule": ["citations", "terms"]},
        ),
        (("reject", "-r", "r", "--on-behalf-of", "otto"), {"verdict": "reject", "reason": "r", "on_behalf_of": "otto"}),
        (("escalate", "-r", "r"), {"verdict": "escalate", "reason": "r"}),
        (("escalate", "-r", "r", "--to", "legal"), {"verdict": "escalate", "reason": "r", "queue": "legal"}),
        (("revise", "-r", "r", "-i", "shorter"), {"verdict": "revise", "reason": "r", "instruction": "shorter"}),
        (("revise", "-r", "r", "-i", "-"), {"verdict": "revise", "reason": "r", "instruction": "from a pipe"}),
    ],
)
def test_a_verdict_is_sent_with_its_parts_and_nothing_else(
    run: Run, api: FakeApi, command: tuple[str, ...], sent: dict[str, Any]
) -> None:
    api.on("POST", DECISIONS, Reply(decision_answer()))
    result = run(command[0], ID, *command[1:], *BOUND, stdin="from a pipe")

    assert result.exit_code == 0, result.output
    assert api.calls[0].body == {"decision_id": "d1", "result_sha256": SHA, "review_version": 1, **sent}
    assert len(api.calls) == 1


def test_a_counted_approval_is_done_and_says_what_is_still_needed(run: Run, api: FakeApi) -> None:
    api.on("POST", DECISIONS, Reply(decision_answer("counted")))
    result = run("approve", ID, *BOUND)

    assert result.exit_code == 0
    assert "counted" in result.stdout
    assert "1 of 2" in result.stdout
    words = " ".join(result.stderr.split())
    assert "it counts; nothing is sent before 2 reviewers have approved this text (1 of 2 so far)" in words
    as_json = run("approve", ID, *BOUND, "--json")
    assert (as_json.exit_code, json.loads(as_json.stdout)) == (0, decision_answer("counted"))


def test_who_may_not_decide_is_refused_and_told_why(run: Run, api: FakeApi) -> None:
    error = {"message": "'rita' is not a member", "type": "permission_error", "param": None, "code": "not_entitled"}
    api.on("POST", DECISIONS, Reply({**decision_answer("unauthorised"), "error": error}, 403))
    result = run("approve", ID, *BOUND)

    assert result.exit_code == 4
    assert "'rita' is not a member" in result.stderr


def test_a_review_that_somebody_else_has_claimed_is_a_conflict(run: Run, api: FakeApi) -> None:
    claimed = refusal(409, "'otto' has claimed this review until 2026-11-23T18:15:00Z")
    api.on("POST", DECISIONS, claimed).on("POST", CLAIM, claimed)
    for command in (("approve", ID, *BOUND), ("claim", ID)):
        result = run(*command)
        assert (result.exit_code, result.stdout) == (5, "")
        assert "'otto' has claimed" in result.stderr


def test_claims_are_taken_given_up_and_reassigned(run: Run, api: FakeApi) -> None:
    mine = {"claimed_by": "rita", "claimed_until": "2999-01-01T00:00:00Z"}
    api.on("POST", CLAIM, Reply(drop=True), Reply(mine))
    result = run("claim", ID)
    assert (result.exit_code, len(api.sent("POST"))) == (0, 2), "claiming twice is claiming once"
    assert api.sent("POST")[0].body == {}
    assert re.search(r"claimed by\s+rita, .* left", result.stdout)

    api.on("DELETE", CLAIM, Reply({"claimed_by": None, "claimed_until": None}))
    assert "nobody" in run("release", ID).stdout
    api.on("POST", f"/v1/reviews/{ID}/reassign", Reply({**mine, "claimed_by": "otto"}))
    assert "otto" in run("reassign", ID, "otto", "--reason", "ill").stdout
    assert api.calls[-1].body == {"to": "otto", "reason": "ill"}


@pytest.mark.parametrize(
    ("arguments", "sent"),
    [
        (("force-model", "--stage", "large"), {"action": "force_model", "stage": "large"}),
        (("force-review",), {"action": "force_review"}),
        (("force-safe-output", "--yes"), {"action": "force_safe_output"}),
    ],
)
def test_an_override_is_sent_once_under_its_own_id(
    run: Run, api: FakeApi, arguments: tuple[str, ...], sent: dict[str, Any]
) -> None:
    path = f"/v1/requests/{ID}/overrides"
    api.on("POST", path, Reply(drop=True), Reply(decision_answer(review=None)))
    result = run("override", ID, *arguments, "--reason", "to be sure")

    assert result.exit_code == 0, result.output
    first, again = api.sent("POST")
    assert first.body == again.body
    identifier = first.body.pop("decision_id")
    assert first.body == {**sent, "reason": "to be sure"}
    assert f"override {identifier}: {arguments[0]}" in result.stderr
    assert "applied" in result.stdout
    api.on("POST", path, Reply(drop=True))
    lost = run("override", ID, *arguments, "--reason", "r", "--decision-id", "o1")
    assert (lost.exit_code, "run the same command with --decision-id o1" in lost.stderr) == (7, True)
    api.on("POST", path, Reply(decision_answer("late", review=None), 409))
    assert run("override", ID, *arguments, "--reason", "r").exit_code == 5


def test_queues_are_listed_and_their_members_changed(run: Run, api: FakeApi) -> None:
    member = {"name": "rita", "added_by": "olaf", "added_at": "2026-11-23T18:00:00Z"}
    closed, open_to_all = (
        {"name": "legal", "members": [member], "pending": 3},
        {"name": "d", "members": [], "pending": 0},
    )
    api.on("GET", "/v1/queues", Reply({"items": [closed, open_to_all]}))
    listed = run("queues").stdout
    for words in ("legal", "rita", "3", "every reviewer"):
        assert words in listed
    path = "/v1/queues/legal/members/rita%40example.com"
    api.on("PUT", path, Reply(closed)).on("DELETE", path, Reply(open_to_all))
    assert "rita" in run("queues", "legal", "--add", "rita@example.com").stdout
    assert "every reviewer" in run("queues", "legal", "--remove", "rita@example.com").stdout
    api.on("GET", "/v1/queues", Reply({"items": []}))
    assert "no queue" in run("queues").stdout


DELEGATION = {
    "id": "del1",
    "delegator": "rita",
    "delegate": "otto",
    "queue": None,
    "starts_at": "2026-11-23T18:00:00Z",
    "ends_at": "2026-11-30T18:00:00Z",
    "revoked_at": None,
}


def test_a_delegation_is_made_for_a_time(run: Run, api: FakeApi) -> None:
    api.on("POST", "/v1/delegations", Reply(DELEGATION, 201))
    before = datetime.now(UTC)
    result = run("delegate", "otto", "--for", "7d", "--queue", "legal")
    assert result.exit_code == 0, result.output
    sent = api.calls[-1].body
    ends = datetime.fromisoformat(sent.pop("ends_at"))
    assert sent == {"delegate": "otto", "queue": "legal"}
    assert before + timedelta(days=7) <= ends <= datetime.now(UTC) + timedelta(days=7)
    assert "del1" in result.stdout

    run("delegate", "otto", "--from", "2026-12-01T08:00Z", "--for", "90m", "--of", "rita")
    assert api.calls[-1].body == {
        "delegate": "otto",
        "delegator": "rita",
        "starts_at": "2026-12-01T08:00:00+00:00",
        "ends_at": "2026-12-01T09:30:00+00:00",
    }
    run("delegate", "otto", "--until", "2026-12-24T09:00+01:00")
    assert api.calls[-1].body == {"delegate": "otto", "ends_at": "2026-12-24T08:00:00+00:00"}


def test_a_delegation_whose_answer_was_lost_is_not_made_twice(run: Run, api: FakeApi) -> None:
    api.on("POST", "/v1/delegations", Reply(drop=True))
    assert run("delegate", "otto", "--for", "7d").exit_code == 7
    assert len(api.calls) == 1


def test_delegations_are_listed_and_revoked(run: Run, api: FakeApi) -> None:
    api.on("GET", "/v1/delegations", Reply({"items": [DELEGATION]}))
    listed = run("delegate").stdout
    for words in ("del1", "rita", "otto", "all", "2026-11-30 18:00:00Z"):
        assert words in listed
    revoked = {**DELEGATION, "revoked_at": "2026-11-24T18:00:00Z"}
    api.on("DELETE", "/v1/delegations/del1", Reply(revoked))
    assert "2026-11-24 18:00:00Z" in run("delegate", "--revoke", "del1").stdout
    api.on("GET", "/v1/delegations", Reply({"items": []}))
    assert "no delegation" in run("delegate").stdout


def test_figures_are_shown_as_tables(run: Run, api: FakeApi) -> None:
    outcomes = ("decided", "approved", "edited", "rejected", "escalated", "revised", "expired", "overridden")
    figures = {
        "since": "2026-10-24T18:00:00Z",
        "hasty_below_seconds": 5.0,
        "pending_by_age": [{"label": "under 1 h", "count": 4, "overdue": 0}],
        "pending_by_queue": [{"queue": "legal", "count": 4, "overdue": 1}],
        "time_to_decision": {"median_seconds": 90.0, "p90_seconds": 7200.0, "n": 12},
        "per_policy": [{"policy": "compliance-check", **dict.fromkeys(outcomes, 1), "changed_rate": 0.25}],
        "agreement": {"reviews": 4, "agreed": 3, "rate": 0.75},
        "per_reviewer": [{"reviewer": "rita", "decided": 9, "approvals": 7, "median_seconds": 40.0, "hasty": 2}],
        "hasty": [{"request_id": ID, "reviewer": "rita", "seconds": 1.5, "decided_at": "2026-11-23T18:00:00Z"}],
    }
    api.on("GET", "/v1/reviews/figures", Reply(figures))
    text = " ".join(run("figures", "--days", "7").stdout.split())
    assert api.calls[0].query == {"days": "7"}
    for words in (
        *("1 min 30 s in the middle of 12 decisions", "2 h", "3 of 4 texts (75%)", "under 1 h 4 0", "legal 4 1"),
        *("compliance-check", "25%", "rita 9 7 2 40 s", f"{ID} rita 1.5 s", "sooner than 5 s"),
    ):
        assert words in text, words
    api.on("GET", "/v1/reviews/figures", Reply({**figures, "agreement": {"reviews": 0, "agreed": 0, "rate": None}}))
    assert "no text was judged by two yet" in run("figures").stdout


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Time passes only between two looks; one second, and how often it was waited is kept."""
    now, waits = [0.0], list[float]()

    def passing(seconds: float) -> None:
        waits.append(seconds)
        now[0] += seconds

    monkeypatch.setattr(watching, "pause", passing)
    monkeypatch.setattr(watching, "clock", lambda: now[0])
    monkeypatch.setattr(watching, "deadline_in", lambda seconds: now[0] + seconds)
    return waits


def page(*items: dict[str, Any], cursor: str | None = None) -> Reply:
    return Reply({"items": list(items), "next_cursor": cursor})


def test_watch_tells_every_change_as_a_line_of_json(run: Run, api: FakeApi, looks: list[float]) -> None:
    first, second = queue_item(), queue_item(id="req_second")
    edited = {**first["proposal"], "review_version": 2}
    api.on(
        "GET",
        "/v1/reviews",
        page(first),
        page(first, second),
        page({**first, "claimed_by": "otto"}, second),
        page({**first, "proposal": edited}, {**second, "queue": "legal", "senior_only": True}),
        page(),
    )
    api.on("GET", f"/v1/reviews/{ID}", Reply(review_answer(state="decided", decided_by="otto", decided_verdict="edit")))
    api.on("GET", "/v1/reviews/req_second", Reply(review_answer(id="req_second", state="expired")))
    result = run("watch", "--queue", "compliance", "--every", "1", "--for", "4", "--json")

    assert result.exit_code == 0, result.output
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [(line["event"], line["review"]["id"]) for line in lines] == [
        ("waiting", ID),
        ("new", "req_second"),
        ("claimed", ID),
        ("changed", ID),
        ("released", ID),
        ("moved", "req_second"),
        ("decided", ID),
        ("expired", "req_second"),
    ]
    decided = lines[6]["review"]
    assert (decided["decided_by"], decided["decided_verdict"], decided["preview"]) == (
        "otto",
        "edit",
        "You may sell it.",
    )
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", line["at"]) for line in lines)
    assert looks == [1.0, 1.0, 1.0, 1.0]
    assert {call.query.get("queue") for call in api.calls if call.path == "/v1/reviews"} == {"compliance"}


def test_watch_tells_people_in_words(run: Run, api: FakeApi, looks: list[float]) -> None:
    api.on("GET", "/v1/reviews", page(queue_item()), page())
    ended = review_answer(state="overridden", decided_by="olaf")
    api.on("GET", f"/v1/reviews/{ID}", Reply(ended))
    result = run("watch", "--every", "1", "--for", "1")

    waits, ended_line = result.stdout.splitlines()
    assert waits.endswith(f"{ID}  compliance-check  high  waits")
    assert ended_line.endswith("overridden by olaf")


def test_watch_follows_more_than_one_page(run: Run, api: FakeApi, looks: list[float]) -> None:
    api.on("GET", "/v1/reviews", page(queue_item(), cursor="c2"), page(queue_item(id="req_second")))
    result = run("watch", "--for", "0", "--json")

    assert [json.loads(line)["review"]["id"] for line in result.stdout.splitlines()] == [ID, "req_second"]
    assert [call.query.get("cursor") for call in api.calls] == [None, "c2"]


def test_what_only_leaves_the_filter_or_is_gone_is_no_decision(run: Run, api: FakeApi, looks: list[float]) -> None:
    api.on("GET", "/v1/reviews", page(queue_item(), queue_item(id="req_gone")), page())
    api.on("GET", f"/v1/reviews/{ID}", Reply(review_answer(state="pending")))
    result = run("watch", "--every", "1", "--for", "1", "--json", "--unclaimed")

    assert [json.loads(line)["event"] for line in result.stdout.splitlines()] == ["waiting", "waiting", "gone"]


def test_watch_outlives_an_api_that_goes_away(run: Run, api: FakeApi, looks: list[float]) -> None:
    away = [Reply(drop=True)] * 6
    api.on("GET", "/v1/reviews", page(), *away, page(queue_item()))
    result = run("watch", "--every", "1", "--for", "3", "--json")

    assert result.exit_code == 0
    assert [json.loads(line)["event"] for line in result.stdout.splitlines()] == ["new"]
    assert result.stderr.count("waiting for it") == 1
    api.on("GET", "/v1/reviews", Reply(drop=True))
    assert run("watch", "--for", "1").exit_code == 7, "a first look that fails is an error"
    api.on("GET", "/v1/reviews", page(), refusal(401, "the key was revoked"))
    assert run("watch", "--every", "1", "--for", "5").exit_code == 4


def test_watch_ends_well_when_a_person_stops_it(run: Run, api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(_seconds: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(watching, "pause", stopped)
    api.on("GET", "/v1/reviews", page(queue_item()))
    result = run("watch", "--json")
    assert (result.exit_code, len(result.stdout.splitlines())) == (0, 1)


def test_in_a_terminal_the_queue_stands_above_its_last_changes(api: FakeApi) -> None:
    api.on("GET", "/v1/reviews", page(queue_item()), page(queue_item(claimed_by="otto")))
    screen, terminal = pty.openpty()
    # Wide enough that no cell of the table is broken.
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 250, 0, 0))
    # The terminal says how wide it is, and nothing that the tests themselves were started with.
    outside = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    env = {**outside, "SLUICE_URL": api.url, "SLUICE_API_KEY": "k", "TERM": "xterm"}
    command = [sys.executable, "-m", "cli", "watch", "--every", "0.2", "--for", "1"]
    try:
        done = subprocess.run(command, cwd=ROOT, env=env, stdout=terminal, check=False, timeout=60)
        shown = os.read(screen, 1_000_000).decode()
    finally:
        os.close(screen)
        os.close(terminal)
    assert done.returncode == 0
    for words in ("1 waiting", "compliance-check", "risk is high", "claimed by otto"):
        assert words in shown
    assert shown.index("1 waiting") < shown.index("claimed by otto")
