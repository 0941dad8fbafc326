"""Which addresses are public: none of the networks that are not, however the address is dressed up."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.public_address import (
    ForbiddenAddressError,
    UnresolvedHostError,
    is_public,
    judged_addresses,
    system_resolver,
)
from tests.adapters.notice_examples import PUBLIC, NameServer

NOT_GLOBAL_IPV4 = (
    "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
    "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
    "224.0.0.0/4", "240.0.0.0/4", "255.255.255.255/32",
)  # fmt: skip
NOT_GLOBAL_IPV6 = (
    "::/128", "::1/128", "::/96", "::ffff:0:0/96", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23",
    "2001::/32", "2001:2::/48", "2001:10::/28", "2001:20::/28", "2001:db8::/32", "2002::/16", "3fff::/20", "4000::/2",
    "5f00::/16", "fc00::/7", "fd00:ec2::254/128", "fe80::/10", "fec0::/10", "ff00::/8",
)  # fmt: skip
"""The special-purpose registries of IANA, with what they leave unassigned; written down apart from the code."""


def addresses(network: str) -> st.SearchStrategy[str]:
    parsed = ip_network(network)
    edges = st.sampled_from([parsed[0], parsed[-1]])
    return (edges | st.ip_addresses(network=network)).map(str)


@pytest.mark.parametrize("network", [*NOT_GLOBAL_IPV4, *NOT_GLOBAL_IPV6])
def test_no_address_of_a_network_that_is_not_global_is_public(network: str) -> None:
    @given(addresses(network))
    def never(address: str) -> None:
        assert not is_public(address)

    never()


@given(st.ip_addresses())
@example(ip_address("224.0.0.1"))
@example(ip_address("ff0e::1"))
def test_what_the_standard_library_calls_special_is_not_public(address: IPv4Address | IPv6Address) -> None:
    special = not address.is_global or address.is_multicast or (address.version == 4 and address.is_reserved)
    assert not (special and is_public(str(address)))


NOT_PUBLIC_IPV4 = st.one_of([addresses(network) for network in NOT_GLOBAL_IPV4]).map(IPv4Address)


@given(NOT_PUBLIC_IPV4, st.integers(0, 2**80 - 1))
def test_a_private_address_inside_another_one_is_not_public(inner: IPv4Address, rest: int) -> None:
    number = int(inner)
    dressed_up = {
        "mapped": 0xFFFF << 32 | number,
        "compatible": number,
        "translated": int(IPv6Address("64:ff9b::")) | number,
        "translated locally": int(IPv6Address("64:ff9b:1::")) | number,
        "6to4": 0x2002 << 112 | number << 80 | rest,
        "Teredo server": 0x20010000 << 96 | number << 64 | rest % 2**64,
        "Teredo client": 0x20010000 << 96 | (rest % 2**64) << 32 | (number ^ 0xFFFF_FFFF),
    }
    assert {how: is_public(str(IPv6Address(address))) for how, address in dressed_up.items()} == dict.fromkeys(
        dressed_up, False
    )


@given(st.ip_addresses(v=4))
def test_a_translated_address_is_public_where_the_address_inside_is(inner: IPv4Address) -> None:
    translated = IPv6Address(int(IPv6Address("64:ff9b::")) | int(inner))
    assert is_public(str(translated)) == is_public(str(inner))


@given(st.ip_addresses())
def test_all_others_are_public(address: IPv4Address | IPv6Address) -> None:
    known: list[IPv4Network | IPv6Network] = [ip_network(name) for name in (*NOT_GLOBAL_IPV4, *NOT_GLOBAL_IPV6)]
    unicast = address.version == 4 or address in IPv6Network("2000::/3")
    if unicast and str(address) != "168.63.129.16" and not any(address in network for network in known):
        assert is_public(str(address))


@pytest.mark.parametrize(
    "address",
    ["1.1.1.1", "8.8.8.8", PUBLIC, "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
     "128.0.0.0", "172.15.255.255", "172.32.0.0", "223.255.255.255", "2001:200::1", "2003::1", "2606:4700::1111",
     "2a00:1450::1", "3ffe:ffff::1", "64:ff9b::808:808"],
)  # fmt: skip
def test_public_addresses_are(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "written",
    ["", "localhost", "127.1", "0x7f.1", "010.0.0.1", "2130706433", "8.8.8.8 ", "8.8.8.8/32", "fe80::1%eth0",
     "2606:4700::1111%eth0", "[2606:4700::1111]", "168.63.129.16"],
)  # fmt: skip
def test_what_is_no_plain_public_address_is_not_public(written: str) -> None:
    assert not is_public(written)


async def test_one_address_that_is_not_public_forbids_them_all() -> None:
    names = NameServer({"mixed.test": [[PUBLIC, "10.0.0.1", PUBLIC]], "good.test": [[PUBLIC, "8.8.8.8", PUBLIC]]})
    with pytest.raises(ForbiddenAddressError, match="allow_private") as caught:
        await judged_addresses("mixed.test", 443, names, allow_private=False)
    assert "10.0" not in str(caught.value)
    assert await judged_addresses("mixed.test", 443, names, allow_private=True) == (PUBLIC, "10.0.0.1")
    assert await judged_addresses("good.test", 443, names, allow_private=False) == (PUBLIC, "8.8.8.8")
    assert names.asked == [("mixed.test", 443), ("mixed.test", 443), ("good.test", 443)]


async def test_a_host_without_an_address_is_told_apart() -> None:
    async def unaskable(host: str, port: int) -> Sequence[str]:
        return [host.encode("idna").decode("ascii")]

    for host, resolver in (
        ("none.test", NameServer({})),
        ("a.test", NameServer({"a.test": [[]]})),
        ("x" * 70, unaskable),
    ):
        with pytest.raises(UnresolvedHostError):
            await judged_addresses(host, 443, resolver, allow_private=True)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1", "2130706433", "0x7f000001", "::1", "0", "::"])
async def test_whatever_the_machine_takes_for_itself_is_forbidden(host: str) -> None:
    with ThreadPoolExecutor(1) as threads, pytest.raises(ForbiddenAddressError):
        await judged_addresses(host, 443, system_resolver(threads), allow_private=False)
