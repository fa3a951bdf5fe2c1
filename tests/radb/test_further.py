"""Geofeeds, VRPs and AS relationships as they are published, and as garbage."""

from __future__ import annotations

import bz2
import gzip
import itertools
import json
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornet.model.errors import InputError, LimitError, MirrornetError
from mirrornet.model.links import Links
from mirrornet.model.place import Evidence
from mirrornet.model.table import Mark, WorldTable
from mirrornet.radb.facts import Block, Mend, Reason, Vrp
from mirrornet.radb.fetch import Limits
from mirrornet.radb.importer import import_radb
from mirrornet.radb.reading import further
from mirrornet.radb.reading.geofeed import feed
from mirrornet.radb.reading.relations import links
from mirrornet.radb.reading.vrps import NoVrps, entries
from mirrornet.radb.report import ImportReport

DUMP = b"""\
route: 8.8.0.0/16
origin: AS15169
source: RADB

route: 9.9.0.0/16
origin: AS42
source: RADB

inetnum: 8.8.8.0 - 8.8.8.127
country: CA
source: ARIN

# EOF
"""
FEED = b"""\
\xef\xbb\xbf# our egress
8.8.8.0/24,US,US-CA,"Mountain View, CA",94043
8.8.9.1,de,,,
 8.8.10.0/24 , Germany ,,, # by name
8.8.11.0/24,GB
2001:4860:4860::8888/128,NL,,Amsterdam,
8.8.8.0/24,FR,,,
9.9.9.0/24,,,,
9.9.8.7/24,JP,,,
"""
BAD_LINES = [
    (b"ip_prefix,alpha2code,region,city,postal", Reason.BAD_ADDRESS),
    (b"8.8.8.0/24", Reason.BAD_FEED_LINE),
    (b"8.8.8.0/33,US,,,", Reason.BAD_LENGTH),
    (b"8.8.8.0/x,US,,,", Reason.BAD_LENGTH),
    (b"8.8.8.0/,US,,,", Reason.BAD_LENGTH),
    (b"8.8.8/24,US,,,", Reason.BAD_ADDRESS),
    (b"fe80::1%eth0,US,,,", Reason.BAD_ADDRESS),
    (b"8.0.0.0/7,US,,,", Reason.TOO_SHORT),
    (b"0.0.0.0/0,US,,,", Reason.TOO_SHORT),
    (b"::/0,US,,,", Reason.TOO_SHORT),
    (b"192.168.1.0/24,US,,,", Reason.BOGON),
    (b"8.8.8.0/24,EU,,,", Reason.BAD_COUNTRY),
    (b"8.8.8.0/24,ZZ,,,", Reason.BAD_COUNTRY),
    (b"8.8.8.0/24,Atlantis,,,", Reason.BAD_COUNTRY),
    (b"8.8.8.0/24,,US-CA,,", Reason.BAD_COUNTRY),
    (b"\xff\xfe\x00", Reason.BAD_FEED_LINE),
]
ROAS = {
    "metadata": {"generated": 1, "roas": 4},
    "roas": [
        {"asn": "AS15169", "prefix": "8.8.8.0/24", "maxLength": 24, "ta": "arin"},
        {"asn": 42, "prefix": "9.9.0.0/16", "maxLength": 20, "ta": "ripe", "expires": 1704067200},
        {"asn": "as43", "prefix": "2001:db8::/32", "source": [{"type": "roa", "uri": "rsync://x/{y}.roa"}]},
        {"asn": 0, "prefix": "9.9.9.0/24", "maxLength": None},
    ],
    "aspas": [{"customer_asid": 1, "providers": [2]}],
}
BAD_ROAS = [
    {"asn": "x", "prefix": "8.8.8.0/24", "maxLength": 24},
    {"asn": -1, "prefix": "8.8.8.0/24", "maxLength": 24},
    {"asn": True, "prefix": "8.8.8.0/24", "maxLength": 24},
    {"asn": 1 << 32, "prefix": "8.8.8.0/24", "maxLength": 24},
    {"asn": 1, "prefix": "8.8.8.1/24", "maxLength": 24},
    {"asn": 1, "prefix": "8.8.8.0/24", "maxLength": 23},
    {"asn": 1, "prefix": "8.8.8.0/24", "maxLength": 33},
    {"asn": 1, "prefix": "8.8.8.0/24", "maxLength": "24"},
    {"asn": 1, "prefix": "8.8.8.0", "maxLength": 24},
    {"asn": 1, "prefix": "8.8.8/24"},
    {"asn": 1, "prefix": 8},
    {"asn": 1},
    {},
    [],
    7,
    "x",
    None,
]


