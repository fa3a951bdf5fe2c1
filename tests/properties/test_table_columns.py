"""The fast reader says of every text exactly what the exact reader says, of routes and of aut-nums."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from functools import lru_cache
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mirrornet.model.address import Family
from mirrornet.radb.facts import AutNum, Route
from mirrornet.radb.reading import columns, scan
from mirrornet.radb.reading.objects import interpret
from mirrornet.radb.reading.rpsl import runs
from mirrornet.radb.reading.text import PADDING
from mirrornet.radb.records import Sources

GARBAGE = Path(__file__).parents[1] / "vectors" / "rpsl" / "garbage.db"
FAMILIES: tuple[Family, Family] = (4, 6)


def by_exact_reader(data: bytes, bogons: bool) -> Counter[Route | AutNum]:
    said = (interpret(data[begin:end], bogons) for begin, end in runs(data))
    return Counter(item for item in said if isinstance(item, Route | AutNum))


@lru_cache
def scanner() -> scan.Scanner | None:
    folder = Path(tempfile.mkdtemp(prefix="mirrornet-scan-"))
    try:
        return scan.load(scan.build(folder))
    finally:
        shutil.rmtree(folder)  # what is mapped stays mapped


def by_fast_reader(data: bytes, bogons: bool) -> tuple[Counter[Route | AutNum], int]:
    """What NumPy and, where there is a C compiler, the compiled pass say; both must be the same."""
    by_numpy, count = by_one_reader(data, bogons, None)
    if scanner() is not None:
        by_scan, scanned = by_one_reader(data, bogons, scanner())
        assert by_scan == by_numpy
        assert scanned >= count  # it takes a few more
    return by_numpy, count


def by_one_reader(data: bytes, bogons: bool, how: scan.Scanner | None) -> tuple[Counter[Route | AutNum], int]:
    """All routes and aut-nums, the plain ones from the columns, and how many those were."""
    sources = Sources()
    plain = columns.read_padded(data + bytes(PADDING), len(data), sources, bogons, how)
    found: Counter[Route | AutNum] = Counter()
    seats = plain.seats
    for asn, source, country in zip(*(c.tolist() for c in (seats.asns, seats.sources, seats.countries)), strict=True):
        found[AutNum(asn, seats.codes[country], sources.names[source])] += 1
    for family in FAMILIES:
        batch = plain.routes[family]
        columns_of_batch = (batch.values, batch.lengths, batch.asns, batch.sources, batch.newest)
        for value, length, asn, source, newest in zip(*(c.tolist() for c in columns_of_batch), strict=True):
            found[Route(family, value, length, asn, sources.names[source], newest)] += 1
    count = found.total()
    assert "" not in sources.names
    for begin, end in plain.rest:
        said = interpret(data[begin:end], bogons)
        if isinstance(said, Route | AutNum):
            found[said] += 1
    assert plain.rest_lines == [data.count(b"\n", 0, begin) for begin, _ in plain.rest]
    assert plain.lines == data.count(b"\n")
    assert set(sources.names) <= {said.source for said in found}  # a rejected object enters no source
    return found, count


PREFIXES = st.one_of(
    st.builds(
        "{}.{}.{}.{}/{}".format,
        *[st.sampled_from(["0", "1", "8", "10", "99", "100", "192", "255", "256", "00", "07", "", "x"])] * 4,
        st.sampled_from(["0", "7", "8", "08", "16", "20", "24", "31", "32", "33", "", "x", "24 ", "24 x", "24/8"]),
    ),
    st.builds(
        "{}:{}::{}/{}".format,
        *[st.sampled_from(["2001", "2a00", "db8", "DB8", "0", "fd00", "12345", "", "g"])] * 2,
        st.sampled_from(["", "", "", "1", "1:2"]),
        st.sampled_from(["0", "15", "16", "032", "32", "48", "64", "65", "128", "129", ""]),
    ),
    st.sampled_from(["8.8.8.0/24", "1.0.0.0/24", "2001:470::/32", "2620:0:2d0:200::/64", "2400::/12", "::/0", "/", ""]),
)
ORIGINS = st.sampled_from(
    ["AS1", "as1299", "As4294967295", "AS4294967296", "AS64500", "1299", "AS1.2", "AS", "ASX", "AS12 ", "AS1 # x", ""]
)
SOURCES = st.sampled_from(
    ["RADB", "ripe", "RADB # Filtered", "NTTCOM\t", "X" * 16, "X" * 17, "-x", "a b", "", "NIC.BR"]
)
DATES = st.sampled_from(
    ["a@b 20010101", "20010101", "a@b 20010101 ", "a@b 20010101 # 20020202", "a@b 2001", "é 20010101", "#20010101"]
)
COUNTRIES = ["JP", "de", "uk", "EU", "ZZ", "JP # x", "JPN", "J", "", "AS-SET", "\u00e9"]
MODIFIED = st.sampled_from(["2023-11-13T15:41:43Z", "2023-11-13", "2023-1-13", "", "x2023-11-13", "2023-11-13 # x"])
NAMES = st.sampled_from
BLANKS = st.sampled_from(["", " ", "\t", "         ", " " * 45])
LINES = st.one_of(
    st.tuples(NAMES(["origin:", "Origin:", "ORIGIN:", "origin", "origins:"]), BLANKS, ORIGINS).map("".join),
    st.tuples(NAMES(["source:", "SOURCE:"]), BLANKS, SOURCES).map("".join),
    st.tuples(NAMES(["changed:", "Changed:"]), BLANKS, DATES).map("".join),
    st.tuples(NAMES(["last-modified:", "last-modifier:"]), BLANKS, MODIFIED).map("".join),
    st.tuples(NAMES(["route:", "route6:", "descr:", "+", " ", "\t", "%", "#", "junk "]), BLANKS, PREFIXES).map("".join),
    st.tuples(NAMES(["country:", "Country:", "member-of:", "member-off:"]), BLANKS, st.sampled_from(COUNTRIES)).map(
        "".join
    ),
    st.sampled_from([" ", "+", "\t20010101", " AS5", "# comment", "% comment", "descr: 1.2.3.0/24 origin: AS5"]),
)
FIRST_LINES = st.one_of(
    st.tuples(NAMES(["route:", "route6:", "Route:", "route", "% x\nroute:", "aut-num:"]), BLANKS, PREFIXES).map(
        "".join
    ),
    st.tuples(NAMES(["aut-num:", "Aut-Num:", "aut\rnum:"]), BLANKS, ORIGINS).map("".join),
)
NEEDED = st.tuples(
    st.tuples(st.just("origin:"), BLANKS, ORIGINS).map("".join),
    st.tuples(st.just("source:"), BLANKS, SOURCES).map("".join),
)
OBJECTS = st.builds(
    lambda first, needed, before, after: "\n".join([first, *before, needed[0], *after, needed[1]]),
    FIRST_LINES,
    NEEDED,
    st.lists(LINES, max_size=2),
    st.lists(LINES, max_size=2),
)
TEXTS = st.lists(OBJECTS, max_size=6).map(lambda objects: ("\n\n".join(objects) + "\n\n").encode())


@settings(max_examples=500, deadline=None)
@given(TEXTS, st.booleans())
@example(GARBAGE.read_bytes() + b"\n", False)
@example(GARBAGE.read_bytes() + b"\n", True)
@example(b"\n\n", False)
@example(b"", False)
def test_fast_equals_exact(data: bytes, bogons: bool) -> None:
    assert by_fast_reader(data, bogons)[0] == by_exact_reader(data, bogons)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_without_an_error(noise: bytes) -> None:
    data = b"route: 8.8.8.0/24\norigin: AS15169\nsource: RADB\n\n" + noise + b"\n\n"
    assert by_fast_reader(data, False)[0] == by_exact_reader(data, False)


@pytest.mark.parametrize("prefix", ["8.8.8.0/24", "100.20.3.128/25", "2001:470::/32", "2620:0:2d0:200::/64"])
def test_an_ordinary_route_is_read_by_columns(prefix: str) -> None:
    name = "route6" if ":" in prefix else "route"
    text = f"{name}:          {prefix}\ndescr:  x\n        more # x\norigin:  AS15169\nmnt-by:  M\n"
    data = (text + "changed: a@b.c 20010101\nsource:  RADB\nlast-modified: 2023-11-13T15:41:43Z\n\n").encode()
    found, plain = by_fast_reader(data, False)
    assert plain == 1
    assert found == by_exact_reader(data, False)


# One oddity at a time in an otherwise plain route: random texts seldom have everything else right.
PLAIN = {
    "route:": "8.8.8.0/24",
    "descr:": "x",
    "origin:": "AS15169",
    "changed:": "a@b.c 20010101",
    "source:": "RADB",
    "last-modified:": "2023-11-13T15:41:43Z",
}
# fmt: off
ODD = {
    "route:": [
        "8.8.08.0/24", "8.8.010.0/24", "008.8.8.0/24", "8.8.256.0/24", "8.8.8.5/24", "8.8.8.0/024", "8.8.8.0/04",
        "8.8.8.0/33", "8.8.8.0/0", "8.0.0.0/7", "8.8.8.0", "8.8.8.0/", "8.8.8/24", "8.8.8.8.0/24", "8.8.8.0/24/24",
        "8.8..0/24", "8.8.8.0/24 ", "8.8.8.0/24 # x", "8.8.8.0/24x", "8.8.8.0 /24", "10.8.8.0/24", "203.0.113.0/24",
        "203.0.113.8/29", "203.0.112.0/23", "224.0.0.0/8", "2001:470::/32", "8.8.8.0/24\n+", "8.8.8.0\n /24",
        "1111.8.8.0/24", "8.8.8.0/1000", "+8.8.8.0/24", "8.8.8.0/+24", "8 .8.8.0/24", "",
    ],
    "descr:": [
        "8.8.8.0/24", "origin: AS1", "x\norigin: AS1", "x\nsource: RIPE", "x\n\torigin: AS1", "x\nroute: 9.9.9.0/24",
    ],
    "origin:": [
        "as15169", "As15169", "15169", "AS4.603", "AS15169 ", "AS15169\t", "AS15169 # x", "AS15169#x", "AS", "ASX",
        "AS1x", "AS1 AS2", "AS4294967294", "AS4294967296", "AS12345678901", "AS0000015169", "AS64500", "AS0", "AS23456",
        "AS15169\n 7", "AS15169\n+", "AS15169\n+ # x", "AS15169\n% x\n 7", "AS15169\n# x\n 7", "AS15169\n%",
        "\n AS15169", "BS15169", "A15169", "", " " * 60 + "AS15169",
    ],
    "changed:": [
        "20010101", "ab 20010101", "b20010101", "a@b 20010101 ", "a@b 20010101 # 20020202", "a@b#c 20010101",
        "a@b 2001010", "a@b 2001-01-01", "a@b 20010101\nchanged: a@b 20030303\nchanged: a@b 19990909",
        "\f20010101", "a@b 20010101\f",
        "a@b 20010101\n 20050505", "a@b 20010101\n# x\n 20050505", "", "# 20010101", " " * 60 + "20010101",
    ],
    "source:": [
        "radb", "RADB # Filtered", "RADB#Filtered", "RADB ", "RA DB", "-RADB", "X" * 16, "X" * 17, "X" * 32, "X" * 33,
        "", "RADB\n 2", "RADB\nsource: RIPE", "RADB,RIPE", "RAD\x00", "NIC.BR", "RIPE-NONAUTH", "é",
    ],
    "last-modified:": [
        "2023-11-13", "2023-11-13 # x", "2023-11-1", "20231113", "x2023-11-13", "2023/11/13", "2023-11-13T\n 1", "",
        "2023-11-13\nlast-modified: 2024-01-01", "2023-11-13\nlast-modified: 2022-01-01", "2a23-11-13",
    ],
}
# fmt: on


AUT_NUM = {
    "aut-num:": "AS15169",
    "as-name:": "X",
    "import:": "from AS1 accept ANY",
    "country:": "JP",
    "source:": "RADB",
}
# fmt: off
ODD_AUT_NUM = {
    "aut-num:": ["as15169", "15169", "AS4.603", "AS", "AS4294967296", "AS0", "AS64500", "AS1 # x", "AS1\n+", ""],
    "import:": ["x\nmember-of: AS-X", "x\ncountry: DE", "x\n country: DE", "x\nsource: RIPE", "x\nmember-of:"],
    "country:": [
        "jp", "Jp", "JP\ncountry: DE", "JP\ncountry: JP", "EU", "ZZ", "UK", "AQ", "JPN", "J", "", "JP # x", "JP\n DE",
        "J\0", "JP ", "JP\t", "\nDE", "JP\n# x\n DE",
    ],
    "source:": ["ripe", "RADB # x", "", "RADB\nsource: RIPE", "X" * 17],
}
# fmt: on


@pytest.mark.parametrize(("name", "odd"), [(name, odd) for name, values in ODD_AUT_NUM.items() for odd in values])
def test_one_oddity_at_a_time_of_an_aut_num(name: str, odd: str) -> None:
    for fields in (AUT_NUM | {name: odd}, {each: AUT_NUM[each] for each in AUT_NUM if each != name}):
        text = "\n".join(f"{each:<16}{value}" for each, value in fields.items())
        data = (text + "\n\n").encode() * 2
        assert by_fast_reader(data, False)[0] == by_exact_reader(data, False)


def test_an_ordinary_aut_num_is_read_by_columns_and_a_member_of_a_set_is_not() -> None:
    text = "\n".join(f"{name:<16}{value}" for name, value in AUT_NUM.items())
    assert by_fast_reader(f"{text}\n\n".encode(), False)[1] == 1
    assert by_fast_reader(f"{text}\nMember-Of: AS-X\n\n".encode(), False)[1] == 0
    route = "route:     8.8.8.0/24\norigin: AS1\nsource: RADB\n"
    assert by_fast_reader(f"{route}\n".encode(), False)[1] == 1
    assert by_fast_reader(f"{route}member-of: RS-X\n\n".encode(), False)[1] == 0


@pytest.mark.parametrize("bogons", [False, True])
@pytest.mark.parametrize(("name", "odd"), [(name, odd) for name, values in ODD.items() for odd in values])
def test_one_oddity_at_a_time(name: str, odd: str, bogons: bool) -> None:
    for fields in (PLAIN | {name: odd}, {each: PLAIN[each] for each in PLAIN if each != name}):
        text = "\n".join(f"{each:<16}{value}" for each, value in fields.items())
        data = (text + "\n\n").encode() * 2
        assert by_fast_reader(data, bogons)[0] == by_exact_reader(data, bogons)


@pytest.mark.parametrize("prefix", [
    "2001:470::/32", "2001:0470::/32", "2001:470::/16", "2001:470::/15", "2001:470:1:2::/64", "2001:470:1:2::/65",
    "2001:470:1:2:3::/80", "2001:470:1::/032", "2001:470::/3x", "2001:470::1/32", "2001:470:0:0:0:0:0:0/32",
    "2001:db8::/32", "2001:DB9::/32", "2001::470/128", "::/16", "fd00::/16", "2001:12345::/32", "2001:+1::/32",
    "2001:1_1::/32",
    "8.8.8.0/24", "2001:470::/32 # x", "2001:470::/32 ", "3fff::/20", "3fff:1000::/20", "",
])  # fmt: skip
def test_one_oddity_at_a_time_of_ipv6(prefix: str) -> None:
    data = f"route6: {prefix}\norigin: AS15169\nsource: RADB\n\n".encode()
    for bogons in (False, True):
        assert by_fast_reader(data, bogons)[0] == by_exact_reader(data, bogons)
