"""Geolocation databases: sound ones of several makers, damaged ones; the tree walk against the library's look-up."""

from __future__ import annotations

import random
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import Any

import maxminddb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from mirrornet.model.address import key
from mirrornet.model.errors import InputError, MirrornetError
from mirrornet.model.place import Evidence
from mirrornet.model.table import WorldTable
from mirrornet.radb.importer import import_radb
from mirrornet.radb.reading.mmdb import RADIUS_KM, DamagedTree, children, interpret, read_mmdb, walk
from mirrornet.radb.records import Records

DUMP = """\
route: 8.8.0.0/16
origin: AS15169
source: RADB

inetnum: 8.8.8.0 - 8.8.8.255
country: CA
source: ARIN

# EOF
"""
PARIS = {"country": {"iso_code": "FR"}, "location": {"latitude": 48.85, "longitude": 2.35, "accuracy_radius": 20}}
TOKYO = {"country": {"iso_code": "JP"}, "location": {"latitude": 35.68, "longitude": 139.69}}
Networks = dict[str, dict[str, Any]]


def write(path: Path, networks: Networks, version: int = 6, kind: str = "Test-City") -> Path:
    writer = MMDBWriter(ip_version=version, ipv4_compatible=version == 6, database_type=kind)
    for network, record in networks.items():
        writer.insert_network(IPSet([network]), record)
    writer.to_db_file(str(path))
    return path


def blocks_of(records: Records) -> dict[tuple[int, int, int], tuple[str, Any]]:
    found = {}
    for family in (4, 6):
        blocks = records.blocks(family)  # type: ignore[arg-type]
        for first, last, country, spot in zip(
            blocks.firsts.tolist(),
            blocks.lasts.tolist(),
            blocks.countries.tolist(),
            blocks.coordinates.tolist(),
            strict=True,
        ):
            found[family, first, last] = records.geography.countries[country], records.geography.coordinates[spot]
    return found


@pytest.mark.parametrize("version", [4, 6])
def test_networks_countries_points_and_radii(tmp_path: Path, version: int) -> None:
    networks: Networks = {"8.8.8.0/24": PARIS, "9.0.0.0/8": TOKYO, "10.0.0.0/8": PARIS}
    if version == 6:
        networks |= {"2001:4860::/32": TOKYO, "2400::1234:0/112": PARIS, "fd00::/8": PARIS}
    path = write(tmp_path / "city.mmdb", networks, version)
    records = Records()
    paris = ("FR", (48.85, 2.35, 20, Evidence.MMDB))
    tokyo = ("JP", (35.68, 139.69, RADIUS_KM, Evidence.MMDB))
    expected: dict[tuple[int, int, int], object] = {
        (4, 0x08080800, 0x080808FF): paris,
        (4, 0x09000000, 0x09FFFFFF): tokyo,
    }
    if version == 6:
        expected[6, 0x20014860 << 32, (0x20014860 << 32) + 0xFFFFFFFF] = tokyo
        expected[6, 0x2400 << 48, 0x2400 << 48] = paris  # known below /64 only
    assert read_mmdb(path, records) == len(expected)
    assert blocks_of(records) == expected
    laboratory = Records()
    assert read_mmdb(path, laboratory, bogons=True) == len(expected) + 1  # fd00::/8 is not below 2000::/3
    assert (4, 0x0A000000, 0x0AFFFFFF) in blocks_of(laboratory)


PREFIXES = st.lists(
    st.tuples(st.sampled_from([4, 6]), st.integers(0, (1 << 64) - 1), st.integers(4, 64), st.integers(0, 3)),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(PREFIXES, st.integers(0, 1 << 30))
def test_the_walk_says_what_the_library_says(prefixes: list[tuple[int, int, int, int]], seed: int) -> None:
    import tempfile

    dice = random.Random(seed)
    codes = ["FR", "JP", "US", "BR"]
    networks: Networks = {}
    for family, value, length, code in prefixes:
        if family == 4:
            length = min(length, 32)
            start = value >> 32 >> (32 - length) << (32 - length)
            networks[f"{IPv4Address(start)}/{length}"] = {"country": {"iso_code": codes[code]}}
        else:
            start = (1 << 61 | value >> 3) >> (64 - length) << (64 - length)
            networks[f"{IPv6Address(start << 64)}/{length}"] = {"country": {"iso_code": codes[code]}}
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder) / "any.mmdb", networks)
        records = Records()
        read_mmdb(path, records, bogons=True)
        blocks = blocks_of(records)
        with maxminddb.open_database(path) as reader:
            edges = [end for network in networks for end in _ends(network)]
            for address in [*edges, *(IPv4Address(dice.randrange(1 << 32)) for _ in range(20))]:
                if address.version == 6 and (int(address) >> 125 != 1 or key(address)[0] == 4):
                    continue  # outside of 2000::/3, or folded into IPv4
                record = reader.get(address)
                family, value = key(address)
                said = [
                    what[0] for (kind, first, last), what in blocks.items() if kind == family and first <= value <= last
                ]
                assert said == ([record["country"]["iso_code"]] if record else [])


def _ends(network: str) -> list[IPv4Address | IPv6Address]:
    from ipaddress import ip_network

    parsed = ip_network(network)
    return [parsed[0], parsed[-1]]


