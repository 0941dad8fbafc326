"""Webhook channels for tests: on this machine behind a real server, or public ones behind a transport."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest

from adapters.channel_http import channel_client
from adapters.notifiers import Notifiers
from domain.notice import Delivery, NotifierError
from tests.adapters.fake_receiver import Answer, Receiver, receiver
from tests.adapters.notice_examples import SECRET, NameServer, assert_discreet, catalog, delivery

ENVIRON = {"OPS_SECRET": SECRET}
HERE = NameServer({"hooks.test": [["127.0.0.1"]]})


def entry(port: int = 80, **changes: Any) -> dict[str, Any]:
    """A channel on this machine."""
    url = f"http://hooks.test:{port}/path-token/"
    return {"kind": "webhook", "url": url, "secret_env": "OPS_SECRET", "allow_private": True, **changes}


def faked(
    answer: Callable[[httpx.Request], httpx.Response],
    names: NameServer,
    environ: Mapping[str, str] = ENVIRON,
    **changes: Any,
) -> Notifiers:
    """The notifiers over a transport that answers by itself; the channel is a public one with HTTPS."""
    channel = entry(url="https://hooks.test/path-token/", allow_private=False) | changes
    http = httpx.AsyncClient(transport=httpx.MockTransport(answer), trust_env=False)
    return Notifiers(catalog(ops=channel), http, environ, None, resolver=names)


@asynccontextmanager
async def told_to(answer: Answer, **changes: Any) -> AsyncIterator[tuple[Notifiers, Receiver]]:
    """The notifiers with a receiver that answers like this."""
    async with receiver(answer) as got, channel_client() as http:
        yield Notifiers(catalog(ops=entry(got.port, **changes)), http, ENVIRON, None, resolver=HERE), got


async def refusal(notifiers: Notifiers, sent: Delivery | None = None) -> NotifierError:
    with pytest.raises(NotifierError) as caught:
        await notifiers.send(sent or delivery())
    assert_discreet(caught.value)
    return caught.value
