"""The simulated provider: scripted answers, log-probabilities, failures on demand, counts, recorded answers."""

from __future__ import annotations

import asyncio
import gzip
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from standalone.provider import MAX_BODY_BYTES, create_app
from standalone.samples import load_samples
from standalone.scripted import Repertoire, load_recorded, logprobs
from standalone.simulation import DirectiveError, Plan, Simulation, read_directives

MIXTRAL, GPT4 = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"
SAMPLES = load_samples()
ROOT = Path(__file__).parents[2]
RECORDED = ROOT.parent / "shared" / "data" / "gsm8k_recorded.jsonl.gz"


def client(
    repertoire: Repertoire | None = None, calls_file: Path | None = None, host: str = "127.0.0.1"
) -> httpx.AsyncClient:
    app = create_app(repertoire or Repertoire.of(SAMPLES), calls_file)
    transport = httpx.ASGITransport(app, client=(host, 5000))
    return httpx.AsyncClient(transport=transport, base_url="http://provider")


async def ask(
    http: httpx.AsyncClient, text: str, size: str = "small", key: str = "call-1", **more: Any
) -> httpx.Response:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]
    body = {"model": f"simulated-{size}", "messages": messages, "logprobs": True, **more}
    return await http.post("/v1/chat/completions", json=body, headers={"Idempotency-Key": key})


def confidence_in(answer: dict[str, Any]) -> float:
    tokens = answer["choices"][0]["logprobs"]["content"]
    return math.exp(sum(token["logprob"] for token in tokens) / len(tokens))


@pytest.mark.parametrize("size", ["small", "medium", "large"])
async def test_a_sample_gets_its_scripted_answer(size: Any) -> None:
    sample = next(sample for sample in SAMPLES if sample.id == "rounding-of-seats")
    script = sample.answers[size]
    async with client() as http:
        began = time.perf_counter()
        response = await ask(http, f"  {sample.prompt.replace(' ', chr(10) + ' ')}\n", size)
        took_ms = (time.perf_counter() - began) * 1000
    answer = response.json()
    tokens = answer["choices"][0]["logprobs"]["content"]
    assert answer["model"] == f"simulated-{size}-2026-11"
    assert answer["choices"][0]["message"]["content"] == script.text
    assert "".join(token["token"] for token in tokens) == script.text
    assert all(token["logprob"] <= 0 for token in tokens)
    assert confidence_in(answer) == pytest.approx(script.confidence, abs=1e-9)
    assert answer["usage"]["completion_tokens"] == math.ceil(len(script.text) / 4)
    assert took_ms >= script.latency_ms - 2


async def test_anything_else_is_answered_as_unknown_and_unsure() -> None:
    async with client() as http:
        answers = [(await ask(http, "What is the capital of Peru?", size)).json() for size in ("small", "large")]
    for answer, confidence in zip(answers, (0.35, 0.55), strict=True):
        assert "simulated model" in answer["choices"][0]["message"]["content"]
        assert "cannot know" in answer["choices"][0]["message"]["content"]
        assert confidence_in(answer) == pytest.approx(confidence)


async def test_log_probabilities_come_only_when_asked_for() -> None:
    async with client() as http:
        answer = (await ask(http, "Hello", logprobs=False)).json()
    assert answer["choices"][0]["logprobs"] is None


async def test_an_answer_longer_than_allowed_is_cut_off() -> None:
    async with client() as http:
        choice = (await ask(http, "Hello", max_tokens=3)).json()["choices"][0]
    assert (len(choice["message"]["content"]), choice["finish_reason"]) == (12, "length")


async def test_a_failure_lasts_as_often_as_asked_per_key_and_model() -> None:
    text = "Hello [[simulate: status=503 times=2 retry_after=1]]"
    async with client() as http:
        first = [await ask(http, text) for _ in range(3)]
        other_key = await ask(http, text, key="call-2")
        other_model = await ask(http, text, size="large")
    assert [response.status_code for response in first] == [503, 503, 200]
    assert first[0].headers["Retry-After"] == "1"
    assert first[0].json()["error"]["code"] == "simulated"
    assert (other_key.status_code, other_model.status_code) == (503, 503)


