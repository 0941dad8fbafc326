"""Requests, policies and decisions for tests, with every field that a test does not care about filled in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from domain.catalog import ModelEntry
from domain.ledger import ReviewOpening
from domain.policy import Policy, PolicySnapshot
from domain.request import CascadeInput, RequestBody, request_id
from domain.review import DecisionEnvelope, ReviewVerdict

SAFE = "We will come back to you."

POLICY: dict[str, Any] = {
    "name": "plain",
    "stages": [
        {"name": "small", "model": "small", "timeout": "5s", "max_attempts": 2, "max_output_tokens": 100},
        {"name": "large", "model": "large", "timeout": "5s", "max_attempts": 2, "max_output_tokens": 100},
    ],
    "guardrails": {
        "input": [{"check": "pii", "name": "input-pii", "kinds": ["iban"], "on_fail": "refuse"}],
        "output": [
            {"check": "confidence", "threshold": 0.8, "on_fail": "escalate"},
            {"check": "completeness", "on_fail": "escalate"},
            {"check": "terms", "forbidden": ["guaranteed return"], "on_fail": "hold"},
        ],
    },
    "hold": {"expires_after": "24h", "remind_after": "4h"},
    "ceilings": {"cost_usd": "1", "wall_clock": "60s", "attempts": 6, "tokens": 20000},
    "safe_output": SAFE,
    "interim_output": "A person is looking at it.",
}


def model(name: str, price: str, quality: float) -> dict[str, Any]:
    """A catalog entry as a file would hold it; ``price`` per million tokens counts for input and output."""
    return {
        "name": name,
        "provider": "fake",
        "id": name,
        "version": "1",
        "price": {"input": price, "output": price},
        "context_window": 100_000,
        "quality": quality,
        "latency_ms": 100,
        "capabilities": ["text"],
        "data_classes": ["public"],
    }


MODELS = {"small": model("small", "1", 0.7), "large": model("large", "10", 0.9)}


def snapshot(**changes: Any) -> PolicySnapshot:
    """The plain policy with top-level parts replaced."""
    policy = Policy.model_validate({**POLICY, **changes}, extra="forbid")
    models = tuple(ModelEntry.model_validate(MODELS[stage.model]) for stage in policy.stages)
    return PolicySnapshot(policy=policy, models=models, version="0123456789abcdef")


def request(text: str = "Where is my parcel?", *, policy: PolicySnapshot | None = None, **body: Any) -> CascadeInput:
    """A request under a fresh idempotency key."""
    pinned = policy or snapshot()
    return CascadeInput(
        request_id=request_id("acme", str(uuid4())),
        tenant="acme",
        requester="shop",
        submitted_at=datetime.now(UTC),
        body=RequestBody.model_validate({"policy": pinned.policy.name, "input": text, **body}),
        policy=pinned,
    )


def decision(review: ReviewOpening, verdict: ReviewVerdict, **changes: Any) -> DecisionEnvelope:
    """A genuine decision on the proposal of ``review``."""
    fields: dict[str, Any] = {
        "decision_id": str(uuid4()),
        "verdict": verdict,
        "reason": "looked at it",
        "result_sha256": review.proposal.result_sha256,
        "review_version": review.proposal.review_version,
        "request_id": review.request_id,
        "tenant": review.tenant,
        "reviewer": "rita",
        "decided_at": review.opened_at,
        "signature": "genuine",
    }
    return DecisionEnvelope.model_validate({**fields, **changes})
