"""What ``show`` shows to whom, and that a review in a terminal has everything that a careful person needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cli.review_view import marked_text
from tests.cli.conftest import Run
from tests.cli.fake_http_api import ID, OFFER, SHA, FakeApi, Reply, refusal, request_answer, review_answer

REVIEW = f"/v1/reviews/{ID}"
REQUEST = f"/v1/requests/{ID}"
WIDE = {"COLUMNS": "200"}


def shown(run: Run, api: FakeApi, **changes: Any) -> str:
    """The review as one line of words."""
    api.on("GET", REVIEW, Reply(review_answer(**changes)))
    result = run("show", ID, **WIDE)
    assert result.exit_code == 0, result.output
    return " ".join(result.stdout.split())


def test_a_reviewer_is_shown_the_whole_review(run: Run, api: FakeApi) -> None:
    text = shown(run, api)
    for words in (
        *("May we sell this product?", "You may sell[1] it.", "from high on a person must approve", "risk.hold_at"),
        *("ab12cd34ef56", "version 1", "citations", "article 9 does not exist", "[2] citations fail see article 8"),
        *(
            "left (2999-01-01 00:00:00Z)",
            "answers side by side",
            "1 small",
            "2 large (held)",
            "31%",
            "120 ms, 2 attempts",
        ),
        *(
            "simulated-small-2026-11",
            "0.00012 USD",
            "Perhaps.",
            "confidence fail",
            "if nobody decides",
            "to queue legal",
        ),
        *(
            f"sluice approve {ID}",
            "sends exactly the text above",
            f"sluice edit {ID} --reason …",
            "--overrule citations",
        ),
        *(f"sluice reject {ID}", "A person will answer you.", f"sluice escalate {ID} --reason", "stage largest"),
        *(f"sluice escalate {ID} --to legal", "senior reviewers", f"sluice revise {ID}", "2 times at most"),
        *("you may decide", "compliance-check @ 0123456789abcdef", "shop", "customer-7"),
    ):
        assert words in text, words
    assert "people are told" not in text, "what lies behind is not still to come"
    assert [call.path for call in api.calls] == [REVIEW]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"may_decide": {"allowed": False, "because": "it is yours"}}, ["you may not decide: it is yours"]),
        ({"may_decide": {"allowed": True, "on_behalf_of": "otto"}}, ["you may decide, for otto"]),
        ({"may_decide": {"allowed": True, "delegators": ["otto"]}}, ["may decide, also for otto (--on-behalf-of)"]),
        ({"claimed_by": "otto", "claimed_until": "2999-01-01T00:00:00Z"}, ["claimed by otto,"]),
        ({"viewers": ["otto", "sena"]}, ["also looking otto, sena"]),
        ({"senior_only": True}, ["compliance, senior reviewers only"]),
        ({"approvals_needed": 2, "approvals": 1}, ["1 of 2 different reviewers", "before the other reviewers"]),
        ({"approvals_needed": 2, "approvals": None, "blind": True}, ["how others decided is shown once you have"]),
        ({"state": "overridden", "decided_by": "olaf"}, ["olaf, who ordered otherwise", "the answer that was held"]),
        ({"state": "decided", "decided_by": "rita", "decided_verdict": "edit"}, ["rita: edit"]),
        (
            {
                "edits": [
                    {"review_version": 1, "edited_by": "otto", "lines": ["@@ -1 +1 @@", "-You may", "+You may not"]}
                ]
            },
            ["edit of version 1 by otto", "-You may", "+You may not"],
        ),
        ({"edits": [{"review_version": 1, "edited_by": None, "lines": ["+x"]}]}, ["edit of version 1 +x"]),
    ],
)
def test_what_else_there_is_to_know_is_said(run: Run, api: FakeApi, changes: dict[str, Any], words: list[str]) -> None:
    text = shown(run, api, **changes)
    assert [word for word in words if word not in text] == []


def test_only_what_can_be_decided_is_offered(run: Run, api: FakeApi) -> None:
    empty = {"text": "", "result_sha256": SHA, "review_version": 1}
    offer = {**OFFER, "verdicts": ["approve", "reject", "escalate", "revise"], "senior_queues": [], "revisions_left": 0}
    text = shown(run, api, proposal=empty, may_escalate=False, offer=offer)
    assert "no model gave an answer" in text
    assert f"sluice reject {ID}" in text
    for verdict in ("approve", "edit", "escalate", "revise"):
        assert f"sluice {verdict}" not in text
    assert "you can" not in shown(run, api, state="expired")


def test_a_stage_without_an_answer_says_why(run: Run, api: FakeApi) -> None:
    failed = {"number": 1, "stage": "small", "failure": "no reply in time", "attempts": 3, "checks": []}
    erased = {"number": 2, "stage": "large", "text": None, "checks": [], "proposed": True}
    broken = {"number": 3, "stage": "x", "text": "a" * 700, "defect": "cut off", "checks": []}
    text = shown(run, api, attempts=[failed, erased, broken]).replace(" ", "")
    for words in ("none: no reply in time", "(erased)", "…", "(cut off)", "3 attempts"):
        assert words.replace(" ", "") in text
    assert "a" * 601 not in text


def test_marks_keep_the_text_and_stay_within_it() -> None:
    content = "a\x1b[b\u202ec"
    findings = [
        {"detail": "d", "start": start, "end": end} for start, end in ((0, 2), (1, 99), (-5, 1), (4, 2), (9, 9))
    ]
    marked, rows = marked_text(content, [{"name": "n", "verdict": "fail", "findings": [*findings, {"start": True}]}])
    plain = marked.plain
    for number in range(1, 7):
        plain = plain.replace(f"[{number}]", "")
    assert plain == "a␛[b<U+202E>c"
    assert len(rows) == 6
    assert marked_text("", [{"findings": [{"start": 0, "end": 1}]}])[0].plain == ""


def test_a_key_that_is_no_reviewers_is_shown_the_request(run: Run, api: FakeApi) -> None:
    api.on("GET", REQUEST, Reply(request_answer("held")))
    api.on("GET", REVIEW, refusal(403, "this needs a key with the role reviewer"))
    assert "waits for a person" in run("show", ID).stdout
    auditors = {"allowed": False, "because": "no reviewer", "reviewer": False}
    api.on("GET", REVIEW, Reply(review_answer(may_decide=auditors)))
    assert "waits for a person" in run("show", ID).stdout
    assert "answers side by side" in run("show", ID, "--as", "review").stdout


def test_without_a_review_the_request_is_shown(run: Run, api: FakeApi) -> None:
    api.on("GET", REQUEST, Reply(request_answer()))
    assert "Forty-two." in run("show", ID).stdout
    api.on("GET", REVIEW, Reply(review_answer()))
    calls = len(api.calls)
    assert "Forty-two." in run("show", ID, "--as", "request").stdout
    assert "Forty-two." in run("show", ID, "--wait", "5").stdout
    assert {call.path for call in api.calls[calls:]} == {REQUEST}


def test_a_reviewer_who_names_nothing_that_is_held_is_told_so(run: Run, api: FakeApi) -> None:
    api.on("GET", REQUEST, refusal(403, "this needs a key with the role service"))
    result = run("show", ID)
    assert (result.exit_code, result.stdout) == (3, "")
    assert "there is no review" in result.stderr
    assert json.loads(run("show", ID, "--json").stdout)["error"]["message"] == "there is no such thing"


@pytest.mark.parametrize(
    ("keys", "state", "review"),
    [
        ({"service": "s", "reviewer": "r"}, "pending", True),
        ({"service": "s", "reviewer": "r"}, "decided", False),
        ({"service": "s", "senior-reviewer": "r"}, "pending", True),
        ({"reviewer": "r"}, "decided", True),
        ({"service": "s"}, "pending", False),
    ],
)
def test_with_the_keys_of_a_stack_a_review_is_shown_while_it_waits(
    run: Run, api: FakeApi, tmp_path: Path, keys: dict[str, str], state: str, review: bool
) -> None:
    api.on("GET", REVIEW, Reply(review_answer(state=state))).on("GET", REQUEST, Reply(request_answer()))
    (tmp_path / "var").mkdir()
    path = tmp_path / "var" / "credentials.json"
    path.write_text(json.dumps({"url": api.url, "keys": keys}))
    path.chmod(0o600)
    result = run("show", ID, SLUICE_URL="", SLUICE_API_KEY="")

    assert result.exit_code == 0, result.output
    assert ("answers side by side" in result.stdout) is review
    assert ("Forty-two." in result.stdout) is not review
