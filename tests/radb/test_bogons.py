"""What no public route may carry, at both ends of every run."""

from __future__ import annotations

import pytest

from mirrornet.model.address import parse_prefix
from mirrornet.radb.bogons import bogon_asn, bogon_block, bogon_prefix


@pytest.mark.parametrize(
    ("asn", "bogon"),
    [
        (0, True), (1, False), (23455, False), (23456, True), (23457, False), (64495, False), (64496, True),
        (65551, True), (65552, False), (4199999999, False), (4200000000, True), (4294967295, True),
    ],
)  # fmt: skip
def test_as_numbers(asn: int, bogon: bool) -> None:
    assert bogon_asn(asn) is bogon


@pytest.mark.parametrize(
    ("text", "bogon"),
    [
        ("0.0.0.0/8", True),
        ("0.255.255.255/32", True),
        ("1.0.0.0/8", False),
        ("10.255.255.255/32", True),
        ("11.0.0.0/32", False),
        ("172.15.255.0/24", False),
        ("172.16.0.0/12", True),
        ("172.0.0.0/8", False),  # holds reserved space, and other
        ("223.255.255.255/32", False),
        ("224.0.0.0/4", True),
        ("255.255.255.255/32", True),
        ("::/64", True),
        ("1fff:ffff:ffff:ffff::/64", True),
        ("2000::/16", False),
        ("2001:db8:ffff:ffff::/64", True),
        ("2001:db9::/32", False),
        ("ffff:ffff:ffff:ffff::/64", True),
    ],
)
def test_prefixes_and_blocks(text: str, bogon: bool) -> None:
    prefix = parse_prefix(text)
    assert bogon_prefix(prefix.family, prefix.value, prefix.length) is bogon
    assert bogon_block(prefix.family, prefix.value, prefix.last) is bogon
