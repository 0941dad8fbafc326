"""A browser without a window, in which somebody is signed in to the console."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import unescape
from typing import Any

import httpx

_HIDDEN = re.compile(r'<input type="hidden" name="(\w+)" value="([^"]*)"')


class Browser:
    """Keeps cookies and follows no redirect by itself, so that a test sees every answer."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self.http = http

    async def sign_in(self, key: str) -> None:
        form = hidden(await self.http.get("/console/sign-in"))
        answer = await self.http.post("/console/sign-in", data={**form, "key": key})
        assert answer.status_code == 303, answer.text

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.http.get(path, headers=headers)

    async def shown(self, path: str) -> str:
        """The page, which has to be there."""
        page = await self.get(path)
        assert page.status_code == 200, page.text
        return page.text

    async def post(self, path: str, form: Mapping[str, Any]) -> httpx.Response:
        return await self.http.post(path, data=dict(form))

    async def token(self) -> dict[str, str]:
        """What every form of this sign-in carries."""
        return {"csrf": hidden(await self.get("/console/requests"))["csrf"]}

    async def claim(self, request_id: str) -> httpx.Response:
        """Take a review."""
        return await self.post(f"/console/reviews/{request_id}/claim", await self.token())

    async def decide(self, request_id: str, verdict: str, **fields: Any) -> httpx.Response:
        """Send the form of the review's page as it is now."""
        page = await self.get(f"/console/reviews/{request_id}")
        form = {**hidden(page), "verdict": verdict, "reason": "read it", **fields}
        return await self.send(request_id, form)

    async def send(self, request_id: str, form: Mapping[str, Any]) -> httpx.Response:
        """Send a form as browsers send one with parts."""
        parts = [(name, (None, part)) for name, value in form.items() for part in _several(value)]
        return await self.http.post(f"/console/reviews/{request_id}/decisions", files=parts)


def _several(value: Any) -> list[str]:
    return list(value) if isinstance(value, list | tuple) else [str(value)]


def hidden(page: httpx.Response) -> dict[str, str]:
    """The hidden fields of all forms of the page."""
    return {name: unescape(value) for name, value in _HIDDEN.findall(page.text)}


def leads_to(answer: httpx.Response) -> str:
    """The address that the answer sends the browser to."""
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"])
