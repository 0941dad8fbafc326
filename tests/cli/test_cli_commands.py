"""Commands of a service against a scripted API: what they send, what they print, with which code they end."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli import session
from tests.cli.conftest import Run
from tests.cli.fake_http_api import ID, SHA, FakeApi, Reply, refusal, request_answer, streamed

LOST = Reply(drop=True)


def test_submit_sends_the_whole_request_and_prints_the_answer(run: Run, api: FakeApi) -> None:
    api.on("POST", "/v1/requests", Reply(request_answer()))
    result = run(
        *("submit", "--policy", "support-triage", "My invoice is wrong."),
        *("--context", "seats=40", "-c", "plan=gold", "-c", 'code="7"', "-c", "vip=true", "-c", "x=NaN"),
        *("--risk", "high", "--max-cost", "1e-2", "--max-latency-ms", "5000", "--subject", "customer-7"),
        *("--metadata", "ticket=12", "--idempotency-key", "k1", "--wait", "0"),
        *("--max-hold", "2h", "--webhook", "crm"),
    )
    assert result.exit_code == 0, result.output
    call = api.calls[0]
    assert call.body == {
        "policy": "support-triage",
        "input": "My invoice is wrong.",
        "context": {"seats": 40, "plan": "gold", "code": "7", "vip": True, "x": "NaN"},
        "constraints": {"risk": "high", "max_cost_usd": "0.01", "max_latency_ms": 5000, "max_hold": "2h"},
        "webhook": "crm",
        "subject": "customer-7",
        "metadata": {"ticket": "12"},
        "wait_seconds": 0,
    }
    assert call.headers["idempotency-key"] == "k1"
    assert call.headers["authorization"] == "Bearer sk-sluice-test-secret"
    for word in ("completed", "Forty-two.", "support-triage", "sim-small", "0.00012 USD", SHA):
        assert word in result.stdout


def test_submit_reads_standard_input_and_message_files(run: Run, api: FakeApi, tmp_path: Path) -> None:
    api.on("POST", "/v1/requests", Reply(request_answer()))
    assert run("submit", "-p", "p", "-", stdin="from a pipe\n").exit_code == 0
    assert api.calls[-1].body["input"] == "from a pipe\n"
    turns = [{"role": "user", "content": "hello"}]
    (tmp_path / "turns.json").write_text(json.dumps(turns))
    assert run("submit", "-p", "p", "--messages", "turns.json").exit_code == 0
    assert api.calls[-1].body["messages"] == turns


def test_submit_waits_until_the_end_with_one_request(run: Run, api: FakeApi) -> None:
    api.on("POST", "/v1/requests", Reply(request_answer("running"), 202))
    api.on("GET", f"/v1/requests/{ID}", Reply(request_answer("running")), Reply(request_answer()))
    result = run("submit", "-p", "p", "hello", "--wait", "30", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["status"] == "completed"
    assert len(api.sent("POST")) == 1
    assert all(int(call.query["wait"]) > 0 for call in api.sent("GET"))


def test_submit_does_not_wait_for_a_person(run: Run, api: FakeApi) -> None:
    api.on("POST", "/v1/requests", Reply(request_answer("held"), 202))
    result = run("submit", "-p", "p", "hello", "--wait", "600")
    assert result.exit_code == 6
    assert f"sluice show {ID}" in result.stdout
    assert "a person has to decide" in result.stderr
    assert api.sent("GET") == []


def test_a_wait_that_was_too_short_is_told_by_the_exit_code(
    run: Run, api: FakeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticks = iter(range(0, 1000, 3))
    monkeypatch.setattr(session, "clock", lambda: float(next(ticks)))
    api.on("GET", f"/v1/requests/{ID}", Reply(request_answer("running")))
    result = run("show", ID, "--wait", "10", "--json")
    assert result.exit_code == 6
    assert json.loads(result.stdout)["status"] == "running"
    assert run("show", ID).exit_code == 0


def test_a_lost_answer_is_asked_for_again_under_the_same_key(run: Run, api: FakeApi) -> None:
    api.on("POST", "/v1/requests", LOST, Reply({}, 503), Reply(request_answer()))
    assert run("submit", "-p", "p", "hello").exit_code == 0
    assert len(api.calls) == 3
    assert len({call.headers["idempotency-key"] for call in api.calls}) == 1


def test_a_request_that_may_have_arrived_names_the_key_to_repeat_it_with(run: Run, api: FakeApi) -> None:
    api.on("POST", "/v1/requests", LOST)
    result = run("submit", "-p", "p", "hello")
    assert result.exit_code == 7
    assert f"--idempotency-key {api.calls[0].headers['idempotency-key']}" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("status", "code"), [(400, 4), (401, 4), (403, 4), (404, 3), (409, 5), (413, 4), (429, 4), (500, 1), (503, 7)]
)
def test_each_refusal_has_its_exit_code(run: Run, api: FakeApi, status: int, code: int) -> None:
    api.on("POST", "/v1/requests", refusal(status, "must be larger than zero", "constraints.max_cost_usd"))
    result = run("submit", "-p", "p", "hello", "--max-cost", "-1")
    assert result.exit_code == code
    assert "error: constraints.max_cost_usd: must be larger than zero" in result.stderr
    assert result.stdout == ""
    answered = run("submit", "-p", "p", "hello", "--json")
    assert answered.exit_code == code
    assert json.loads(answered.stdout)["error"]["param"] == "constraints.max_cost_usd"


def test_an_answer_that_is_no_sluice_answer_is_named_as_such(run: Run, api: FakeApi) -> None:
    api.on("GET", f"/v1/requests/{ID}", Reply("<html>hi</html>", content_type="text/html"))
    result = run("show", ID, "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "not a JSON object" in result.stderr
    api.on("GET", f"/v1/requests/{ID}", Reply("<html>nope</html>", 404, content_type="text/html"))
    assert run("show", ID).exit_code == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ("submit", "-p", "p"),
        ("submit", "hello"),
        ("submit", "-p", "p", "hello", "--context", "nothing"),
        ("submit", "-p", "p", "hello", "-c", "a=1", "-c", "a=2"),
        ("submit", "-p", "p", "hello", "--max-cost", "cheap"),
        ("submit", "-p", "p", "hello", "--max-cost", "NaN"),
        ("submit", "-p", "p", "hello", "--risk", "enormous"),
        ("submit", "-p", "p", "hello", "--idempotency-key", "mit Umlaut ä"),
        ("submit", "-p", "p", "--messages", "absent.json"),
        ("submit", "-p", "p", "hello", "--messages", "absent.json"),
        ("submit", "-p", "p", "bytes \udcff"),
        ("show", "../v1/policies"),
        ("show", ".."),
        ("show", ID, "--wait", "-1"),
        ("cancel", ID),
        ("reject", ID),
        ("edit", ID, "--reason", "r", "--output", "a", "--output-file", "b"),
        ("approve", ID, "--sha256", "abc"),
        ("revise", ID, "--reason", "r"),
        ("override", ID, "force-model", "--reason", "r"),
        ("override", ID, "force-review", "--stage", "large", "--reason", "r"),
        ("override", ID, "force-everything", "--reason", "r"),
        ("override", "..", "force-review", "--reason", "r"),
        ("reassign", ID, "otto"),
        ("claim", "../x"),
        ("reviews", "--mine", "--unclaimed"),
        ("reviews", "--risk", "enormous"),
        ("watch", "--every", "0"),
        ("figures", "--days", "0"),
        ("queues", "default"),
        ("queues", "--add", "rita"),
        ("queues", "default", "--add", "rita", "--remove", "otto"),
        ("queues", "..", "--add", "rita"),
        ("queues", "default", "--add", "a/b"),
        ("delegate", "otto"),
        ("delegate", "otto", "--for", "7d", "--until", "2026-12-24T08:00Z"),
        ("delegate", "otto", "--for", "a while"),
        ("delegate", "otto", "--for", "400d"),
        ("delegate", "otto", "--until", "tomorrow"),
        ("delegate", "otto", "--for", "1d", "--from", "today"),
        ("delegate", "otto", "--for", "1d", "--revoke", "d1"),
        ("delegate", "--for", "7d"),
        ("delegate", "--revoke", "../d1"),
        ("review", ID),
        ("show", ID, "--url", "ftp://127.0.0.1"),
        ("show", ID, "--api-key", "schlüssel"),
        ("unknown",),
    ],
)
def test_wrong_usage_reaches_no_api(run: Run, api: FakeApi, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert api.calls == []
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


def test_standard_input_that_is_no_text_is_refused(run: Run) -> None:
    result = run("submit", "-p", "p", "-", stdin=b"\xff\xfe")
    assert result.exit_code == 2
    assert "not UTF-8" in result.stderr


def test_nobody_there_is_seven(run: Run) -> None:
    result = run("policies", SLUICE_URL="http://127.0.0.1:1")
    assert result.exit_code == 7
    assert "cannot be reached" in result.stderr
    assert "make run" in result.stderr


def test_record_shows_entries_attempts_and_decisions(run: Run, api: FakeApi) -> None:
    entry = {"sequence": 1, "at": "2026-11-23T18:00:00.5Z", "kind": "admitted", "actor": "policy", "rationale": "came"}
    attempt = {
        "stage": "small",
        "number": 1,
        "state": "unconfirmed",
        "cost_usd": 0.1,
        "latency_ms": None,
        "error": None,
    }
    decision = {"decision_id": "d1", "verdict": "reject", "reviewer": "rita", "status": "late", "because": "too late"}
    order = {"decision_id": "o1", "action": "force_review", "reviewer": "olaf", "status": "applied", "because": "go"}
    answer = {"request": request_answer(), "records": [entry], "attempts": [attempt], "decisions": [decision, order]}
    api.on("GET", f"/v1/requests/{ID}/record", Reply(answer))
    shown = run("record", ID).stdout
    for word in ("admitted", "came", "2026-11-23 18:00:00Z", "unconfirmed", "0.1 USD", "rita", "late", "too late"):
        assert word in shown
    assert "force_review" in shown
    assert "olaf" in shown
    assert json.loads(run("record", ID, "--json").stdout) == answer


def test_events_are_followed_over_a_broken_connection(run: Run, api: FakeApi) -> None:
    first = streamed(("request.started", {"at": "2026-11-23T18:00:00Z", "data": {}}))
    check = {"at": "2026-11-23T18:00:01Z", "data": {"check": "pii\u2028x", "verdict": "pass", "stage": None}}
    rest = ": nothing new\n\n" + streamed(("check.finished", check), ids=2)
    stream = (Reply(first, content_type="text/event-stream", drop=True), Reply(rest, content_type="text/event-stream"))
    api.on("GET", f"/v1/requests/{ID}/events", *stream)
    lines = run("events", ID).stdout.splitlines()
    assert lines[0] == "2026-11-23 18:00:00Z  request.started"
    assert lines[1] == "2026-11-23 18:00:01Z  check.finished  check=pii<U+2028>x  verdict=pass"
    assert len(lines) == 2
    assert [call.headers.get("last-event-id") for call in api.calls] == [None, "1"]
    told = json.loads(run("events", ID, "--json").stdout)
    assert told == {"id": "2", "event": "check.finished", **check}


def test_events_of_an_unknown_request(run: Run) -> None:
    assert run("events", ID).exit_code == 3


def test_cancel_and_policies(run: Run, api: FakeApi) -> None:
    api.on("POST", f"/v1/requests/{ID}/cancel", Reply(request_answer("cancelled", outcome="cancelled", output=None)))
    result = run("cancel", ID, "--reason", "withdrawn")
    assert (result.exit_code, api.calls[0].body) == (0, {"reason": "withdrawn"})
    assert "cancelled" in result.stdout
    api.on("GET", "/v1/policies", Reply({"items": [{"name": "support-triage", "version": "0123", "description": "d"}]}))
    assert "support-triage" in run("policies").stdout


def test_json_is_the_answer_as_it_came(run: Run, api: FakeApi) -> None:
    text = f'{{ "id": "{ID}",\n  "status": "completed", "unknown": [1.50, "ä"] }}'
    api.on("GET", f"/v1/requests/{ID}", Reply(text))
    assert run("show", ID, "--json").stdout == text + "\n"


def test_help_documents_the_exit_codes(run: Run) -> None:
    words = " ".join(run("--help").stdout.split())
    for piece in (
        "0 done",
        "2 the command line",
        "3 no such",
        "4 the API refused",
        "5 conflict",
        "6 still",
        "7 the API",
    ):
        assert piece in words
