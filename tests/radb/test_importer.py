"""Files in, a table on disk out; and whatever goes wrong, the old table stands."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from ipaddress import ip_address
from pathlib import Path

import pytest

from mirrornet.model.errors import InputError, LimitError, MirrornetError
from mirrornet.model.place import Evidence
from mirrornet.model.table import WorldTable
from mirrornet.radb.fetch import Limits
from mirrornet.radb.importer import import_radb
from mirrornet.radb.report import ImportReport

GARBAGE = Path(__file__).parents[1] / "vectors" / "rpsl" / "garbage.db"
NOW = 1_790_000_000.0
DUMP = b"""\
route:          202.232.0.0/16
origin:         AS2497
source:         RADB

route:          202.232.2.0/24
origin:         AS2497
source:         RADB

route6:         2001:240::/32
origin:         AS2497
source:         RADB

aut-num:        AS2497
as-name:        IIJ
country:        JP
source:         JPIRR

# EOF
"""
STATISTICS = b"""\
2|apnic|20260617|3|19830613|20260616|+1000
apnic|*|ipv4|*|1|summary
apnic|JP|ipv4|202.232.0.0|768|20110414|allocated
apnic|CN|ipv4|202.232.3.0|256|20110414|allocated
apnic|AU|ipv4|1.0.0.0|768|20110414|allocated
apnic|PW|ipv4|202.124.224.0|256|20110414|allocated
apnic|AU|asn|2500|1|20110414|allocated
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str, bytes], str]:
    def to(name: str, data: bytes) -> str:
        (tmp_path / name).write_bytes(data)
        return str(tmp_path / name)

    return to


def table_at(path: Path) -> WorldTable:
    return WorldTable(path.read_bytes(), str(path))


def test_routes_and_statistics_make_a_table(write: Callable[[str, bytes], str], tmp_path: Path) -> None:
    out = tmp_path / "world.table"
    seen: list[str] = []
    report = import_radb(
        [write("radb.db.gz", gzip.compress(DUMP))],
        out,
        delegated=[write("apnic", STATISTICS)],
        now=NOW,
        progress=lambda what, done, total: seen.append(what),
    )
    table = table_at(out)
    assert table.created == NOW
    near = table.match(ip_address("202.232.2.1"))
    assert (near.place.asn, near.place.country, near.place.country_from) == (2497, "JP", Evidence.DELEGATED)
    assert (str(near.prefix), near.source) == ("202.232.2.0/24", "RADB")
    assert near.place.latitude == pytest.approx(36, abs=2)
    assert table.match(ip_address("202.232.3.1")).place.country == "CN"
    far = table.match(ip_address("202.232.200.1"))
    assert (far.place.country, far.place.country_from) == ("JP", Evidence.AUT_NUM)
    unrouted = table.match(ip_address("1.0.1.1"))
    assert (unrouted.place.asn, unrouted.place.country, unrouted.prefix) == (0, "AU", None)
    assert table.match(ip_address("2001:240::1")).place.country == "JP"
    assert not table.match(ip_address("9.9.9.9")).place.known
    palau = table.match(ip_address("202.124.224.1")).place
    assert (palau.country, palau.known) == ("PW", False)  # a country whose middle we do not know
    assert report.objects["RADB"] == {"route": 2, "route6": 1}
    assert report.objects["JPIRR"] == {"aut-num": 1}
    assert report.objects["delegated"] == {"ipv4": 4, "asn": 1}
    assert report.routes == {"4": 2, "6": 1}
    assert report.ranges == {"4": len(table.ranges[4].starts), "6": len(table.ranges[6].starts)}
    assert report.warnings == []
    assert seen[-2:] == ["compiling", "writing"]
    assert report.bytes_written == out.stat().st_size


