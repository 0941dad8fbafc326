"""Reading what a page's form sends, and where a form or a link may lead to."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl

from starlette.requests import Request

from api.bodies import read_bytes
from api.errors import ApiError, bad_request

LARGEST_FORM = 16 * 1024
_MOST_FIELDS = 100
_LONGEST_PATH = 1000
_LOCAL = re.compile(r"/console(?:/[A-Za-z0-9_~:@%-][A-Za-z0-9._~:@%-]*)*(?:\?[A-Za-z0-9._~:@%&=+,*-]*)?")
_SIGN_IN = re.compile(r"/console/sign-(?:in|out)(?:[/?].*)?")


async def read_form(request: Request, max_bytes: int = LARGEST_FORM) -> dict[str, str]:
    """The fields of a form in the usual encoding of browsers. Raises ``ApiError`` 400, 413 or 415."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        message = "send the form as 'Content-Type: application/x-www-form-urlencoded'"
        raise ApiError(415, "unsupported_media_type", message, param="Content-Type")
    raw = await read_bytes(request, max_bytes)
    try:
        pairs = parse_qsl(
            raw.decode("ascii"), keep_blank_values=True, encoding="utf-8", errors="strict", max_num_fields=_MOST_FIELDS
        )
    except ValueError:
        raise bad_request("the form cannot be read; send it from its page", "body", "invalid_form") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise bad_request("a field of the form is given twice; send it from its page", "body", "repeated_field")
    return fields


def local_path(asked: str | None) -> str | None:
    """``asked`` if it leads to a page of the console; None for anything else, so that nobody is sent elsewhere.

    Only characters that mean the same to every browser pass. Signing in and out are no place to return to.
    """
    if asked is None or len(asked) > _LONGEST_PATH or not _LOCAL.fullmatch(asked) or _SIGN_IN.fullmatch(asked):
        return None
    return asked