def said(lines: bytes, bogons: bool = False) -> list[Block | Reason]:
    return [line.said for line in feed([lines], bogons)]


def test_a_geofeed_as_published() -> None:
    found = said(FEED)
    assert all(isinstance(one, Block) for one in found)
    rows = [(one.family, hex(one.first), hex(one.last), one.country) for one in found if isinstance(one, Block)]
    assert rows == [
        (4, "0x8080800", "0x80808ff", "US"),
        (4, "0x8080901", "0x8080901", "DE"),
        (4, "0x8080a00", "0x8080aff", "DE"),
        (4, "0x8080b00", "0x8080bff", "GB"),
        (6, "0x2001486048600000", "0x2001486048600000", "NL"),
        (4, "0x8080800", "0x80808ff", "FR"),
        (4, "0x9090900", "0x90909ff", ""),
        (4, "0x9090800", "0x90908ff", "JP"),
    ]
    assert isinstance(found[2], Block) and found[2].mends == (Mend.COUNTRY_NAME,)
    assert isinstance(found[7], Block) and found[7].mends == (Mend.HOST_BITS,)
    assert said(b"UK is no prefix\r\n8.8.8.0/24,UK\r\n")[1] == Block(4, 0x08080800, 0x080808FF, "GB", None, "", ())


@pytest.mark.parametrize(("line", "reason"), BAD_LINES, ids=[repr(line) for line, _ in BAD_LINES])
def test_a_bad_geofeed_line_is_that_line(line: bytes, reason: Reason) -> None:
    assert said(line + b"\n8.8.8.0/24,US,,,\n") == [reason, Block(4, 0x08080800, 0x080808FF, "US", None, "", ())]


def test_reserved_space_in_a_geofeed_when_asked() -> None:
    assert said(b"192.168.1.0/24,US,,,\n", bogons=True) == [Block(4, 0xC0A80100, 0xC0A801FF, "US", None, "", ())]


@given(st.binary(max_size=300))
def test_no_bytes_break_a_line_reader(data: bytes) -> None:
    assert all(isinstance(line.said, Block | Reason) for line in feed([data]))
    assert all(isinstance(link.said, tuple | Reason) for link in links([data]))


@given(st.integers(1, 50))
def test_vrps_in_any_portions(size: int) -> None:
    for indent in (None, 1):
        text = json.dumps(ROAS, indent=indent).encode() + b"\n"
        found = list(entries(text[i : i + size] for i in range(0, len(text), size)))
        assert [entry.said for entry in found] == [
            Vrp(4, 0x08080800, 24, 24, 15169),
            Vrp(4, 0x09090000, 16, 20, 42),
            Vrp(6, 0x20010DB800000000, 32, 32, 43),
            Vrp(4, 0x09090900, 24, 24, 0),
        ]
        for entry in found if indent else []:
            assert text.split(b"\n")[entry.line - 1].strip().startswith(b"{")


