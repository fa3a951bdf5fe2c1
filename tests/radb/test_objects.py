"""Every kind of awkward object: kept, mended, or rejected with its reason."""

from __future__ import annotations

from ipaddress import IPv4Address
from pathlib import Path

import pytest

from mirrornet.model.address import Prefix, parse_prefix
from mirrornet.radb.facts import AutNum, Block, Mend, Reason, Rejected, Route, Unused
from mirrornet.radb.reading.objects import interpret
from mirrornet.radb.reading.rpsl import runs

GARBAGE = Path(__file__).parents[1] / "vectors" / "rpsl" / "garbage.db"


def garbage(part: bytes) -> bytes:
    """The one object of the vector that contains `part`."""
    data = GARBAGE.read_bytes()
    (found,) = [data[begin:end] for begin, end in runs(data) if part in data[begin:end]]
    return found


def prefix_of(route: Route) -> str:
    return str(Prefix(route.family, route.value, route.length))


@pytest.mark.parametrize(
    ("part", "prefix", "asn", "source", "mends"),
    [
        (b"199.119.212.0/23", "199.119.212.0/23", 20013, "ARIN", {Mend.NO_AS}),
        (b"186.211.112.0/20", "186.211.112.0/20", 4 * 65536 + 603, "LEVEL3", {Mend.ASDOT}),
        (b"196.192.124.0/24", "196.192.124.0/24", 37301, "AFRINIC", set()),
        (b"07.35.33.0/27", "7.35.33.0/27", 577, "BELL", {Mend.ZERO_PADDED}),
        (b"196.43.208.5/24", "196.43.208.0/24", 2018, "AFRINIC", {Mend.HOST_BITS}),
        (b"2001:470:33::1/48", "2001:470:33::/48", 6939, "ARIN", {Mend.HOST_BITS}),
        (b"216.21.16.0/24", "216.21.16.0/24", 3445, "", {Mend.NO_SOURCE}),
        (b"152.234.192.0/19", "152.234.192.0/19", 7738, "RADB", set()),
        (b"203.0.113.0/24", "203.0.113.0/24", 64500, "RADB", set()),
        (b"AS64503", "198.51.100.0/24", 64503, "RADB", set()),
        (b"AS64504", "198.51.100.0/24", 64504, "RIPE", set()),
    ],
)
def test_garbage_that_is_kept(part: bytes, prefix: str, asn: int, source: str, mends: set[Mend]) -> None:
    said = interpret(garbage(part), bogons=True)
    assert isinstance(said, Route)
    assert (prefix_of(said), said.asn, said.source, set(said.mends)) == (prefix, asn, source, mends)


@pytest.mark.parametrize(
    ("part", "reason"),
    [
        (b"*xxte", Reason.DELETED),
        (b"AS64501", Reason.NO_LENGTH),
        (b"192.0.2.0/xx", Reason.BAD_LENGTH),
    ],
)
def test_garbage_that_is_rejected(part: bytes, reason: Reason) -> None:
    said = interpret(garbage(part), bogons=True)
    assert isinstance(said, Rejected)
    assert said.reason is reason


def test_garbage_of_classes_that_we_do_not_use_is_counted() -> None:
    assert interpret(b"rtr-set: rtrs-foo\nmembers: rtr1.example.net\nsource: RADB") == Unused("rtr-set", "RADB")
    assert interpret(garbage(b"POEM-X")) == Unused("poem", "RIPE")
    assert interpret(b"# comment line between objects\n% and more") is None


def test_an_inetnum_with_two_countries_and_a_geoloc() -> None:
    said = interpret(garbage(b"inetnum:"), bogons=True)
    prefix = parse_prefix("192.0.2.0/24")
    assert said == Block(4, prefix.value, prefix.last, "JP", (35.68, 139.69), "RIPE", (Mend.NO_COUNTRY,))


