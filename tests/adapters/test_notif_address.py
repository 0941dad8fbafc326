"""Where notices go: to the address that was judged, by the name that was written, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from adapters.channel_http import channel_client
from adapters.notifiers import Notifiers
from domain.notice import NotifierError
from tests.adapters.fake_receiver import certified, receiver, status
from tests.adapters.notice_examples import PUBLIC, NameServer, catalog, delivery
from tests.adapters.webhook_channels import ENVIRON, HERE, entry, faked, refusal, told_to


async def test_a_name_that_changes_its_address_is_judged_each_time_and_asked_once() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200)

    names = NameServer({"hooks.test": [[PUBLIC], ["10.0.0.1"]]})
    notifiers = faked(answer, names)
    await notifiers.send(delivery())
    assert str(seen[0].url) == f"https://{PUBLIC}/path-token/"
    assert seen[0].headers["host"] == "hooks.test"
    assert seen[0].extensions["sni_hostname"] == "hooks.test"
    assert names.asked == [("hooks.test", 443)]
    error = await refusal(notifiers)
    assert not error.transient
    assert "not public" in str(error)
    assert (len(seen), len(names.asked)) == (1, 2)


@pytest.mark.parametrize(
    "addresses", [["10.0.0.1"], [PUBLIC, "127.0.0.1"], ["::1"], ["::ffff:10.0.0.1"], ["fe80::1%1"]]
)
async def test_nothing_is_sent_where_one_address_is_not_public(addresses: list[str]) -> None:
    def never(request: httpx.Request) -> httpx.Response:
        raise AssertionError("sent")

    assert not (await refusal(faked(never, NameServer({"hooks.test": [addresses]})))).transient


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "localhost", "127.1", "0", "2130706433", "0x7f.1", "[::1]", "[::]", "[::ffff:127.0.0.1]",
     "[64:ff9b::7f00:1]", "169.254.169.254", "[fd00:ec2::254]"],
)  # fmt: skip
async def test_an_address_of_this_machine_or_its_network_is_refused_however_it_is_written(host: str) -> None:
    async with receiver(status(200)) as got, channel_client() as http:
        channel = entry(url=f"https://{host}:{got.port}/", allow_private=False)
        assert not (await refusal(Notifiers(catalog(ops=channel), http, ENVIRON, None))).transient
    assert got.requests == []


async def test_the_next_address_is_tried_where_nobody_answers() -> None:
    names = NameServer({"hooks.test": [["127.0.0.2", "127.0.0.1"]]})
    async with receiver(status(200)) as got, channel_client() as http:
        notifiers = Notifiers(catalog(ops=entry(got.port)), http, ENVIRON, None, resolver=names)
        await notifiers.send(delivery())
    assert len(got.requests) == 1


async def test_a_host_that_cannot_be_reached_or_found_may_be_later() -> None:
    async with receiver(status(200)) as got:
        pass
    async with channel_client() as http:
        for names in (HERE, NameServer({})):
            notifiers = Notifiers(catalog(ops=entry(got.port)), http, ENVIRON, None, resolver=names)
            assert (await refusal(notifiers)).transient


async def test_the_certificate_must_be_for_the_name_although_the_address_is_asked(tmp_path: Path) -> None:
    for certificate, taken in (("hooks.test", True), ("other.test", False)):
        server, client = certified(tmp_path, certificate)
        async with receiver(status(200), server) as got, httpx.AsyncClient(verify=client, trust_env=False) as http:
            channel = entry(url=f"https://hooks.test:{got.port}/")
            notifiers = Notifiers(catalog(ops=channel), http, ENVIRON, None, resolver=HERE)
            if taken:
                await notifiers.send(delivery())
            else:
                assert (await refusal(notifiers)).transient
        assert got.server_names == ["hooks.test"]
        assert len(got.requests) == taken


async def test_connections_are_not_kept_for_another_name_at_the_same_address(tmp_path: Path) -> None:
    server, client = certified(tmp_path, "hooks.test")
    names = NameServer({"hooks.test": [["127.0.0.1"]], "other.test": [["127.0.0.1"]]})
    async with receiver(status(200), server) as got, httpx.AsyncClient(verify=client, trust_env=False) as http:
        channels = {name: entry(url=f"https://{name}.test:{got.port}/") for name in ("hooks", "other")}
        notifiers = Notifiers(catalog(**channels), http, ENVIRON, None, resolver=names)
        await notifiers.send(delivery("hooks"))
        with pytest.raises(NotifierError):
            await notifiers.send(delivery("other"))
    assert got.server_names == ["hooks.test", "other.test"]
    assert len(got.requests) == 1


async def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async with receiver(status(200)) as proxy:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        async with told_to(status(200)) as (notifiers, got):
            await notifiers.send(delivery())
    assert (len(got.requests), proxy.requests) == (1, [])
    async with httpx.AsyncClient() as http:
        with pytest.raises(ValueError, match="channel_client"):
            Notifiers(catalog(), http, ENVIRON, None)