def test_the_garbage_is_accounted_for(tmp_path: Path) -> None:
    report = import_radb([str(GARBAGE)], tmp_path / "world.table", now=NOW)
    assert report.object_count == 17
    assert sum(rejects.count for rejects in report.rejected.values()) == 7
    samples = {(sample.line, sample.text) for rejects in report.rejected.values() for sample in rejects.samples}
    assert (76, "route: 192.0.2.0/xx") in samples
    assert (45, "*xxte: 198.51.100.0/24") in samples
    lines = GARBAGE.read_bytes().split(b"\n")
    for line, text in samples:
        assert " ".join(lines[line - 1].decode().split()) == text
    assert json.loads(json.dumps(report.as_dict()))["routes"] == {"4": 7, "6": 1}


def test_conflicts_are_counted_and_the_better_source_wins(tmp_path: Path) -> None:
    out = tmp_path / "world.table"
    report = import_radb([str(GARBAGE)], out, now=NOW, bogons=True)
    match = table_at(out).match(ip_address("198.51.100.1"))
    assert (match.place.asn, match.source) == (64504, "RIPE")
    assert report.conflicts == 1
    assert report.conflict_samples == ["198.51.100.0/24: AS64504 (RIPE) before AS64503 (RADB)"]
    test_net = table_at(out).match(ip_address("192.0.2.1"))
    assert (test_net.place.country, test_net.place.coordinates_from) == ("JP", Evidence.INETNUM)
    assert test_net.place.latitude == pytest.approx(35.68)


def test_an_anycast_list_marks_places(write: Callable[[str, bytes], str], tmp_path: Path) -> None:
    out = tmp_path / "world.table"
    anycast = Path(write("anycast", b"# resolvers\n202.232.2.0/24  # ours\n\n9.9.9.9/32\n"))
    import_radb([write("radb.db", DUMP)], out, anycast=anycast, now=NOW)
    table = table_at(out)
    assert table.match(ip_address("202.232.2.1")).place.anycast
    assert not table.match(ip_address("202.232.1.1")).place.anycast
    quad = table.match(ip_address("9.9.9.9"))
    assert (quad.place.anycast, str(quad.prefix)) == (True, "9.9.9.9/32")
    Path(anycast).write_text("1.1.1.0/24\n1.1.1.1/24\n")
    with pytest.raises(InputError, match=r"anycast:2: '1\.1\.1\.1/24' is not a prefix"):
        import_radb([write("radb.db", DUMP)], out, anycast=anycast, now=NOW)


def test_a_missing_end_mark_is_a_warning(write: Callable[[str, bytes], str], tmp_path: Path) -> None:
    name = write("radb.db", DUMP.replace(b"# EOF\n", b""))
    report = import_radb([name], tmp_path / "world.table", now=NOW)
    assert report.warnings == [f'{name}: no "# EOF" at its end, so it may be cut short']


ZEROS = gzip.compress(bytes(64 << 20))
BAD = [
    ("cut.gz", gzip.compress(DUMP)[:-20], "cut short"),
    ("cut-early.gz", gzip.compress(DUMP)[:4], "cut short"),
    ("damaged.gz", gzip.compress(DUMP)[:-8] + b"\0\0\0\0\0\0\0\0", "damaged"),
    ("error.html", b"<!DOCTYPE html>\n<title>404</title>", "web page"),
    ("bom.html", b"\xef\xbb\xbf\n <html>", "web page"),
    ("empty", b"", "is empty"),
    ("empty.gz", gzip.compress(b""), "is empty"),
    ("binary", bytes(range(256)) * 100, "not RPSL"),
    ("words", b"this is not a dump\nat all\n", "not RPSL"),
    ("statistics", STATISTICS, "--delegated"),
    ("zeros.gz", ZEROS, "not RPSL"),
    ("bomb.gz", gzip.compress(DUMP) + ZEROS, "unpacks to more than"),
    ("comments", b"% only comments: none\n# route: none\n", "not RPSL"),
    ("poems", b"poem: POEM-X\nsource: RIPE\n\n# EOF\n", "no usable route"),
]