def test_the_whole_vector_is_accounted_for() -> None:
    data = GARBAGE.read_bytes()
    said = [interpret(data[begin:end]) for begin, end in runs(data)]
    kinds = [type(item).__name__ for item in said]
    counts = {"NoneType": 1, "Route": 8, "SetObject": 1, "Rejected": 7, "Unused": 1}
    assert {kind: kinds.count(kind) for kind in set(kinds)} == counts
    assert sum(isinstance(item, Rejected) and item.reason is Reason.BOGON for item in said) == 4


def route(prefix: str, origin: str = "AS1299", class_name: str = "route") -> object:
    return interpret(f"{class_name}: {prefix}\norigin: {origin}\nsource: RADB".encode("latin-1"))


@pytest.mark.parametrize(
    ("prefix", "reason"),
    [
        ("0.0.0.0/0", Reason.TOO_SHORT),
        ("16.0.0.0/7", Reason.TOO_SHORT),
        ("8.8.8.0/33", Reason.BAD_LENGTH),
        ("8.8.8.0/-1", Reason.BAD_LENGTH),
        ("8.8.8.0/", Reason.BAD_LENGTH),
        ("8.8.8.0/24/24", Reason.BAD_LENGTH),
        ("8.8.8.0/²4", Reason.BAD_LENGTH),
        ("8.8.8.256/24", Reason.BAD_ADDRESS),
        ("8.8.8/24", Reason.BAD_ADDRESS),
        ("8.8.010.0/24", Reason.BAD_ADDRESS),
        ("2001:470::/32", Reason.BAD_ADDRESS),
        ("", Reason.BAD_ADDRESS),
        ("10.1.0.0/16", Reason.BOGON),
        ("255.0.0.0/8", Reason.BOGON),
    ],
)
def test_prefixes_that_are_rejected(prefix: str, reason: Reason) -> None:
    said = route(prefix)
    assert isinstance(said, Rejected)
    assert said.reason is reason


@pytest.mark.parametrize(
    ("prefix", "reason"),
    [
        ("::/0", Reason.TOO_SHORT),
        ("2001:470:1:2::/65", Reason.TOO_SPECIFIC),
        ("2001:470:1:2::/129", Reason.BAD_LENGTH),
        ("8.8.8.0/24", Reason.BAD_ADDRESS),
        ("fe80::1%eth0/64", Reason.BAD_ADDRESS),
        ("2001:db8::/32", Reason.BOGON),
        ("fd00::/32", Reason.BOGON),
    ],
)
def test_prefixes_of_ipv6_that_are_rejected(prefix: str, reason: Reason) -> None:
    said = route(prefix, class_name="route6")
    assert isinstance(said, Rejected)
    assert said.reason is reason


@pytest.mark.parametrize("octet", ["08", "099", "00", "000", "005"])
def test_zero_padded_octets_of_one_reading_are_mended(octet: str) -> None:
    said = route(f"8.8.{octet}.0/24")
    assert isinstance(said, Route)
    assert said.mends == (Mend.ZERO_PADDED,)
    assert said.value == (8 << 24 | 8 << 16 | int(octet) << 8)


@pytest.mark.parametrize(
    ("origin", "reason"),
    [
        ("", Reason.NO_ORIGIN),
        ("AS", Reason.BAD_ORIGIN),
        ("ASX", Reason.BAD_ORIGIN),
        ("AS1, AS2", Reason.BAD_ORIGIN),
        ("AS4294967296", Reason.BAD_ORIGIN),
        ("AS1.65536", Reason.BAD_ORIGIN),
        ("AS-1", Reason.BAD_ORIGIN),
        ("AS0", Reason.BOGON_ORIGIN),
        ("AS65000", Reason.BOGON_ORIGIN),
        ("AS4294967295", Reason.BOGON_ORIGIN),
    ],
)
def test_origins_that_are_rejected(origin: str, reason: Reason) -> None:
    said = route("8.8.8.0/24", origin)
    assert isinstance(said, Rejected)
    assert said.reason is reason