async def test_failures_of_several_directives_come_one_after_the_other() -> None:
    text = "[[simulate: status=429 times=1]] [[simulate: not_json times=1]] [[simulate: model=large status=401]] Hello"
    async with client() as http:
        answers = [await ask(http, text) for _ in range(3)]
        large = await ask(http, text.replace("times=1", "times=1 model=small"), size="large")
    assert [answer.status_code for answer in answers] == [429, 200, 200]
    assert not answers[1].headers["content-type"].startswith("application/json")
    assert answers[2].json()["object"] == "chat.completion"
    assert large.status_code == 401


@pytest.mark.parametrize(
    ("directive", "text", "finish_reason"),
    [
        ("empty", "", "stop"),
        ("answer=Forty [two]", "Forty [two]", "stop"),
        ('confidence=0.9 answer={"total_price": 12}', '{"total_price": 12}', "stop"),
        ("truncated answer=abcdef", "abc", "length"),
    ],
)
async def test_an_answer_can_be_spoilt(directive: str, text: str, finish_reason: str) -> None:
    async with client() as http:
        choice = (await ask(http, f"Hello\n[[simulate: {directive}]]")).json()["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == (text, finish_reason)


async def test_confidence_refusal_and_missing_log_probabilities_on_demand() -> None:
    async with client() as http:
        sure = (await ask(http, "Hello [[simulate: confidence=0.9]]")).json()
        refusal = (await ask(http, "Hello [[simulate: refusal]]")).json()
        bare = (await ask(http, "Hello [[simulate: no_logprobs]]")).json()
    assert confidence_in(sure) == pytest.approx(0.9)
    assert "can't help" in refusal["choices"][0]["message"]["content"]
    assert bare["choices"][0]["logprobs"] is None


@pytest.mark.parametrize("directive", ["staus=503", "status=200", "status=503 empty", "retry_after=1", "times=0", ""])
async def test_a_mistyped_directive_is_an_error_that_says_so(directive: str) -> None:
    async with client() as http:
        response = await ask(http, f"Hello [[simulate: {directive}]]")
    if directive:
        assert response.status_code == 400
        assert "[[simulate: ...]]" in response.json()["error"]["message"]
    else:
        assert response.status_code == 200


def test_directives_are_counted_apart() -> None:
    simulation = Simulation()
    text = "[[simulate: delay_ms=5 times=1]] [[simulate: delay_ms=7]]"
    assert [simulation.plan(text, "k", "small") for _ in range(2)] == [Plan(delay_ms=12), Plan(delay_ms=7)]


def test_too_many_directives_are_refused() -> None:
    with pytest.raises(DirectiveError):
        read_directives("[[simulate: empty]]" * 21)


async def test_every_call_is_counted_and_answered_ones_apart(tmp_path: Path) -> None:
    file = tmp_path / "calls.jsonl"
    async with client(calls_file=file) as http:
        for _ in range(3):
            await ask(http, "Hello [[simulate: status=503 times=1]]", key="twice")
        await ask(http, "Hello", size="large", key="once")
    async with client(calls_file=file) as restarted:
        counts = (await restarted.get("/calls")).json()
    assert counts["total"] == 4
    assert counts["by_key"] == {"twice": 3, "once": 1}
    assert counts["by_model"] == {"simulated-small": 3, "simulated-large": 1}
    assert counts["answered_by_key"] == {"twice": 2, "once": 1}


async def test_counts_are_for_this_machine_only() -> None:
    async with client(host="203.0.113.9") as http:
        assert (await http.get("/calls")).status_code == 403
        assert (await http.get("/health")).json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("body", "status", "named"),
    [
        ({"model": "simulated-small", "messages": []}, 400, "messages"),
        ({"messages": [{"role": "user", "content": "Hello"}]}, 400, "model"),
        ({"model": "gpt-9", "messages": [{"role": "user", "content": "Hello"}]}, 404, "gpt-9"),
        ({"model": "simulated-small", "messages": [{"role": "user", "content": "x"}], "stream": True}, 400, "stream"),
    ],
)
async def test_a_bad_call_gets_an_openai_error(body: dict[str, Any], status: int, named: str) -> None:
    async with client() as http:
        response = await http.post("/v1/chat/completions", json=body)
    assert response.status_code == status
    assert named in response.json()["error"]["message"]


