"""What the form of a verdict sends, as the decision it stands for or as the sentence that says what is missing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.types import Message

from api.bodies import field_error, read_bytes
from api.console.wording import VERDICTS
from api.errors import ApiError, bad_request
from domain.review import ReviewDecision, ReviewVerdict

_KIND = "multipart/form-data"
_MOST_FIELDS = 64


@dataclass(frozen=True)
class VerdictForm:
    """What somebody has entered. Nothing is chosen unless they chose it."""

    decision_id: str
    verdict: str = ""
    reason: str = ""
    output: str = ""
    instruction: str = ""
    overrule: tuple[str, ...] = ()
    on_behalf_of: str = ""
    result_sha256: str = ""
    review_version: str = ""
    filters: str = ""
    csrf: str = ""
    diff_shown: bool = False
    """Whether they were shown what their text changes."""
    edit_on: bool = False
    """They were, and want to go on writing."""


_PLAIN = (
    *("decision_id", "verdict", "reason", "output", "instruction", "on_behalf_of"),
    *("result_sha256", "review_version", "filters", "csrf"),
)


class FormError(Exception):
    """What somebody has to enter otherwise, in one sentence for them."""


async def read_verdict(request: Request, max_bytes: int) -> VerdictForm:
    """The form as it was sent. Raises ``ApiError`` 400, 413 or 415."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _KIND:
        raise ApiError(415, "unsupported_media_type", f"send the form as '{_KIND}'", param="Content-Type")
    body = await read_bytes(request, max_bytes)

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    try:
        # Parsed out of a body that is there already and known to be short enough; files have no place in it.
        given = await Request(request.scope, receive).form(
            max_files=0, max_fields=_MOST_FIELDS, max_part_size=max_bytes
        )
    except Exception as error:
        if getattr(error, "status_code", None) != 400:
            raise
        raise bad_request("the form cannot be read; send it from its page", "body", "invalid_form") from None
    return _form(given)


def _form(given: FormData) -> VerdictForm:
    def text(name: str) -> str:
        value = given.get(name)
        # Browsers send every line end of a form as two characters.
        return value.replace("\r\n", "\n") if isinstance(value, str) else ""

    return VerdictForm(
        **{name: text(name) for name in _PLAIN},
        overrule=tuple(value for value in given.getlist("overrule") if isinstance(value, str)),
        diff_shown=text("diff_shown") != "",
        edit_on=text("edit_on") != "",
    )


def decision_of(form: VerdictForm, shown: str) -> ReviewDecision:
    """The decision on the text ``shown``. Raises ``FormError``."""
    word, _, queue = form.verdict.partition(":")
    if word not in VERDICTS:
        raise FormError("Choose what shall happen.")
    verdict = ReviewVerdict(word)
    _complete(form, verdict)
    fields: dict[str, Any] = {
        "decision_id": form.decision_id,
        "verdict": verdict,
        "reason": form.reason.strip(),
        "result_sha256": form.result_sha256,
        "review_version": form.review_version,
        "on_behalf_of": form.on_behalf_of or None,
        **_parts(form, verdict, queue, shown),
    }
    try:
        return ReviewDecision.model_validate(fields, extra="forbid")
    except ValidationError as error:
        raise FormError(field_error(error).detail.message) from None


def _complete(form: VerdictForm, verdict: ReviewVerdict) -> None:
    if verdict is ReviewVerdict.EDIT and not form.output.strip():
        raise FormError("Write the text that shall be released.")
    if verdict is ReviewVerdict.REVISE and not form.instruction.strip():
        raise FormError("Say what the model shall do otherwise.")
    if verdict is not ReviewVerdict.APPROVE and not form.reason.strip():
        raise FormError(f"“{VERDICTS[verdict]}” needs a reason. Say why.")


def _parts(form: VerdictForm, verdict: ReviewVerdict, queue: str, shown: str) -> Mapping[str, Any]:
    match verdict:
        case ReviewVerdict.EDIT:
            return {"output": as_written(form.output, shown), "overrule": form.overrule or None}
        case ReviewVerdict.ESCALATE:
            return {"queue": queue or None}
        case ReviewVerdict.REVISE:
            return {"instruction": form.instruction.strip()}
        case _:
            return {}


def as_written(output: str, shown: str) -> str:
    """``output`` with the line ends of the text it was made of, so that an edit changes nothing that nobody touched."""
    if "\r\n" in shown and "\n" not in shown.replace("\r\n", ""):
        return output.replace("\n", "\r\n")
    return output


def carried(form: VerdictForm) -> tuple[tuple[str, str], ...]:
    """The fields of ``form`` for the page that shows what it changes, but the text, which stands there by itself."""
    plain = tuple((name, getattr(form, name)) for name in _PLAIN if name != "output")
    return (*plain, *(("overrule", name) for name in form.overrule), ("diff_shown", "yes"))
