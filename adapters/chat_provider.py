"""Models over the chat completions protocol of OpenAI, which nearly every provider and proxy speaks; plain HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from adapters.bounded_http import NoReplyError, NotSentError, Reply, post_json
from adapters.chat_answer import defective, read_answer, read_error_code
from adapters.endpoints import EndpointError, address, authorization
from adapters.retry_after import retry_after
from domain.catalog import Catalog, ProviderEntry
from domain.errors import ProviderError
from domain.ports import ModelCall
from domain.stage import FailureKind, StageAnswer

LARGEST_ANSWER = 2 * 1024 * 1024
_TRANSIENT = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
_BEHIND_A_GATEWAY = frozenset({502, 504})
_SPENT = "insufficient_quota"
"""Sent with status 429, but waiting does not help: the account is empty."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class ChatProvider:
    """Calls the models of ``catalog``. Addresses and keys come from ``environ`` at the time of the call.

    ``http`` is shared, its pool too; it is closed by whoever made it. ``now`` is read only to turn the date in a
    ``Retry-After`` into a wait.
    """

    def __init__(
        self,
        catalog: Catalog,
        http: httpx.AsyncClient,
        environ: Mapping[str, str],
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        self._catalog = catalog
        self._http = http
        self._environ = environ
        self._now = now

    async def complete(self, call: ModelCall) -> StageAnswer:
        """The model's answer, without cost and latency, within ``call.stage.timeout`` altogether.

        Raises ``ProviderError``. **Correctness:** not idempotent: a second call may be a second bill. The
        ``Idempotency-Key`` lets a provider that knows the header answer a retry without one; not all do.
        """
        name = call.model.provider
        entry = self._catalog.providers.get(name)
        if entry is None:
            raise _permanent(f"provider {name!r} is not in the catalog of this process; add it there")
        try:
            url = address(entry.base_url, entry.base_url_env, self._environ) + "/chat/completions"
            headers = {"Idempotency-Key": call.call_key, **authorization(entry.api_key_env, self._environ)}
            seconds = call.stage.timeout.total_seconds()
            reply = await post_json(
                self._http, url, request_body(call, entry), headers, seconds=seconds, limit=LARGEST_ANSWER
            )
        except EndpointError as error:
            raise _permanent(f"provider {name!r}: {error}") from None
        except NotSentError as error:
            kind = FailureKind.TRANSIENT if error.transient else FailureKind.PERMANENT
            raise ProviderError(kind, f"provider {name!r}: {error}") from None
        except NoReplyError as error:
            raise ProviderError(FailureKind.TRANSIENT, f"provider {name!r} {error}", maybe_billed=True) from None
        return self._answer(call, reply)

    def _answer(self, call: ModelCall, reply: Reply) -> StageAnswer:
        if reply.status != httpx.codes.OK:
            raise self._failure(call.model.provider, reply)
        if reply.oversized:
            return defective(call, f"the reply is larger than {LARGEST_ANSWER} bytes")
        if reply.body is None:
            return defective(call, "the reply is compressed, which was not asked for")
        return read_answer(call, reply.body)

    def _failure(self, provider: str, reply: Reply) -> ProviderError:
        code = read_error_code(reply.body)
        message = f"provider {provider!r} answered {reply.status}" + (f" ({code})" if code else "")
        if 300 <= reply.status < 400:
            message += "; redirects are not followed, set the address it moved to"
        if reply.status not in _TRANSIENT or code == _SPENT:
            return _permanent(message)
        return ProviderError(
            FailureKind.TRANSIENT,
            message,
            maybe_billed=reply.status in _BEHIND_A_GATEWAY,
            retry_after=retry_after(reply.headers, self._now()),
        )


def request_body(call: ModelCall, entry: ProviderEntry) -> dict[str, Any]:
    """What is sent for ``call``: the stage's instruction first, then the conversation."""
    messages = [{"role": message.role, "content": message.content} for message in call.conversation]
    if call.stage.system is not None:
        messages.insert(0, {"role": "system", "content": call.stage.system})
    body: dict[str, Any] = {
        "model": call.model.id,
        "messages": messages,
        "temperature": call.stage.temperature,
        entry.max_tokens_field: call.stage.max_output_tokens,
    }
    if entry.logprobs:
        body["logprobs"] = True
    return body


def _permanent(message: str) -> ProviderError:
    return ProviderError(FailureKind.PERMANENT, message)