@pytest.mark.parametrize(("name", "data", "what"), BAD, ids=[name for name, _, _ in BAD])
def test_bad_files_are_one_clear_error_and_the_old_table_stands(
    name: str, data: bytes, what: str, write: Callable[[str, bytes], str], tmp_path: Path
) -> None:
    out = tmp_path / "world.table"
    out.write_bytes(b"old")
    bad = write(name, data)
    with pytest.raises(MirrornetError, match=what) as caught:
        import_radb([bad], out, now=NOW, limits=Limits(unpacked=32 << 20), force=True)
    assert bad in str(caught.value)
    assert "\n" not in str(caught.value)
    assert out.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({"world.table", name})


def test_bad_statistics_are_one_clear_error(write: Callable[[str, bytes], str], tmp_path: Path) -> None:
    for data in (DUMP, b"<html>", b"", b"1,2,3\n"):
        with pytest.raises(InputError, match="statistics"):
            bad = write("statistics", data)
            import_radb([write("radb.db", DUMP)], tmp_path / "world.table", delegated=[bad], now=NOW)
    assert not (tmp_path / "world.table").exists()


def test_a_damaged_end_after_good_objects_leaves_the_old_table(
    write: Callable[[str, bytes], str], tmp_path: Path
) -> None:
    out = tmp_path / "world.table"
    good = write("good.db", DUMP)
    import_radb([good], out, now=NOW)
    before = out.read_bytes()
    with pytest.raises(InputError, match=r"second\.gz"):
        import_radb([good, write("second.gz", gzip.compress(DUMP * 1000)[:-1000])], out, now=NOW, force=True)
    assert out.read_bytes() == before


@pytest.mark.parametrize("name", ["/does/not/exist.db", "/", "gopher://example.net/x"])
def test_what_cannot_be_opened_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"/does/not/exist\.db|/: cannot|gopher"):
        import_radb([name], tmp_path / "world.table", now=NOW)


def test_a_place_where_no_table_can_be_is_told_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no regular file"):
        import_radb(["/does/not/exist.db"], tmp_path, now=NOW)
    with pytest.raises(InputError, match="there is no folder"):
        import_radb(["/does/not/exist.db"], tmp_path / "nowhere" / "world.table", now=NOW)


def many(count: int) -> bytes:
    return b"".join(
        b"route: 8.%d.%d.0/24\norigin: AS%d\nsource: RADB\n\n" % (i >> 8, i & 255, 1 + i % 60000) for i in range(count)
    )


def test_a_table_that_shrank_is_refused_unless_forced(write: Callable[[str, bytes], str], tmp_path: Path) -> None:
    out = tmp_path / "world.table"
    import_radb([write("a", many(1000))], out, now=NOW)
    before = out.read_bytes()
    import_radb([write("b", many(710))], out, now=NOW)
    out.write_bytes(before)
    with pytest.raises(LimitError, match=r"690 IPv4 ranges|--force") as caught:
        import_radb([write("c", many(680))], out, now=NOW)
    assert caught.value.exit_code == 3
    assert out.read_bytes() == before
    report: ImportReport = import_radb([write("c", many(680))], out, now=NOW, force=True)
    assert report.routes["4"] == 680
    assert len(table_at(out).ranges[4].starts) < 700


def test_a_damaged_old_table_is_replaced_with_a_warning(write: Callable[[str, bytes], str], tmp_path: Path) -> None:
    out = tmp_path / "world.table"
    out.write_bytes(b"MNWORLD1 and then nothing")
    report = import_radb([write("radb.db", DUMP)], out, now=NOW)
    assert any("could not be compared" in warning for warning in report.warnings)
    assert table_at(out).place_count > 1


def test_dumps_in_any_portions_and_line_ends(write: Callable[[str, bytes], str], tmp_path: Path) -> None:
    one, two = tmp_path / "one.table", tmp_path / "two.table"
    import_radb([write("unix.db", DUMP)], one, now=NOW)
    members = gzip.compress(DUMP[:60]) + gzip.compress(DUMP[60:].replace(b"\n", b"\r\n")) + bytes(512)
    import_radb([write("dos.db.gz", members)], two, now=NOW)
    assert one.read_bytes() == two.read_bytes()
