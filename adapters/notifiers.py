"""Tells channels by what the catalog of this very process says of them, whatever a Workflow or a policy carries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime

import httpx

from adapters.channel_http import ChannelHttp, utc_now
from adapters.channel_settings import failure
from adapters.email_notifier import EmailNotifier
from adapters.public_address import Resolver, system_resolver
from adapters.slack_notifier import SlackNotifier
from adapters.webhook_notifier import WebhookNotifier
from domain.catalog import Catalog, EmailChannel, SlackChannel, WebhookChannel
from domain.notice import Delivery

_THREADS = 8
"""Mails and questions to name servers at a time. Own threads, so that a slow mail server keeps nothing else waiting."""


class Notifiers:
    """Implements ``domain.notice.Notifier`` for the channels of ``catalog``.

    ``http`` comes from ``channel_client()``; it is closed by whoever made it. Addresses and secrets come from
    ``environ`` at the time of the call. ``console_url`` is where people reach the console; without it messages have no
    link. ``resolver`` replaces the machine's own.
    """

    def __init__(
        self,
        catalog: Catalog,
        http: httpx.AsyncClient,
        environ: Mapping[str, str],
        console_url: str | None,
        *,
        resolver: Resolver | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._catalog = catalog
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="notifier")
        resolver = resolver or system_resolver(self._threads)
        channel_http = ChannelHttp(http, resolver, now)
        self._webhook = WebhookNotifier(channel_http, environ, now)
        self._slack = SlackNotifier(channel_http, environ, console_url)
        self._email = EmailNotifier(resolver, self._threads, environ, console_url, now=now)

    async def send(self, delivery: Delivery) -> None:
        """Tell the channel. Raises ``NotifierError``.

        **Correctness:** may be called again with the same delivery; see the notifier of each kind for what a receiver
        sees then.
        """
        entry = self._catalog.channels.get(delivery.channel)
        match entry:
            case WebhookChannel():
                await self._webhook.send(entry, delivery)
            case SlackChannel():
                await self._slack.send(entry, delivery)
            case EmailChannel():
                await self._email.send(entry, delivery)
            case None:
                why = "is not in the catalog of this process; add it there and restart"
                raise failure(delivery.channel, why, transient=False)

    def close(self) -> None:
        """Let go of the threads; what they still do ends by itself within seconds."""
        self._threads.shutdown(wait=False, cancel_futures=True)
