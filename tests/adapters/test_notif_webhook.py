"""Webhooks: signed as the standard has it, to an address that was judged, with a limit on everything."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from adapters.channel_http import ChannelHttp, channel_client
from adapters.notifiers import Notifiers
from adapters.retry_after import LONGEST_WAIT
from adapters.webhook_notifier import WebhookNotifier
from domain.catalog import WebhookChannel
from domain.notice import NoticeEvent, NotifierError
from domain.request import Outcome
from tests.adapters.fake_receiver import drips, floods, hangs_up, receiver, status
from tests.adapters.notice_examples import (
    PUBLIC,
    SECRET,
    NameServer,
    assert_discreet,
    catalog,
    delivery,
)
from tests.adapters.webhook_channels import ENVIRON, HERE, entry, faked, refusal, told_to

# What is sent


async def test_a_receiver_can_verify_and_read_what_it_is_told() -> None:
    async with told_to(status(204, body=b"")) as (notifiers, got):
        await notifiers.send(delivery(event=NoticeEvent.REQUEST_COMPLETED, outcome=Outcome.EDITED))
    request = got.requests[0]
    assert request.line == "POST /path-token/ HTTP/1.1"
    assert request.headers["host"] == f"hooks.test:{got.port}"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == "req_a-1-ops"
    assert Webhook(SECRET).verify(request.body, request.headers) == {
        "type": "request.completed",
        "timestamp": "2026-11-24T12:30:00Z",
        "data": {
            "request_id": "req_a",
            "tenant": "acme",
            "policy": "support-triage",
            "policy_version": "0123456789abcdef",
            "risk": "high",
            "queue": "legal",
            "status": "held",
            "outcome": "edited",
            "why": "too risky to let out",
            "due": "2026-11-25T12:30:00Z",
            "review_version": 1,
            "result_sha256": "0" * 64,
        },
    }


async def test_a_second_attempt_has_the_same_id_and_body_and_its_own_time() -> None:
    started = datetime.now(UTC)
    moments = iter([started - timedelta(minutes=2), started + timedelta(minutes=2)])
    async with receiver(status(200)) as got, channel_client() as http:
        notifier = WebhookNotifier(ChannelHttp(http, HERE), ENVIRON, now=lambda: next(moments))
        channel = WebhookChannel.model_validate(entry(got.port))
        for _ in range(2):
            await notifier.send(channel, delivery())
    first, second = got.requests
    assert first.body == second.body
    assert first.headers["webhook-id"] == second.headers["webhook-id"] == "req_a-1-ops"
    assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 240
    assert first.headers["webhook-signature"] != second.headers["webhook-signature"]
    for request in got.requests:
        Webhook(SECRET).verify(request.body, request.headers)


@given(why=st.text(max_size=50), tenant=st.text(max_size=10), id=st.from_regex(r"\A[\x21-\x7e]{1,60}\Z"))
@example(why="\ud800</script>\r\n", tenant="\x00", id="a/b.c")
async def test_whatever_a_notice_says_verifies(why: str, tenant: str, id: str) -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200)

    sent = delivery(delivery_id=id).model_copy()
    sent = sent.model_copy(update={"notice": sent.notice.model_copy(update={"why": why, "tenant": tenant})})
    await faked(answer, NameServer({"hooks.test": [[PUBLIC]]})).send(sent)
    said = Webhook(SECRET).verify(seen[0].content, dict(seen[0].headers))
    assert (said["data"]["why"], said["data"]["tenant"], seen[0].headers["webhook-id"]) == (why, tenant, id)


# Which answers count


@pytest.mark.parametrize("code", [200, 201, 202, 204, 299])
async def test_every_2xx_is_a_delivery(code: int) -> None:
    async with told_to(status(code, body=b"")) as (notifiers, got):
        await notifiers.send(delivery())
    assert len(got.requests) == 1


@pytest.mark.parametrize(
    ("code", "transient"),
    [(code, False) for code in (300, 301, 304, 307, 400, 401, 403, 404, 409, 410, 413, 422, 451)]
    + [(code, True) for code in (408, 425, 429, 500, 502, 503, 504, 599)],
)
async def test_every_other_status_is_a_failure(code: int, transient: bool) -> None:
    async with told_to(status(code)) as (notifiers, got):
        error = await refusal(notifiers)
    assert (error.transient, error.retry_after) == (transient, None)
    assert f"answered {code}" in str(error)
    assert len(got.requests) == 1


async def test_a_channel_may_ask_to_be_left_alone_for_a_while() -> None:
    async with told_to(status(429, "Retry-After: 90")) as (notifiers, _):
        assert (await refusal(notifiers)).retry_after == timedelta(seconds=90)
    async with told_to(status(503, "Retry-After: 999999")) as (notifiers, _):
        assert (await refusal(notifiers)).retry_after == LONGEST_WAIT


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(code: int) -> None:
    async with receiver(status(200)) as elsewhere:
        location = f"Location: http://127.0.0.1:{elsewhere.port}/"
        async with told_to(status(code, location)) as (notifiers, got):
            error = await refusal(notifiers)
    assert not error.transient
    assert "redirects are not followed" in str(error)
    assert (len(got.requests), elsewhere.requests) == (1, [])


async def test_an_answer_that_never_ends_is_cut_at_the_time_limit() -> None:
    async with receiver(drips) as got, channel_client() as http, asyncio.timeout(5):
        notifier = WebhookNotifier(ChannelHttp(http, HERE, seconds=0.5), ENVIRON)
        with pytest.raises(NotifierError, match="no whole reply") as caught:
            await notifier.send(WebhookChannel.model_validate(entry(got.port)), delivery())
    assert_discreet(caught.value)
    assert caught.value.transient
    assert len(got.requests) == 1


async def test_a_name_server_that_never_answers_is_cut_at_the_time_limit() -> None:
    async def silent(host: str, port: int) -> list[str]:
        await asyncio.Event().wait()
        return []

    async with channel_client() as http, asyncio.timeout(5):
        notifier = WebhookNotifier(ChannelHttp(http, silent, seconds=0.05), ENVIRON)
        with pytest.raises(NotifierError, match="not found within") as caught:
            await notifier.send(WebhookChannel.model_validate(entry()), delivery())
    assert_discreet(caught.value)
    assert caught.value.transient


async def test_an_answer_without_end_is_cut_at_the_size_limit() -> None:
    async with asyncio.timeout(5), told_to(floods) as (notifiers, got):
        await notifiers.send(delivery())
    assert len(got.requests) == 1


async def test_a_connection_that_breaks_is_tried_again() -> None:
    async with told_to(hangs_up) as (notifiers, _):
        assert (await refusal(notifiers)).transient


# What is configured wrongly


async def test_a_channel_that_this_process_does_not_know_is_refused() -> None:
    async with channel_client() as http:
        error = await refusal(Notifiers(catalog(), http, ENVIRON, None))
    assert not error.transient
    assert "not in the catalog of this process" in str(error)


@pytest.mark.parametrize(
    "secret",
    ["", "hunter2", "whsec_", "whsec_hunter2", "c2VjcmV0" * 4, "whsec_" + "c2VjcmV0" * 3, "whsec_" + "c2VjcmV0" * 12,
     "whsec_" + "c2VjcmV0" * 4 + "!", "whsec_c2VjcmV0é" * 4],
)  # fmt: skip
async def test_a_secret_that_is_none_is_refused(secret: str) -> None:
    names = NameServer({"hooks.test": [[PUBLIC]]})
    error = await refusal(faked(lambda _: httpx.Response(200), names, {"OPS_SECRET": secret}))
    assert not error.transient
    assert "OPS_SECRET" in str(error)
    assert names.asked == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "OPS_URL"),
        ("http://hooks.test/path-token", "use https://"),
        ("https://ann:hunter2@hooks.test/path-token", "user name or password"),
        ("ftp://hooks.test/path-token", "must be https://"),
        ("hooks.test/path-token", "must be https://"),
        ("https:///path-token", "must be https://"),
        ("https://hooks.test:0/path-token", "must be https://"),
        ("https://hooks.test:x/path-token", "no URL"),
        ("https://hooks.test:99999999/path-token", "must be https://"),
        ("https://[hooks.test/path-token", "must be https://"),
    ],
)
async def test_an_address_of_the_environment_is_refused_where_it_is_none(url: str, said: str) -> None:
    names = NameServer({"hooks.test": [[PUBLIC]]})
    environ = ENVIRON | {"OPS_URL": url}
    error = await refusal(faked(lambda _: httpx.Response(200), names, environ, url=None, url_env="OPS_URL"))
    assert not error.transient
    assert said in str(error)
    assert names.asked == []


async def test_the_address_of_the_environment_wins_where_it_is_set() -> None:
    seen: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request.headers["host"])
        return httpx.Response(200)

    names = NameServer({"hooks.test": [[PUBLIC]], "other.test": [[PUBLIC]]})
    for environ in (ENVIRON, ENVIRON | {"OPS_URL": "https://other.test:8443/"}):
        await faked(answer, names, environ, url_env="OPS_URL").send(delivery())
    assert seen == ["hooks.test", "other.test:8443"]


async def test_an_id_that_no_header_can_carry_is_refused() -> None:
    names = NameServer({"hooks.test": [[PUBLIC]]})
    for id in ("", "a b", "a\r\nX-Injected: 1", "é", "a" * 501):
        error = await refusal(faked(lambda _: httpx.Response(200), names), delivery(delivery_id=id))
        assert not error.transient
    assert names.asked == []


@settings(deadline=None)
@given(
    rest=st.text(max_size=30) | st.from_regex(r"\A[a-z.:@/?#%\[\]\\]{0,30}\Z"),
    scheme=st.sampled_from(["https://", "https:", "http://", ""]),
)
@example(rest="\u2100.test", scheme="https://")
@example(rest="xn--a.test", scheme="https://")
@example(rest="a..b", scheme="https://")
@example(rest="%00", scheme="https://")
async def test_no_address_whatever_is_written_leads_to_another_error(rest: str, scheme: str) -> None:
    sent: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request.url)
        return httpx.Response(200)

    async def anywhere(host: str, port: int) -> list[str]:
        return [PUBLIC]

    http = httpx.AsyncClient(transport=httpx.MockTransport(answer), trust_env=False)
    channel = entry(url=None, url_env="OPS_URL", allow_private=False)
    environ = ENVIRON | {"OPS_URL": scheme + rest}
    failed: NotifierError | None = None
    try:
        await Notifiers(catalog(ops=channel), http, environ, None, resolver=anywhere).send(delivery())
    except NotifierError as error:
        failed = error
    if failed is None:
        assert [(url.scheme, url.host, url.userinfo) for url in sent] == [("https", PUBLIC, b"")]
    else:
        assert (failed.transient, sent) == (False, [])
