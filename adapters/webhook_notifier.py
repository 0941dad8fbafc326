"""Webhooks as Standard Webhooks signs them: receivers verify them with any library that knows the standard."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime

from standardwebhooks import Webhook

from adapters.channel_http import ChannelHttp, utc_now
from adapters.channel_settings import address, failure, secret
from domain.catalog import WebhookChannel
from domain.notice import Delivery, Notice

_PREFIX = "whsec_"
_SENDABLE = re.compile(r"^[\x21-\x7e]{1,500}$")


class WebhookNotifier:
    """Tells services. Addresses and secrets come from ``environ`` at the time of the call."""

    def __init__(self, http: ChannelHttp, environ: Mapping[str, str], now: Callable[[], datetime] = utc_now) -> None:
        self._http = http
        self._environ = environ
        self._now = now

    async def send(self, entry: WebhookChannel, delivery: Delivery) -> None:
        """POST the notice. Raises ``NotifierError``.

        **Correctness:** every attempt has the same ``webhook-id`` and body and the time of its own, so that a receiver
        can drop a second one and does not take a late one for a replay.
        """
        channel = delivery.channel
        if not _SENDABLE.match(delivery.delivery_id):
            raise failure(channel, "the delivery's id holds characters that no header can carry", transient=False)
        url = address(channel, entry.url, entry.url_env, self._environ)
        signer = _signer(channel, entry.secret_env, self._environ)
        body, moment = webhook_body(delivery.notice), self._now()
        headers = {
            "webhook-id": delivery.delivery_id,
            "webhook-timestamp": str(int(moment.timestamp())),
            "webhook-signature": signer.sign(delivery.delivery_id, moment, body),
        }
        await self._http.post(channel, url, body.encode("utf-8"), headers, allow_private=entry.allow_private)


def webhook_body(notice: Notice) -> str:
    """The JSON that is signed and sent. Event and time stand outside of ``data``, as the standard has it."""
    fields = notice.model_dump(mode="json")
    event, occurred_at = fields.pop("event"), fields.pop("occurred_at")
    return json.dumps({"type": event, "timestamp": occurred_at, "data": fields}, separators=(",", ":"))


def _signer(channel: str, secret_env: str, environ: Mapping[str, str]) -> Webhook:
    written = secret(channel, secret_env, environ)
    encoded = written.removeprefix(_PREFIX)
    try:
        key = base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True)
    except ValueError:
        key = b""
    if not written.startswith(_PREFIX) or not 24 <= len(key) <= 64:
        why = f"{secret_env} holds no webhook secret; set it to {_PREFIX} and the base64 of 24 to 64 random bytes"
        raise failure(channel, why, transient=False)
    return Webhook(key)
