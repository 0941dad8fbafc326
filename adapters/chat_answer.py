"""Reading a chat completion. Whatever came back with status 200 becomes an answer; what is wrong with it, its defect.

A success that holds no usable text is evidence against a model, not a crash: the cascade goes on with it.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from domain.ports import ModelCall
from domain.stage import MAX_ANSWER_BYTES, StageAnswer
from domain.usage import Usage, estimate_tokens

_MOST_TOKENS = 100_000_000
_LOWEST_LOGPROB = -9999.0
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_IDENTIFIER = re.compile(r"^[A-Za-z][A-Za-z_]{0,63}$")
_UNREPORTED = "unreported"


def read_answer(call: ModelCall, body: bytes) -> StageAnswer:
    """The answer in ``body``, the JSON of a chat completion. Never raises."""
    document = _parse(body)
    if not isinstance(document, dict):
        return defective(call, "the reply is not a JSON object")
    usage = _usage(document.get("usage"))
    served = _served(document)
    choice = _first(document.get("choices"))
    if choice is None:
        code = error_code(document)
        what = "the reply holds no choices" if code is None else f"the reply is an error ({code}) sent as a success"
        return defective(call, what, usage, served)
    text, defect, finish = _message(choice)
    mean, count = _confidence(choice)
    return StageAnswer(
        text=text,
        model_version_served=served,
        finish_reason=finish,
        usage=usage or _estimated(call, estimate_tokens(text) if defect is None else call.stage.max_output_tokens),
        mean_logprob=mean,
        logprob_tokens=count,
        defect=defect,
    )


def defective(call: ModelCall, defect: str, usage: Usage | None = None, served: str = _UNREPORTED) -> StageAnswer:
    """An answer without a text. Its usage, where the provider did not say it, is the most that can be billed."""
    return StageAnswer(
        text="",
        model_version_served=served,
        finish_reason=None,
        mean_logprob=None,
        usage=usage or _estimated(call, call.stage.max_output_tokens),
        defect=defect,
    )


def error_code(document: Any) -> str | None:
    """The provider's own short word for an error; None where there is none that is surely just a word."""
    error = document.get("error") if isinstance(document, dict) else None
    if not isinstance(error, dict):
        return None
    for name in ("code", "type"):
        word = error.get(name)
        if isinstance(word, str) and _IDENTIFIER.match(word):
            return word
    return None


def read_error_code(body: bytes | None) -> str | None:
    """``error_code`` of a body that may be anything."""
    return None if body is None else error_code(_parse(body))


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _first(choices: Any) -> dict[str, Any] | None:
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return choices[0]
    return None


def _message(choice: dict[str, Any]) -> tuple[str, str | None, str | None]:
    """Text, defect and reason for the end of the first choice."""
    reason = choice.get("finish_reason")
    finish = _clean(reason)[:64] if isinstance(reason, str) and reason else None
    message = choice.get("message")
    if not isinstance(message, dict):
        return "", "the reply's first choice holds no message", finish
    content, refusal = message.get("content"), message.get("refusal")
    if isinstance(refusal, str) and refusal and not content:
        content, finish = refusal, "refusal"
    if content is None:
        return "", "the message has no content", finish
    if not isinstance(content, str):
        return "", "the message's content is not a text", finish
    if len(content.encode("utf-8", "replace")) > MAX_ANSWER_BYTES:
        return "", f"the text is longer than {MAX_ANSWER_BYTES} bytes", finish
    text = _clean(content)
    defect = None if text == content else "the text held NUL characters or lone surrogates, which were replaced"
    return text, defect, finish


def _clean(text: str) -> str:
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def _served(document: dict[str, Any]) -> str:
    model = document.get("model")
    return _clean(model)[:200] if isinstance(model, str) and model else _UNREPORTED


def _usage(reported: Any) -> Usage | None:
    if not isinstance(reported, dict):
        return None
    sent, answered = _count(reported.get("prompt_tokens")), _count(reported.get("completion_tokens"))
    return None if sent is None or answered is None else Usage(input_tokens=sent, output_tokens=answered)


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value <= _MOST_TOKENS else None


def _estimated(call: ModelCall, output_tokens: int) -> Usage:
    texts = [call.stage.system or "", *(message.content for message in call.conversation)]
    return Usage(input_tokens=sum(estimate_tokens(text) for text in texts), output_tokens=output_tokens, estimated=True)


def _confidence(choice: dict[str, Any]) -> tuple[float | None, int]:
    """Mean natural logarithm of the probabilities of the answer's tokens, and how many it was taken over."""
    logprobs = choice.get("logprobs")
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(tokens, list):
        return None, 0
    values = [value for token in tokens if (value := _logprob(token)) is not None]
    return (math.fsum(values) / len(values), len(values)) if values else (None, 0)


def _logprob(token: Any) -> float | None:
    value = token.get("logprob") if isinstance(token, dict) else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return min(max(number, _LOWEST_LOGPROB), 0.0) if math.isfinite(number) else None
