"""Verification services over HTTP: the text goes out, a verdict with its reasons comes back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from adapters.bounded_http import BoundedHttpError, NotSentError, Reply, post_json
from adapters.endpoints import EndpointError, address, authorization
from domain.catalog import Catalog
from domain.errors import VerifierError
from domain.guardrails import Finding, Verdict
from domain.payload import Text
from domain.ports import Verification

LARGEST_VERDICT = 256 * 1024
_TRANSIENT = frozenset({408, 425, 429})


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="ignore", allow_inf_nan=False)


class _FindingSaid(_Strict):
    kind: Annotated[Text, Field(min_length=1, max_length=64)]
    detail: Annotated[Text, Field(max_length=1000)]
    start: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None
    end: Annotated[int, Field(ge=0, le=2**31 - 1)] | None = None


class _Said(_Strict):
    """The reply, field by field; sizes are bounded because it goes into histories and the ledger."""

    verdict: Literal["pass", "fail"]
    rationale: Annotated[Text, Field(max_length=4000)]
    score: Annotated[float, Field(ge=0, le=1)] | None = None
    findings: Annotated[list[_FindingSaid], Field(max_length=100)] = []


class HttpVerifier:
    """Asks the verification services of ``catalog``. Addresses and keys come from ``environ`` at the time of the call.

    A service gets ``{"text", "input"}`` and answers 200 with ``{"verdict": "pass" | "fail", "rationale", "score"?,
    "findings"?: [{"kind", "detail", "start"?, "end"?}]}``. Anything else is an error and never a pass.
    """

    def __init__(self, catalog: Catalog, http: httpx.AsyncClient, environ: Mapping[str, str]) -> None:
        self._catalog = catalog
        self._http = http
        self._environ = environ

    async def verify(self, verifier: str, text: str, input_text: str | None, timeout_seconds: float) -> Verification:
        """The verdict of ``verifier`` on ``text`` within ``timeout_seconds`` altogether. Raises ``VerifierError``."""
        entry = self._catalog.verifiers.get(verifier)
        if entry is None:
            raise VerifierError(
                f"verifier {verifier!r} is not in the catalog of this process; add it there", transient=False
            )
        try:
            url = address(entry.url, entry.url_env, self._environ)
            headers = authorization(entry.api_key_env, self._environ)
            payload = {"text": text, "input": input_text}
            reply = await post_json(self._http, url, payload, headers, seconds=timeout_seconds, limit=LARGEST_VERDICT)
        except EndpointError as error:
            raise VerifierError(f"verifier {verifier!r}: {error}", transient=False) from None
        except BoundedHttpError as error:
            transient = error.transient if isinstance(error, NotSentError) else True
            raise VerifierError(f"verifier {verifier!r}: {error}", transient=transient) from None
        return _verification(verifier, reply)


def _verification(verifier: str, reply: Reply) -> Verification:
    if reply.status != httpx.codes.OK:
        transient = reply.status >= 500 or reply.status in _TRANSIENT
        raise VerifierError(f"verifier {verifier!r} answered {reply.status}", transient=transient)
    if reply.body is None:
        why = f"larger than {LARGEST_VERDICT} bytes" if reply.oversized else "compressed, which was not asked for"
        raise VerifierError(f"verifier {verifier!r}: the reply is {why}", transient=False)
    try:
        said = _Said.model_validate_json(reply.body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the reply"
        raise VerifierError(
            f"verifier {verifier!r}: {place} is not as agreed ({first['type']})", transient=False
        ) from None
    findings = tuple(Finding(kind=one.kind, detail=one.detail, start=one.start, end=one.end) for one in said.findings)
    return Verification(verdict=Verdict(said.verdict), rationale=said.rationale, findings=findings, score=said.score)
