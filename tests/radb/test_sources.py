"""The operator's own ranks of sources."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest

from mirrornet.model.errors import InputError
from mirrornet.model.table import WorldTable
from mirrornet.radb.importer import import_radb
from mirrornet.radb.inputs import read_weights
from mirrornet.radb.sources import DEFAULT, NEVER, parse_weights

DUMP = """\
route: 8.8.8.0/24
origin: AS1
source: RADB

route: 8.8.8.0/24
origin: AS2
source: RIPE

route: 8.8.9.0/24
origin: AS3
source: BELL

inetnum: 8.8.8.0 - 8.8.8.255
country: CA
source: BELL

aut-num: AS1
country: CA
source: BELL

# EOF
"""


def test_what_is_not_named_keeps_its_rank() -> None:
    weights = parse_weights("# ours\n\nradb 0\nBELL never # closed\n* 9\n- 11\n", "weights")
    assert [weights.rank(name) for name in ("RADB", "BELL", "RIPE", "XYZ", "")] == [0, NEVER, 1, 9, 11]
    assert [DEFAULT.rank(name) for name in ("RADB", "BELL", "RIPE", "XYZ", "")] == [3, 6, 1, 4, 7]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("RADB\n", "w:1: 'RADB' is not a source and its rank"),
        ("\nRADB 1 2\n", "w:2: 'RADB 1 2' is not a source"),
        ("RADB 255\n", "w:1: '255' is no rank"),
        ("RADB -1\n", "'-1' is no rank"),
        ("RADB \u00b2\n", "is no rank"),
        ("RADB 1\nradb 2\n", "w:2: RADB is ranked twice"),
        ("route: 8.8.8.0/24\n", "is not a source and its rank"),
    ],
)
def test_faults_name_the_line(text: str, told: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_weights(text, "w")
    assert told in str(caught.value)


def test_an_import_goes_by_them(tmp_path: Path) -> None:
    out = tmp_path / "world.table"
    (tmp_path / "a.db").write_text(DUMP)
    (tmp_path / "ranks").write_text("RADB 0\nBELL never\n")

    def at(text: str) -> tuple[int, str, str]:
        match = WorldTable(out.read_bytes()).match(ip_address(text))
        return match.place.asn, match.place.country, match.source

    import_radb([str(tmp_path / "a.db")], out, now=1)
    assert at("8.8.8.8") == (2, "CA", "RIPE") and at("8.8.9.9") == (3, "", "BELL")
    report = import_radb([str(tmp_path / "a.db")], out, now=1, sources=tmp_path / "ranks", force=True)
    assert at("8.8.8.8") == (1, "", "RADB") and at("8.8.9.9") == (0, "", "")
    assert report.conflicts == 1 and report.conflict_samples == ["8.8.8.0/24: AS1 (RADB) before AS2 (RIPE)"]
    with pytest.raises(InputError, match="read from a file"):
        read_weights(tmp_path / "absent")
