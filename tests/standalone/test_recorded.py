"""Recorded questions: the report's figures on a small file of our own, and the whole way on a dozen real ones."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import math
import re
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from standalone.processes import StackError
from standalone.recorded import load_questions, recorded_snapshot
from standalone.recorded_report import Pair, Question, Told, call_cost, problems, report, wilson
from standalone.recorded_table import report_table

CHEAP, STRONG = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"
ROOT = Path(__file__).parents[2]
RECORDED = ROOT.parent / "shared" / "data" / "gsm8k_recorded.jsonl.gz"
PAIR = Pair(*recorded_snapshot().models)

OWN = [
    # Right at once.
    ("own-1", "A shelf holds 3 rows of 4 jars. How many?", "3 * 4 = 12 jars.\n#### 12", True, "It is 12.", True),
    # Miscalculated; the strong model knows better.
    ("own-2", "Two crates of 9 pears. How many?", "2 * 9 = 17 pears.\n#### 17", False, "2 * 9 = 18.", True),
    # Wrong, and nothing in the text shows it.
    ("own-3", "5 boxes of 6 eggs, two break. How many?", "5 * 6 = 30.\n#### 30", False, "30 - 2 = 28.", True),
    # Right by luck behind a slip: a false alarm, after which the strong model errs.
    ("own-4", "Half of 50?", "50 / 2 = 24, so 25.\n#### 25", True, "It is 24.", False),
    # Both break off: a person decides.
    ("own-5", "What are 7 bags of 8 nuts, and 9 more, and then 10 more of them?", "7 * 8 = ", False, "7 x 8 is", False),
]


def own_file(path: Path, rows: Sequence[tuple[str, str, str, bool, str, bool]] = OWN) -> Path:
    """``rows`` as a recorded file."""
    return written(path, [row_of(*row) for row in rows])


def row_of(id: str, prompt: str, cheap: str, cheap_right: bool, strong: str, strong_right: bool) -> dict[str, Any]:
    answers = {CHEAP: {"text": cheap, "correct": cheap_right}, STRONG: {"text": strong, "correct": strong_right}}
    return {"id": id, "prompt": prompt, "answers": answers}


def written(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    with gzip.open(path, "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(row) + "\n" for row in rows)
    return path


def told(question: Question, status: str, stages: int, objections: tuple[str, ...] = ()) -> Told:
    """What a sound API tells of a question that took ``stages``."""
    models = (PAIR.cheap, PAIR.strong)[:stages]
    cost = sum((call_cost(question, model) for model in models), Decimal(0))
    text = question.answers[models[-1].id].text
    return Told(question, f"req_{question.id}", status, models[-1].name, text, stages, cost, objections)


@pytest.fixture
def questions(tmp_path: Path) -> list[Question]:
    return load_questions(own_file(tmp_path / "own.jsonl.gz"), PAIR)


@pytest.fixture
def all_told(questions: list[Question]) -> list[Told]:
    return [
        told(questions[0], "completed", 1),
        told(questions[1], "completed", 2, ("arithmetic",)),
        told(questions[2], "completed", 1),
        told(questions[3], "completed", 2, ("arithmetic",)),
        told(questions[4], "held", 2, ("completeness", "arithmetic")),
    ]


def tokens(text: str) -> int:
    return math.ceil(len(text) / 4)


def dollars(prompt: str, text: str, sent: float, received: float) -> float:
    return (tokens(prompt) * sent + tokens(text) * received) / 1e6


def test_a_recorded_file_is_read_up_to_the_limit(tmp_path: Path) -> None:
    path = own_file(tmp_path / "own.jsonl.gz")
    first = load_questions(path, PAIR, 2)
    assert [question.id for question in first] == ["own-1", "own-2"]
    assert first[1].answers[STRONG].text == "2 * 9 = 18."
    assert not first[1].answers[CHEAP].correct
    assert len(load_questions(path, PAIR)) == len(OWN)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([], "holds no question"),
        ([{"id": "a", "prompt": "?", "correct": {CHEAP: True}}], "line 1 is not of the form"),
        ([{"id": "a", "prompt": "?", "answers": {CHEAP: {"text": "a", "correct": True}}}], "line 1 is not of the form"),
        ([row_of(*OWN[0]), row_of(*OWN[0])], "holds a prompt twice"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, rows: list[dict[str, Any]], said: str) -> None:
    with pytest.raises(StackError, match=said):
        load_questions(written(tmp_path / "bad.jsonl.gz", rows), PAIR)


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    plain = tmp_path / "plain.jsonl.gz"
    plain.write_text("not compressed")
    for path in (plain, tmp_path / "absent.jsonl.gz"):
        with pytest.raises(StackError, match="cannot be read"):
            load_questions(path, PAIR)


def test_the_wilson_interval_is_the_published_one() -> None:
    assert wilson(0, 0) is None
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(20, 20) == pytest.approx((0.8389, 1.0), abs=1e-4)


def test_every_strategy_is_scored_on_the_same_questions(all_told: list[Told]) -> None:
    rows = {row["name"]: row for row in report(all_told, PAIR)["strategies"]}
    assert {name: (row["right"], row["of"]) for name, row in rows.items()} == {
        "always cheap": (2, 5),
        "always strong": (3, 5),
        "random, as many strong": (2.6, 5),  # 2/5 of the cheap model's 2 and 3/5 of the strong one's 3
        "longest prompts strong": (3, 5),  # own-5, own-1 and own-3 are longest
        "oracle": (4, 5),
        "Sluice: released": (2, 4),
        "Sluice: held unchanged": (2, 5),
        "Sluice: held corrected": (3, 5),
    }
    assert rows["always strong"]["cost_of_always_strong"] == 1
    assert rows["oracle"]["strong_share"] == pytest.approx(3 / 5)
    assert rows["random, as many strong"]["interval_95"] is None


def test_costs_count_every_call(all_told: list[Told]) -> None:
    rows = {row["name"]: row["cost_usd"] for row in report(all_told, PAIR)["strategies"]}
    cheap = [dollars(prompt, text, 0.6, 0.6) for _, prompt, text, _, _, _ in OWN]
    strong = [dollars(prompt, text, 10, 30) for _, prompt, _, _, text, _ in OWN]
    assert rows["always cheap"] == pytest.approx(sum(cheap), abs=1e-9)
    assert rows["always strong"] == pytest.approx(sum(strong), abs=1e-9)
    assert rows["random, as many strong"] == pytest.approx(0.4 * sum(cheap) + 0.6 * sum(strong), abs=1e-9)
    assert rows["oracle"] == pytest.approx(cheap[0] + cheap[3] + strong[1] + strong[2] + strong[4], abs=1e-9)
    sluice = sum(cheap) + strong[1] + strong[3] + strong[4]
    for name in ("Sluice: released", "Sluice: held unchanged", "Sluice: held corrected"):
        assert rows[name] == pytest.approx(sluice, abs=1e-9)


def test_what_the_guardrails_did_is_told(all_told: list[Told]) -> None:
    figures = report(all_told, PAIR)
    guardrails = figures["guardrails"]
    assert (guardrails["wrong_cheap_answers_caught"]["count"], guardrails["wrong_cheap_answers_caught"]["of"]) == (2, 3)
    assert (guardrails["false_alarms_on_right_ones"]["count"], guardrails["false_alarms_on_right_ones"]["of"]) == (1, 2)
    assert guardrails["by_check"] == {
        "arithmetic": {"wrong_caught": 2, "false_alarms": 1},
        "completeness": {"wrong_caught": 1, "false_alarms": 0},
    }
    assert figures["escalated"]["count"] == 3
    assert figures["escalated_answers"] == {"right_before": 1, "right_after": 1}
    assert (figures["held"]["count"], figures["held_proposals"]["right"]) == (1, 0)
    assert figures["accounting"]["cost_usd_told"] == figures["accounting"]["cost_usd_recomputed_from_texts"]


def test_sound_answers_raise_no_problem(questions: list[Question], all_told: list[Told]) -> None:
    assert problems(questions, all_told, PAIR) == []


def test_every_kind_of_unsound_answer_is_told(questions: list[Question], all_told: list[Told]) -> None:
    def found(index: int, **changed: Any) -> str:
        broken = list(all_told)
        broken[index] = Told(**{**vars(all_told[index]), **changed})
        (problem,) = problems(questions, broken, PAIR)
        return problem

    assert "5 questions were asked and 4 answers came back" in problems(questions, all_told[:4], PAIR)
    assert "own-2: ended as failed: gateway" in found(1, status="failed", reason="gateway")
    assert "own-1: ended as refused" in found(0, status="refused")
    assert "own-1: is completed with an answer of no model" in found(0, model="")
    assert "own-1: the text that is completed is not what mixtral-8x7b" in found(0, text="12")
    assert "own-2: cost is told as" in found(1, cost_usd=all_told[1].cost_usd + Decimal("1e-6"))
    assert "own-3: cost is told as" in found(2, stages=2)
    assert "own-5: check arithmetic could not judge" in found(4, unjudged=("arithmetic",))
    assert "two questions share one request" in found(1, request_id=all_told[0].request_id)


def test_the_table_fits_a_terminal(all_told: list[Told]) -> None:
    console = Console(width=80, file=io.StringIO(), record=True)
    console.print(report_table(report(all_told, PAIR)))
    text = console.export_text()
    assert re.search(r"Sluice: held corrected +60.0 %", text)
    assert "tokens were not recorded" in text
    assert "…" not in text


@pytest.mark.skipif(not RECORDED.exists(), reason=f"the recorded answers are not at {RECORDED}")
async def test_recorded_questions_go_through_the_whole_stack(tmp_path: Path) -> None:
    with gzip.open(RECORDED, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for _, line in zip(range(12), lines, strict=False)]
    rows += [row_of(*OWN[1]), row_of(*OWN[4])]
    file = written(tmp_path / "some.jsonl.gz", rows)
    code, out, err = await command(str(file), "--at-once", "6", "--json", "--data", str(tmp_path / "data"))
    assert code == 0, err
    figures = json.loads(out)
    assert figures["problems"] == []
    assert figures["questions"] == len(rows)
    # Computed again from the file and from the attempts in the ledger, with nothing of the report's own.
    held = rows[-1]
    strategies = {row["name"]: row for row in figures["strategies"]}
    for name, model, prices in (("always cheap", CHEAP, (0.6, 0.6)), ("always strong", STRONG, (10, 30))):
        assert strategies[name]["right"] == sum(row["answers"][model]["correct"] for row in rows)
        assert strategies[name]["cost_usd"] == pytest.approx(cost_of(rows, model, *prices), abs=1e-9)
    asked_strong = prompts_in_the_journal(tmp_path / "data" / "sluice.db", "strong")
    escalated = [row for row in rows if row["prompt"] in asked_strong]
    assert prompts_in_the_journal(tmp_path / "data" / "sluice.db", "cheap") == {row["prompt"] for row in rows}
    assert {"own-2", "own-5"} <= {row["id"] for row in escalated}
    assert figures["escalated"]["count"] == len(escalated)
    assert figures["held"]["count"] == 1
    assert figures["held_proposals"]["right"] == 0
    spent = cost_of(rows, CHEAP, 0.6, 0.6) + cost_of(escalated, STRONG, 10, 30)
    answered = [row["answers"][STRONG if row in escalated else CHEAP]["correct"] for row in rows if row is not held]
    sluice = strategies["Sluice: released"]
    assert (sluice["right"], sluice["of"]) == (sum(answered), len(rows) - 1)
    assert sluice["cost_usd"] == pytest.approx(spent, abs=1e-9)
    assert strategies["Sluice: held corrected"]["right"] == sum(answered) + 1


def cost_of(rows: Sequence[dict[str, Any]], model: str, sent: float, received: float) -> float:
    """US dollars for one call a row, at ``sent`` and ``received`` US dollars per million tokens."""
    return sum(dollars(row["prompt"], row["answers"][model]["text"], sent, received) for row in rows)


def prompts_in_the_journal(database: Path, stage: str) -> set[str]:
    """The inputs of all requests for which a call of ``stage`` is journalled."""
    query = "SELECT body FROM request_bodies JOIN attempts USING (request_id) WHERE call_key LIKE ?"
    with closing(sqlite3.connect(database)) as connection:
        return {json.loads(body)["input"] for (body,) in connection.execute(query, (f"%/{stage}/%",))}


async def test_a_missing_file_is_said_before_anything_starts(tmp_path: Path) -> None:
    code, out, err = await command(str(tmp_path / "absent.jsonl.gz"), "--json")
    assert (code, out) == (1, "")
    assert "cannot be read" in " ".join(err.split())


async def command(*arguments: str) -> tuple[int, str, str]:
    """Exit code, output and errors of ``python -m standalone recorded``."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "standalone", "recorded", *arguments),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(240):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()
