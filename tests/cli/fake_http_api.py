"""An HTTP API for tests of the command line: real sockets, answers by script, every call remembered."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

ID = "req_abc123"
SHA = "ab12cd34ef56" + "0" * 52


@dataclass(frozen=True)
class Reply:
    """One answer. ``drop`` closes the connection after ``body`` was sent, or at once where there is none."""

    body: Any = None
    status: int = 200
    content_type: str = "application/json"
    drop: bool = False

    @property
    def text(self) -> str:
        """The body as it is sent."""
        return self.body if isinstance(self.body, str) else json.dumps(self.body, ensure_ascii=False)


@dataclass(frozen=True)
class Call:
    """One call as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass
class FakeApi:
    """The script: for each call its answers in order, the last one for ever."""

    url: str = ""
    calls: list[Call] = field(default_factory=list)
    _script: dict[tuple[str, str], list[Reply]] = field(default_factory=dict)

    def on(self, method: str, path: str, *replies: Reply) -> Self:
        """Answer ``method path`` with ``replies``."""
        self._script[method, path] = list(replies)
        return self

    def take(self, call: Call) -> Reply:
        """The next answer for ``call``."""
        self.calls.append(call)
        replies = self._script.get((call.method, call.path))
        if not replies:
            return refusal(404, "there is no such thing")
        return replies.pop(0) if len(replies) > 1 else replies[0]

    def sent(self, method: str) -> list[Call]:
        """The calls of one method."""
        return [call for call in self.calls if call.method == method]


def refusal(status: int, message: str, param: str | None = None) -> Reply:
    """An error in the envelope."""
    return Reply({"error": {"message": message, "type": "t", "param": param, "code": "c"}}, status)


def request_answer(status: str = "completed", **changes: Any) -> dict[str, Any]:
    """A request as the API shows it."""
    ended = status not in ("running", "held")
    return {
        "id": ID,
        "status": status,
        "outcome": "accepted" if status == "completed" else None,
        "output": "Forty-two." if ended else None,
        "result_sha256": SHA if ended else None,
        "reason": "every check that must pass has passed" if ended else None,
        "risk": "low",
        "policy": {"name": "support-triage", "version": "0123456789abcdef"},
        "model": {"name": "sim-small", "version_served": "simulated-small-2026-11"} if ended else None,
        "stages_attempted": 1,
        "cost_usd": 0.00012,
        "baseline_cost_usd": 0.003,
        "created_at": "2026-11-23T18:00:00Z",
        "ended_at": "2026-11-23T18:00:01Z" if ended else None,
        "links": {"self": f"/v1/requests/{ID}"},
    } | changes


FOUND = {"kind": "citation", "detail": "article 9 does not exist", "start": 8, "end": 12}
CITATIONS = {
    "stage": "large",
    "name": "citations",
    "check": "external",
    "verdict": "fail",
    "rationale": "fail: article 9 does not exist",
    "findings": [FOUND, {"kind": "source", "detail": "see article 8", "start": None, "end": None}],
}
OFFER = {
    "verdicts": ["approve", "edit", "reject", "escalate", "revise"],
    "overrule": ["citations"],
    "senior_queues": ["legal"],
    "revisions_left": 2,
    "approvals_needed": 1,
    "approval_needs_reason": False,
    "next_stage": "largest",
    "safe_output": "A person will answer you.",
    "moments": [
        {"at": "2020-01-01T00:00:00Z", "rung": {"do": "notify", "queue": None}},
        {"at": "2998-01-01T00:00:00Z", "rung": {"do": "escalate", "queue": "legal"}},
    ],
}


