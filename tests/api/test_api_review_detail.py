"""What one review shows: answers side by side with their checks, what an edit changed, and what can be decided."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.review_rows import AnswerView
from api.edit_lines import unified
from domain.ledger import RecordKind
from domain.payload import sha256_text
from domain.review import DecisionStatus, Proposal, ReviewVerdict
from tests.api.conftest import Caller
from tests.api.fakes_api import World
from tests.examples import SAFE
from tests.fakes import answer_of

UNSURE = {"name": "confidence", "check": "confidence", "verdict": "fail", "score": 0.3, "threshold": 0.8}
FOUND = {"kind": "term", "detail": "holds 'all'", "start": 7, "end": 10}
FORBIDDEN = {"name": "terms", "check": "terms", "verdict": "fail", "findings": [FOUND]}
TWO_ATTEMPTS = [
    {"number": 1, "state": "failed", "cost_usd": "0.25", "latency_ms": 100.0, "error": "503"},
    {
        "number": 2,
        "state": "finished",
        "cost_usd": "0.5",
        "latency_ms": 300.0,
        "usage": {"input_tokens": 20, "output_tokens": 10},
    },
]


def climbed(world: World, identifier: str) -> None:
    """The story of a request that three stages were asked for: one was unsure, one was away, the last one is held."""
    world.records[identifier] = []
    world.record(
        identifier, RecordKind.INPUT_CHECKED, "pass: clean", "check:pii", name="pii", check="pii", verdict="pass"
    )
    said(world, identifier, "small", "Maybe.", 1)
    world.record(identifier, RecordKind.OUTPUT_CHECKED, "fail: 0.3 is below 0.8", "check:confidence", "small", **UNSURE)
    world.record(
        identifier, RecordKind.STAGE_FAILED, "no reply in time", "model:medium", "medium", attempts=TWO_ATTEMPTS[:1]
    )
    said(world, identifier, "large", "Buy it all.", 3)
    world.record(identifier, RecordKind.OUTPUT_CHECKED, "fail: forbidden", "check:terms", "large", **FORBIDDEN)
    world.versions[identifier] = []
    world.desk.change(identifier, proposal=Proposal.of("Buy it all.", 1, 2))
    world.put_forward(identifier)


def said(world: World, identifier: str, stage: str, text: str, visit: int) -> None:
    told = {
        "result_sha256": sha256_text(text),
        "attempts": TWO_ATTEMPTS,
        "mean_logprob": math.log(0.5),
        "finish_reason": "stop",
    }
    world.record(identifier, RecordKind.STAGE_ANSWERED, "answered in 2 attempts", f"model:{stage}", stage, **told)
    world.answers.setdefault(identifier, []).append(
        AnswerView(stage=stage, visit=visit, number=2, answer=answer_of(text))
    )


async def shown(caller: Caller, identifier: str, key: str = "sk-reviewer") -> dict[str, Any]:
    answer = await caller.get(f"/v1/reviews/{identifier}", key=key)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def test_every_stage_stands_beside_the_others_with_its_checks(caller: Caller) -> None:
    identifier = await caller.held()
    climbed(caller.world, identifier)
    review = await shown(caller, identifier)

    facts = ("stage", "text", "failure", "confidence", "cost_usd", "latency_ms", "tokens", "attempts", "proposed")
    assert [tuple(stage[fact] for fact in facts) for stage in review["attempts"]] == [
        ("small", "Maybe.", None, 0.3, 0.75, 400.0, 30, 2, False),
        ("medium", None, "no reply in time", None, 0.25, 100.0, 0, 1, False),
        ("large", "Buy it all.", None, pytest.approx(0.5), 0.75, 400.0, 30, 2, True),
    ]
    assert [[check["name"] for check in stage["checks"]] for stage in review["attempts"]] == [
        ["confidence"],
        [],
        ["terms"],
    ]
    assert [(check["stage"], check["name"]) for check in review["checks"]] == [
        (None, "pii"),
        ("small", "confidence"),
        ("large", "terms"),
    ]
    (check,) = review["proposal_checks"]
    (finding,) = check["findings"]
    assert review["proposal"]["text"][finding["start"] : finding["end"]] == "all"
    assert review["attempts"][0]["checks"][0]["threshold"] == 0.8


async def test_of_two_equal_answers_the_last_one_is_held(caller: Caller) -> None:
    identifier = await caller.held()
    climbed(caller.world, identifier)
    said(caller.world, identifier, "large", "Buy it all.", 4)
    review = await shown(caller, identifier)

    assert [stage["proposed"] for stage in review["attempts"]] == [False, False, False, True]
    assert [stage["text"] for stage in review["attempts"]] == ["Maybe.", None, "Buy it all.", "Buy it all."]


async def test_an_erased_answer_keeps_its_hash(caller: Caller) -> None:
    identifier = await caller.held()
    climbed(caller.world, identifier)
    caller.world.answers[identifier].clear()
    stage = (await shown(caller, identifier))["attempts"][2]

    assert (stage["text"], stage["result_sha256"], stage["proposed"]) == (None, sha256_text("Buy it all."), True)


async def test_a_hold_without_an_answer_proposes_none_of_the_attempts(caller: Caller) -> None:
    identifier = await caller.held()
    climbed(caller.world, identifier)
    caller.world.desk.change(identifier, proposal=Proposal.of("", 1, None))
    review = await shown(caller, identifier)

    assert not any(stage["proposed"] for stage in review["attempts"])
    assert review["proposal_checks"] == []


async def test_what_can_be_decided_and_what_it_leads_to(caller: Caller) -> None:
    identifier = await caller.held()
    review = await shown(caller, identifier)

    offer = review["offer"]
    assert offer["verdicts"] == ["approve", "edit", "reject", "escalate"]
    assert (offer["next_stage"], offer["safe_output"], offer["approvals_needed"]) == ("large", SAFE, 1)
    assert (review["approvals"], review["approvals_needed"], review["blind"]) == (0, 1, False)
    assert review["links"] == {
        "self": f"/v1/reviews/{identifier}",
        "decisions": f"/v1/reviews/{identifier}/decisions",
        "claim": f"/v1/reviews/{identifier}/claim",
        "request": f"/v1/requests/{identifier}",
        "timeline": f"/v1/requests/{identifier}/timeline",
    }


async def test_an_edit_that_was_released_shows_what_it_changed(caller: Caller) -> None:
    identifier = await caller.held()
    await caller.decided(identifier, "edit", "sk-reviewer", DecisionStatus.APPLIED, output="Buy it all.\nOr half.")
    refused = await caller.decide(identifier, "edit", "sk-otto", wait=0, output="Another.")
    assert refused.status_code == 202
    review = await shown(caller, identifier, "sk-auditor")

    (edit,) = review["edits"]
    assert (edit["review_version"], edit["edited_by"]) == (1, "rita")
    assert edit["lines"] == ["@@ -1 +1,2 @@", " Buy it all.", "+Or half."]
    assert review["decided_verdict"] == ReviewVerdict.EDIT


LINES = st.lists(st.sampled_from(["a", "b", "c", "", "  d"]), min_size=1, max_size=30).map("\n".join)


@given(before=LINES, after=LINES)
def test_a_diff_leads_from_one_text_to_the_other(before: str, after: str) -> None:
    lines = unified(before, after)
    assert (lines == ()) is (before == after)
    assert _patched(before, lines) == after


def _patched(before: str, lines: tuple[str, ...]) -> str:
    """``before`` with the hunks applied, as the format of unified diffs is defined."""
    old, new, at = before.split("\n"), [], 0
    for line in lines:
        if line.startswith("@@"):
            start = int(line.split()[1][1:].partition(",")[0])
            length = int(line.split()[1].partition(",")[2] or 1)
            start = start if length == 0 else start - 1
            new += old[at:start]
            at = start
        elif line.startswith("+"):
            new.append(line[1:])
        else:
            assert old[at] == line[1:]
            if line.startswith(" "):
                new.append(old[at])
            at += 1
    return "\n".join([*new, *old[at:]])


def test_a_diff_takes_no_time_whatever_the_texts_are() -> None:
    before = "\n".join(str(number) for number in range(20_000))
    after = "\n".join(str(number) for number in range(20_000, 0, -1))
    assert _patched(before, unified(before, after)) == after
    lines = unified(before, before.replace("\n77\n", "\nx\n").replace("\n19000\n", "\ny\n"))
    assert [line for line in lines if line[0] in "+-"] == ["-77", "+x", "-19000", "+y"]
    assert len(lines) == 2 * 9, "two places with their context"
    alike = "a\n" * 20_000
    assert _patched(alike + "b", unified(alike + "b", "b\n" + alike)) == "b\n" + alike