@pytest.mark.parametrize(
    ("record", "country", "place"),
    [
        (PARIS, "FR", (48.85, 2.35, 20)),
        ({"country": "DE", "lat": "52.5", "lng": "13.4"}, "DE", (52.5, 13.4, RADIUS_KM)),
        ({"country_code": "NL", "latitude": 52.0, "longitude": 5.0}, "NL", (52.0, 5.0, RADIUS_KM)),
        ({"country": {"iso_code": "UK"}}, "GB", None),
        ({"country": {"iso_code": "XX"}}, "", None),
        ({"country": {"iso_code": 7}, "location": 3}, "", None),
        ({"location": {"latitude": 91.0, "longitude": 0.0}}, "", None),
        ({"location": {"latitude": float("nan"), "longitude": 1.0}}, "", None),
        ({"location": {"latitude": 0.0, "longitude": 0.0}}, "", None),
        ({"location": {"latitude": "north", "longitude": True}}, "", None),
        ({"location": {"latitude": 1, "longitude": 2, "accuracy_radius": 10**9}}, "", (1.0, 2.0, RADIUS_KM)),
        ([1, 2], "", None),
        (None, "", None),
    ],
)
def test_records_of_any_maker_and_garbage(record: object, country: str, place: object) -> None:
    code, spot = interpret(record)
    assert (code, spot[:3] if spot else None) == (country, place)


def test_a_database_in_the_table(tmp_path: Path) -> None:
    (tmp_path / "radb.db").write_text(DUMP)
    (tmp_path / "feed").write_text("8.8.9.0/24,US\n8.8.10.0/24,FR\n")
    path = write(tmp_path / "city.mmdb", {"8.8.0.0/16": PARIS})
    out = tmp_path / "table"
    report = import_radb(
        [str(tmp_path / "radb.db")], out, mmdbs=[str(path)], geofeeds=[str(tmp_path / "feed")], now=1.0
    )
    table = WorldTable(out.read_bytes())
    place = table.match(ip_address("8.8.8.8")).place  # before the smaller inetnum's CA
    assert (place.country, place.country_from, place.radius_km) == ("FR", Evidence.MMDB, 20)
    assert place.coordinates_from == Evidence.MMDB and place.latitude == pytest.approx(48.85)
    elsewhere = table.match(ip_address("8.8.9.9")).place  # the geofeed's country, so not the point in another
    assert (elsewhere.country, elsewhere.coordinates_from) == ("US", Evidence.CENTROID)
    agreed = table.match(ip_address("8.8.10.9")).place
    assert (agreed.country_from, agreed.coordinates_from) == (Evidence.GEOFEED, Evidence.MMDB)
    assert report.objects["mmdb"] == {"network": 1} and report.files[-1].bytes_read == path.stat().st_size


def test_another_kind_of_database_and_other_files(tmp_path: Path) -> None:
    asn = write(tmp_path / "asn.mmdb", {"8.0.0.0/8": {"autonomous_system_number": 3356}}, kind="Test-ASN")
    (tmp_path / "gz").write_bytes(b"\x1f\x8b\x08\x00")
    (tmp_path / "text").write_text(DUMP)
    (tmp_path / "empty").write_bytes(b"")
    for name, told in (
        ("asn.mmdb", "'Test-ASN' names no country and no place"),
        ("gz", "unpack it first"),
        ("text", "this is no geolocation database"),
        ("empty", "this is no geolocation database"),
        ("absent", "there is no such file"),
        (".", "there is no such file"),
    ):
        with pytest.raises(InputError) as caught:
            read_mmdb(tmp_path / name, Records())
        assert told in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 400
    assert asn.exists()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_database_is_an_error_or_readable_and_never_hangs(tmp_path_factory: Any, data: st.DataObject) -> None:
    path = tmp_path_factory.mktemp("mmdb") / "damaged.mmdb"
    networks: Networks = {f"{i}.{i}.0.0/16": TOKYO if i % 2 else PARIS for i in range(20, 60)}
    raw = bytearray(write(path, networks).read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    if data.draw(st.booleans()):
        raw = raw[data.draw(st.integers(0, 200)) :]
    path.write_bytes(raw)
    try:
        read_mmdb(path, Records())
    except MirrornetError as error:
        assert str(path) in str(error) and "\n" not in str(error)


@pytest.mark.parametrize("version", [4, 6])
def test_a_tree_that_leads_back_into_itself_ends(version: int) -> None:
    for tree in (
        np.zeros((1, 2), np.uint32),
        np.array([[1, 1], [0, 0]], np.uint32),
        np.array([[1, 1]] * 300, np.uint32),
    ):
        with pytest.raises(DamagedTree, match="back into itself"):
            walk(tree, 4, version)


@pytest.mark.parametrize("size", [24, 28, 32])
def test_records_of_every_size(size: int) -> None:
    pairs = [(0x0ABCDE, 0x0FEDCB), (1, 2)]
    if size == 28:
        pairs = [(0xABCDEF1, 0xFEDCBA9), (1, 2)]
    octets = b""
    for left, right in pairs:
        if size == 28:
            octets += (
                (left & 0xFFFFFF).to_bytes(3) + bytes([left >> 24 << 4 | right >> 24]) + (right & 0xFFFFFF).to_bytes(3)
            )
        else:
            octets += left.to_bytes(size // 8) + right.to_bytes(size // 8)
    found = children(np.frombuffer(octets, np.uint8), 2, size)
    assert found.tolist() == [list(pair) for pair in pairs]
    for nodes, wrong in ((3, size), (0, size), (2, 20), (1 << 31, size)):
        with pytest.raises(DamagedTree):
            children(np.frombuffer(octets, np.uint8), nodes, wrong)