def queue_item(**changes: Any) -> dict[str, Any]:
    """A review as a list of the API shows it."""
    return {
        "id": ID,
        "state": "pending",
        "queue": "compliance",
        "senior_only": False,
        "policy": {"name": "compliance-check", "version": "0123456789abcdef"},
        "requester": "shop",
        "subject": "customer-7",
        "risk": "high",
        "why": "risk is high, and from high on a person must approve",
        "rule": "risk.hold_at",
        "proposal": {"result_sha256": SHA, "review_version": 1, "stage_index": 1, "edited": False},
        "preview": "You may sell it.",
        "may_escalate": True,
        "opened_at": "2026-11-23T18:00:00Z",
        "expires_at": "2999-01-01T00:00:00Z",
        "reminders": 0,
        "approvals_needed": 1,
        "approvals": 0,
        "claimed_by": None,
        "claimed_until": None,
        "decided_by": None,
        "decided_verdict": None,
        "closed_at": None,
        "links": {},
    } | changes


def review_answer(**changes: Any) -> dict[str, Any]:
    """A review as the API shows it."""
    small = {
        "number": 1,
        "stage": "small",
        "model": "sim-small",
        "model_version_served": "simulated-small-2026-11",
        "text": "Perhaps.",
        "failure": None,
        "defect": None,
        "confidence": 0.31,
        "cost_usd": 0.00012,
        "latency_ms": 120.0,
        "attempts": 1,
        "checks": [{"stage": "small", "name": "confidence", "verdict": "fail"}],
        "proposed": False,
    }
    large = {**small, "number": 2, "stage": "large", "text": "You may sell it.", "attempts": 2, "proposed": True}
    return {
        **queue_item(),
        "proposal": {
            "text": "You may sell it.",
            "result_sha256": SHA,
            "review_version": 1,
            "stage_index": 1,
            "edited": False,
        },
        "messages": [{"role": "user", "content": "May we sell this product?"}],
        "offer": OFFER,
        "may_decide": {"allowed": True, "because": None, "reviewer": True, "on_behalf_of": None, "delegators": []},
        "checks": [
            {"stage": None, "name": "input-pii", "verdict": "pass", "rationale": "nothing found", "findings": []},
            CITATIONS,
        ],
        "proposal_checks": [CITATIONS],
        "attempts": [small, {**large, "checks": [CITATIONS]}],
        "versions": [],
        "edits": [],
        "viewers": [],
        "records": [],
        "blind": False,
    } | changes


def decision_answer(status: str = "applied", **changes: Any) -> dict[str, Any]:
    """What the API answers to a decision; an error is in it where the decision had no effect."""
    applied = status == "applied"
    answer = {
        "decision_id": "d",
        "status": status,
        "because": "it was looked at",
        "review": {
            "id": ID,
            "state": "decided" if applied else "pending",
            "review_version": 1,
            "approvals_needed": 2 if status == "counted" else 1,
            "approvals": 1 if status == "counted" else 0,
        },
        "request": {"id": ID, "status": "completed" if applied else "held", "outcome": "approved" if applied else None},
    } | changes
    if status in ("applied", "counted", "pending"):
        return answer
    return answer | {"error": {"message": "not applied", "type": "conflict_error", "param": None, "code": status}}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    api: FakeApi

    def _serve(self) -> None:
        parts = urlsplit(self.path)
        raw = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        headers = {name.lower(): value for name, value in self.headers.items()}
        call = Call(self.command, parts.path, dict(parse_qsl(parts.query)), headers, json.loads(raw) if raw else None)
        reply = self.api.take(call)
        if reply.drop and reply.body is None:
            self.close_connection = True
            return
        body = reply.text.encode("utf-8")
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(body) + (1 if reply.drop else 0)))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.close_connection or reply.drop

    do_GET = _serve  # noqa: N815
    do_POST = _serve  # noqa: N815
    do_PUT = _serve  # noqa: N815
    do_DELETE = _serve  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        """Tests read what is printed; the server adds nothing."""


@contextmanager
def served() -> Iterator[FakeApi]:
    """A fake API on a free port of the loopback address."""
    api = FakeApi()
    handler = type("Handler", (_Handler,), {"api": api})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    api.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield api
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def streamed(*events: tuple[str, Any], ids: int = 1) -> str:
    """Server-sent events as text, with ids counted from ``ids``."""
    return "".join(
        f"id: {number}\nevent: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
        for number, (name, data) in enumerate(events, start=ids)
    )