async def test_a_body_that_is_too_long_or_no_json_is_refused() -> None:
    async with client() as http:
        long = await http.post("/v1/chat/completions", content=b"x" * (MAX_BODY_BYTES + 1))
        broken = await http.post("/verify/arithmetic", content=b"{")
        missing = await http.get("/v1/nothing")
    assert (long.status_code, broken.status_code, missing.status_code) == (413, 400, 404)
    assert "error" in missing.json()


async def test_fixed_latency_answers_alike_and_takes_that_long() -> None:
    async with client(Repertoire.of((), fixed=30)) as http:
        began = time.perf_counter()
        easy = (await ask(http, "an easy one")).json()
        took_ms = (time.perf_counter() - began) * 1000
        hard = (await ask(http, "a hard one")).json()
        strong = (await ask(http, "a hard one", size="large")).json()
    assert took_ms >= 29
    assert [confidence_in(answer) for answer in (easy, hard, strong)] == pytest.approx([0.95, 0.4, 0.95])


async def test_recorded_answers_are_served_as_recorded(tmp_path: Path) -> None:
    file = tmp_path / "recorded.jsonl.gz"
    row = {
        "id": "1",
        "prompt": "2 + 2?",
        "answers": {m: {"text": f"4 ({m})", "correct": True} for m in (MIXTRAL, GPT4)},
    }
    with gzip.open(file, "wt", encoding="utf-8") as lines:
        lines.write(json.dumps(row) + "\n")
    body = {"model": MIXTRAL, "messages": [{"role": "user", "content": "2 + 2?"}], "logprobs": True, "max_tokens": 1}
    async with client(Repertoire.of((), recorded=file)) as http:
        known = (await http.post("/v1/chat/completions", json=body)).json()
        body["messages"] = [{"role": "user", "content": "2 + 3?"}]
        unknown = await http.post("/v1/chat/completions", json=body)
    choice = known["choices"][0]
    assert known["model"] == f"{MIXTRAL} (recorded)"
    assert (choice["message"]["content"], choice["finish_reason"]) == (f"4 ({MIXTRAL})", "stop")
    assert choice["logprobs"] is None
    assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "not_recorded")


def test_all_recorded_questions_are_known() -> None:
    if not RECORDED.exists():
        pytest.skip(f"the recorded answers are not beside the project ({RECORDED.name})")
    answers = load_recorded(RECORDED)
    assert len(answers) == 1307
    assert all(set(texts) == {MIXTRAL, GPT4} for texts in answers.values())


async def test_verification_services_answer_over_http() -> None:
    async with client() as http:
        good = (await http.post("/verify/citations", json={"text": "GDPR Art. 33 applies.", "input": None})).json()
        bad = (await http.post("/verify/arithmetic", json={"text": "2 + 2 = 5"})).json()
        wrong = await http.post("/verify/arithmetic", json={"txt": "2 + 2 = 5"})
    assert good["verdict"] == "pass"
    assert (bad["verdict"], bad["findings"][0]["start"], bad["findings"][0]["end"]) == ("fail", 0, 9)
    assert wrong.status_code == 400
    assert "text" in wrong.json()["error"]["message"]


def test_log_probabilities_are_the_same_every_time() -> None:
    assert logprobs("Some answer.", 0.8) == logprobs("Some answer.", 0.8)
    assert logprobs("", 0.8) == []


async def test_the_process_prints_its_address_and_the_openai_client_understands_it() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "standalone.provider", "--port", "0", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        url = (await asyncio.wait_for(process.stdout.readline(), 30)).decode().split()[-1]
        direct = openai.DefaultAsyncHttpxClient(trust_env=False)
        async with openai.AsyncOpenAI(api_key="none", base_url=url, http_client=direct) as ai:
            models = await ai.models.list()
            chat = await ai.chat.completions.create(
                model="simulated-medium", messages=[{"role": "user", "content": "Hello"}], logprobs=True
            )
    finally:
        process.terminate()
        await asyncio.wait_for(process.wait(), 10)
    assert [model.id for model in models.data] == ["simulated-small", "simulated-medium", "simulated-large"]
    assert chat.model == "simulated-medium-2026-11"
    assert chat.choices[0].logprobs is not None
