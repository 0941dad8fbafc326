"""Slack through an incoming webhook: a message that a person can read and follow to the review."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from adapters.channel_http import ChannelHttp
from adapters.channel_settings import secret
from adapters.notice_text import facts, headline, link
from domain.catalog import SlackChannel
from domain.notice import Delivery, Notice

_LONGEST_HEADER = 150
"""Characters that Slack takes in a header."""


class SlackNotifier:
    """Tells people in Slack. The address, which is a secret, comes from ``environ`` at the time of the call."""

    def __init__(self, http: ChannelHttp, environ: Mapping[str, str], console_url: str | None) -> None:
        self._http = http
        self._environ = environ
        self._console_url = console_url

    async def send(self, entry: SlackChannel, delivery: Delivery) -> None:
        """POST the message. Raises ``NotifierError``.

        **Correctness:** Slack knows no id of a message, so a second attempt after one that arrived is seen twice.
        """
        url = secret(delivery.channel, entry.url_env, self._environ)
        content = json.dumps(slack_message(delivery.notice, self._console_url)).encode("utf-8")
        await self._http.post(delivery.channel, url, content, {}, allow_private=entry.allow_private)


def slack_message(notice: Notice, console_url: str | None) -> dict[str, Any]:
    """The body of the POST. ``text`` is what notifications and screen readers say, ``blocks`` what is seen."""
    title, page = escaped(headline(notice)), link(notice, console_url)
    fields = [_marked(f"*{name}*\n{escaped(value)}") for name, value in facts(notice)]
    header = {"type": "plain_text", "text": title[:_LONGEST_HEADER], "emoji": False}
    blocks: list[dict[str, Any]] = [{"type": "header", "text": header}, {"type": "section", "fields": fields}]
    if page is not None:
        shown = f"<{escaped(page).replace('|', '%7C')}|Open the review>"
        title += f" {shown}"
        blocks.append({"type": "section", "text": _marked(shown)})
    return {"text": title, "blocks": blocks, "unfurl_links": False}


def escaped(text: str) -> str:
    """``text`` without a meaning of its own to Slack: no mention, no link, no command."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _marked(text: str) -> dict[str, Any]:
    # Verbatim: Slack shall not look for addresses and names of channels in what others wrote.
    return {"type": "mrkdwn", "text": text, "verbatim": True}