def test_bad_vrps_are_counted_and_the_rest_stands() -> None:
    text = json.dumps({"roas": [*BAD_ROAS, *ROAS["roas"]]}).encode()  # type: ignore[misc]
    found = [entry.said for entry in entries([text])]
    assert found[: len(BAD_ROAS)] == [Reason.BAD_VRP] * len(BAD_ROAS)
    assert len(found) == len(BAD_ROAS) + 4 and isinstance(found[-1], Vrp)
    long = b'{"roas": [{"asn": 1, "prefix": "2400::/80"}, {"asn": 1, "prefix": "0.0.0.0/0", "maxLength": 32}]}'
    assert [entry.said for entry in entries([long])] == [None, Reason.TOO_SHORT]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"{}", 'no list "roas"'),
        (b'{"roas": 3}', 'no list "roas"'),
        (b'{"roas": [{"asn": 1, ', "ends in the middle"),
        (b'{"roas": [{"asn": 1}', "ends in the middle"),
        (b'{"roas": [{"asn": 1}, %%%]}', "its JSON is broken"),
        (b'{"roas": []', "before its JSON does"),
        (b'{"roas": [' + b"[" * 100_000, "no JSON"),
        (b'{"roas": [' + b"9" * 100_000, "no JSON|ends in the middle"),
        (b'{"roas": ["' + b"x" * 100_000, "no JSON"),
    ],
)
def test_text_that_is_no_export(text: bytes, told: str) -> None:
    with pytest.raises(NoVrps, match=told):
        list(entries([text]))


def test_a_list_without_end_takes_no_memory() -> None:
    def stream() -> Iterator[bytes]:
        yield b'{"roas": [{"asn": 1, "x": "'
        for number in itertools.count():
            assert number < 10, "it goes on reading one entry"
            yield b"x" * 100_000

    with pytest.raises(NoVrps, match="no JSON"):
        list(entries(stream()))


