"""Addresses as integers, prefixes, and the IPv4 that hides in IPv6."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornet.model.address import Prefix, fold, is_public, key, mask, parse_address, parse_prefix, width

four = st.integers(0, 2**32 - 1).map(IPv4Address)
six = st.integers(0, 2**128 - 1).map(IPv6Address)


@pytest.mark.parametrize(
    ("carrier", "carried"),
    [
        ("::ffff:192.0.2.33", "192.0.2.33"),  # RFC 4291 2.5.5.2
        ("64:ff9b::192.0.2.33", "192.0.2.33"),  # RFC 6052 2.4
        ("2002:c000:221::1", "192.0.2.33"),  # RFC 3056 2
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", "192.0.2.45"),  # RFC 4380 5.2.9's pattern, bits inverted
        ("192.0.2.33", "192.0.2.33"),
        ("2001:db8::1", "2001:db8::1"),
        ("::192.0.2.33", "::192.0.2.33"),  # IPv4-compatible is deprecated (RFC 4291 2.5.5.1) and carries nothing
        ("64:ff9b:1::1", "64:ff9b:1::1"),  # RFC 8215: its translation prefix is not known
        ("2001:1::1", "2001:1::1"),
    ],
)
def test_fold(carrier: str, carried: str) -> None:
    assert fold(ip_address(carrier)) == ip_address(carried)


@given(four, st.integers(0, 2**80 - 1))
def test_what_carries_an_address_is_where_it_is(address: IPv4Address, rest: int) -> None:
    value = int(address)
    carriers = [
        0xFFFF << 32 | value,
        int(IPv6Address("64:ff9b::")) | value,
        0x2002 << 112 | value << 80 | rest,
        0x20010000 << 96 | (rest & (2**64 - 1)) << 32 | value ^ 0xFFFFFFFF,
    ]
    for carrier in carriers:
        assert fold(IPv6Address(carrier)) == address
        assert key(IPv6Address(carrier)) == key(address) == (4, value)


@given(six)
def test_fold_is_done_once(address: IPv6Address) -> None:
    folded = fold(address)
    assert fold(folded) == folded
    family, value = key(address)
    assert 0 <= value < 1 << width(family)
    if folded == address:
        assert (family, value) == (6, int(address) >> 64)


@given(st.sampled_from([4, 6]), st.data())
def test_a_prefix_holds_what_its_network_holds(family: int, data: st.DataObject) -> None:
    bits = 32 if family == 4 else 64
    length = data.draw(st.integers(0, bits))
    value = mask(family, data.draw(st.integers(0, 2**bits - 1)), length)  # type: ignore[arg-type]
    prefix = Prefix(family, value, length)  # type: ignore[arg-type]
    assert parse_prefix(str(prefix)) == prefix
    network = ip_network(str(prefix))
    other = data.draw(st.integers(0, 2**bits - 1))
    address = IPv4Address(other) if family == 4 else IPv6Address(other << 64)
    assert (other in prefix) == (address in network)
    assert value in prefix
    assert prefix.last in prefix
    assert prefix.last - prefix.value + 1 == 2 ** (bits - length)
    assert (prefix.last + 1) not in prefix
    inner = Prefix(family, mask(family, other, bits), bits)  # type: ignore[arg-type]
    assert (inner in prefix) == (other in prefix)


def test_prefixes_do_not_mix_families() -> None:
    assert parse_prefix("2001:db8::/32") not in parse_prefix("0.0.0.0/0")
    assert "10.0.0.1" not in parse_prefix("10.0.0.0/8")


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10/8", "10.0.0.0/abc", "10.0.0.0/33", "", "2001:db8::1/64", "x", "1"])
def test_prefixes_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a prefix"):
        parse_prefix(text)


def test_long_prefixes_are_kept_to_64_bits() -> None:
    assert str(parse_prefix("2001:db8::1")) == "2001:db8::/64"
    assert str(parse_prefix("192.0.2.1")) == "192.0.2.1/32"


@pytest.mark.parametrize("text", ["fe80::1%eth0", "", "10.0.0", "10.0.0.01", "localhost", "[::1]", "10.0.0.0/8"])
def test_addresses_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an IPv4 or IPv6 address"):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "allowed"),
    [
        ("8.8.8.8", True),
        ("2a00:1450::1", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),
        ("100.64.0.1", False),
        ("224.0.0.1", False),
        ("0.0.0.0", False),
        ("::1", False),
        ("fe80::1", False),
        ("fd00::1", False),
        ("ff02::1", False),
        ("::ffff:127.0.0.1", False),
        ("64:ff9b::a00:1", False),
        ("2002:7f00:1::", False),
    ],
)
def test_who_is_public(text: str, allowed: bool) -> None:
    assert is_public(ip_address(text)) is allowed