def test_newest_reads_both_habits() -> None:
    text = b"route: 8.8.8.0/24\norigin: AS15169\nchanged: a@b 20010101\nchanged: a@b 19990101 # 20200202\n"
    said = interpret(text + b"last-modified: 2023-11-13T15:41:43Z\nsource: RADB")
    assert isinstance(said, Route)
    assert said.newest == 20231113 << 32 | 20010101


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("8.8.8.255 - 8.8.8.0", Reason.REVERSED),
        ("8.8.8.0", Reason.BAD_RANGE),
        ("8.8.8.0 - 8.8.8", Reason.BAD_ADDRESS),
        ("8.0.0.0 - 10.0.0.0", Reason.TOO_SHORT),
        ("0.0.0.0 - 255.255.255.255", Reason.TOO_SHORT),
        ("10.0.0.0 - 10.0.0.255", Reason.BOGON),
    ],
)
def test_ranges_that_are_rejected(key: str, reason: Reason) -> None:
    said = interpret(f"inetnum: {key}\ncountry: US\nsource: ARIN".encode())
    assert isinstance(said, Rejected)
    assert said.reason is reason


@pytest.mark.parametrize(
    ("key", "first", "last"),
    [
        ("8.8.8.8 - 8.8.8.8", "8.8.8.8", "8.8.8.8"),
        ("8.8.8.8-8.8.8.9", "8.8.8.8", "8.8.8.9"),
        ("8.0.0.0 - 8.255.255.255", "8.0.0.0", "8.255.255.255"),  # a /8 is the most that anybody was given
        ("8.8.8.0/24", "8.8.8.0", "8.8.8.255"),
    ],
)
def test_ranges_from_one_address_to_a_whole_8(key: str, first: str, last: str) -> None:
    said = interpret(f"inetnum: {key}\ncountry: US\nsource: ARIN".encode())
    assert said == Block(4, int(IPv4Address(first)), int(IPv4Address(last)), "US", None, "ARIN")


def test_an_inet6num_longer_than_64_is_widened() -> None:
    said = interpret(b"inet6num: 2001:470:1:2:8000::/68\ncountry: us\nsource: RIPE")
    prefix = parse_prefix("2001:470:1:2::/64")
    assert said == Block(6, prefix.value, prefix.last, "US", None, "RIPE", (Mend.LONG_BLOCK,))


@pytest.mark.parametrize("geoloc", ["0 0", "91 0", "10", "10 20 30", "1e1 20", "nan nan", "north east"])
def test_a_geoloc_that_is_no_place_is_passed_over(geoloc: str) -> None:
    said = interpret(f"inetnum: 8.8.8.0 - 8.8.8.255\ncountry: DE\ngeoloc: {geoloc}\nsource: RIPE".encode())
    assert isinstance(said, Block)
    assert said.coordinates is None
    assert said.mends == (Mend.BAD_GEOLOC,)


@pytest.mark.parametrize(
    ("geoloc", "pair"), [("90 180", (90.0, 180.0)), ("-90 -180", (-90.0, -180.0)), ("0 1", (0, 1))]
)
def test_a_geoloc_may_be_at_the_edge_of_the_world(geoloc: str, pair: tuple[float, float]) -> None:
    said = interpret(f"inetnum: 8.8.8.0 - 8.8.8.255\ngeoloc: {geoloc}\nsource: RIPE".encode())
    assert said == Block(4, 0x08080800, 0x080808FF, "", pair, "RIPE")


def test_the_seat_of_an_as() -> None:
    assert interpret(b"aut-num: AS1299\nas-name: X\ncountry: SE\nsource: RIPE") == AutNum(1299, "SE", "RIPE")
    assert interpret(b"aut-num: AS1299\ncountry: UK\nsource: RIPE") == AutNum(1299, "GB", "RIPE")
    assert interpret(b"aut-num: AS1299\ncountry: PW\nsource: RIPE") == AutNum(1299, "PW", "RIPE")
    assert interpret(b"aut-num: TELIA\nsource: RIPE") == Rejected("aut-num", "RIPE", Reason.BAD_ORIGIN)