def test_as_relationships_of_both_serials() -> None:
    text = b"# source:topology|...\n1|2|-1\n3|2|0\r\n3|4|-1|bgp\n"
    assert [link.said for link in links([text])] == [(1, 2, -1), (3, 2, 0), (3, 4, -1)]
    for bad in (b"1|2", b"1|2|1", b"1|1|0", b"a|2|0", b"1|2|0|x|y", b"-1|2|0", b"4294967296|2|0"):
        assert [link.said for link in links([bad])] == [Reason.BAD_LINK], bad
    assert [link.said for link in links([b"23456|2|0\n64512|2|-1"])] == [Reason.BOGON_ORIGIN] * 2
    assert [link.said for link in links([b"64512|2|-1"], bogons=True)] == [(64512, 2, -1)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in (
        ("radb.db", DUMP),
        ("feed.csv", FEED),
        ("feed.csv.gz", gzip.compress(FEED)),
        ("roas.json", json.dumps(ROAS).encode()),
        ("rel.bz2", bz2.compress(b"1|2|-1\n3|2|0\nbad\n")),
        ("anycast", b"8.8.8.0/24\n9.9.9.9/32\n"),
    ):
        (tmp_path / name).write_bytes(data)
    return tmp_path


def imported(folder: Path, **options: object) -> tuple[WorldTable, ImportReport]:
    out = folder / "world.table"
    report = import_radb([str(folder / "radb.db")], out, now=1.0, force=True, **options)  # type: ignore[arg-type]
    return WorldTable(out.read_bytes()), report


def test_a_geofeed_comes_before_registries_and_anycast(folder: Path) -> None:
    table, report = imported(folder, geofeeds=[str(folder / "feed.csv.gz")], anycast=folder / "anycast")
    egress = table.match(ip_address("8.8.8.8")).place
    assert (egress.country, egress.country_from, egress.anycast) == ("US", Evidence.GEOFEED, False)
    assert egress.coordinates_from == Evidence.CENTROID and egress.known  # not the smaller inetnum's CA; the first said
    hidden = table.match(ip_address("9.9.9.9")).place
    assert (hidden.country, hidden.anycast) == ("", True)  # the anycast prefix is the smaller one
    assert (table.match(ip_address("9.9.9.8")).place.country, table.match(ip_address("9.9.8.8")).place.country) == (
        "",
        "JP",
    )
    assert table.match(ip_address("2001:4860:4860::1")).place.country == "NL"
    assert report.objects["geofeed"] == {"line": 8}
    without, _ = imported(folder, anycast=folder / "anycast")
    assert without.match(ip_address("8.8.8.8")).place.anycast


def test_vrps_and_relations_enter_the_table(folder: Path) -> None:
    with (folder / "radb.db").open("ab") as file:
        file.write(b"\nroute: 8.8.8.0/24\norigin: AS666\nsource: RADB\n\n# EOF\n")
    table, report = imported(folder, vrps=str(folder / "roas.json"), relations=str(folder / "rel.bz2"))
    stand_in = table.match(ip_address("8.8.8.8"))
    assert (stand_in.place.asn, stand_in.source, stand_in.marks) == (15169, "RPKI", Mark.RPKI_VALID)
    assert table.match(ip_address("8.8.9.9")).marks == Mark(0)
    assert table.match(ip_address("9.9.9.9")).marks == Mark.RPKI_VALID  # the AS0 VRP is for the /24, the route is a /16
    assert (report.rpki_valid, report.rpki_invalid, report.rpki_stand_ins) == (1, 1, 1)
    assert report.rpki_samples == ["8.8.8.0/24 AS666 (RADB)"]
    assert "RPKI: 1 routes valid, 1 invalid and dropped, such as 8.8.8.0/24 AS666 (RADB)" in "\n".join(report.summary())
    found = Links.read(table.section("links"))
    assert found is not None and list(zip(found.a, found.b, found.kind, strict=True)) == [(1, 2, -1), (2, 3, 0)]
    assert report.rejected[Reason.BAD_LINK].count == 1
    json.dumps(report.as_dict())


WRONG = {
    "empty": b"",
    "page": b"<!DOCTYPE html><html>404</html>",
    "binary": bytes(range(256)) * 50,
    "words": b"this is nothing of the sort\n",
    "cut.gz": gzip.compress(FEED * 100)[:-30],
    "cut.bz2": bz2.compress(FEED * 100)[:-30],
    "damaged.bz2": bz2.compress(FEED * 100)[:60] + bytes(40),
    "bomb.gz": gzip.compress(bytes(8 << 20)),
    "bomb.bz2": bz2.compress(b"x" * (8 << 20)),
}


@pytest.mark.parametrize("option", ["vrps", "geofeeds", "relations", "mmdbs"])
@pytest.mark.parametrize("name", WRONG)
def test_wrong_files_are_one_clear_error_and_the_old_table_stands(name: str, option: str, folder: Path) -> None:
    table, _ = imported(folder)
    bad = folder / name
    bad.write_bytes(WRONG[name])
    before = sorted(path.name for path in folder.iterdir())
    value = [str(bad)] if option in ("geofeeds", "mmdbs") else str(bad)
    with pytest.raises(MirrornetError) as caught:
        imported(folder, limits=Limits(unpacked=4 << 20), **{option: value})
    assert str(bad) in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert isinstance(caught.value, InputError | LimitError)
    assert WorldTable((folder / "world.table").read_bytes()).checksum == table.checksum
    assert sorted(path.name for path in folder.iterdir()) == before


def test_files_of_too_many_entries_are_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in ("FEED_LIMIT", "VRP_LIMIT", "LINK_LIMIT"):
        monkeypatch.setattr(further, limit, 2)
    for option in ({"geofeeds": [str(folder / "feed.csv")]}, {"vrps": str(folder / "roas.json")}):
        with pytest.raises(LimitError, match="more than 2 entries"):
            imported(folder, **option)
    with pytest.raises(LimitError, match=r"rel\.bz2: more than 2 entries"):
        imported(folder, relations=str(folder / "rel.bz2"))
