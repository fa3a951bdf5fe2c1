"""Every input at once, each with its garbage: the rest stands, and every bad line is counted with a sample."""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path

from mirrornet.model.links import Links
from mirrornet.model.place import Evidence
from mirrornet.model.table import WorldTable
from mirrornet.radb.facts import Mend, Reason
from mirrornet.radb.importer import import_radb
from mirrornet.radb.reading.rpsl import OBJECT_LIMIT

GARBAGE = Path(__file__).parents[1] / "vectors" / "rpsl" / "garbage.db"
DUMP = """\
% RIPE-style header

inetnum: 8.8.8.0 - 8.8.10.255
country: de # first
country: FR
geoloc: 52.5 13.4
source: RIPE

inetnum: 8.8.8.64 - 8.8.8.0
country: FR
source: RIPE

inetnum: 9.9.9.0 - 9.9.9.9
country: EU
source: RIPE

inetnum: 9.9.9.10
country: FR
source: RIPE

inet6num: 2a00::/20
country: CH
geoloc: here
source: RIPE

route: 8.8.8.0/23
origin: AS15169
source: RADB

# EOF
"""
DELEGATED = """\
2|ripencc|20260617|9|19830613|20260616|+0200
ripencc|*|ipv4|*|5|summary
ripencc|US|ipv4|8.8.0.0|65536|20110414|allocated
arin|CA|ipv4|8.8.9.0|512|20110414|allocated
ripencc|NL|ipv4|8.8.9.0|512|20110414|assigned
ripencc|XX|ipv4|11.0.0.0|256|20110414|allocated
ripencc|DE|ipv4|255.255.255.0|512|20110414|allocated
ripencc|DE|ipv4|12.0.0.0|-256|20110414|allocated
ripencc|DE|ipv4|12.0.0.0|0|20110414|allocated
ripencc|DE|ipv6|2a00::|129|20110414|allocated
ripencc|DE|asn|15169|1|20110414|allocated
ripencc|DE|ipv4|13.0.0.0|256|20110414|reserved
what|is|this
"""


def test_all_at_once(tmp_path: Path) -> None:
    files = {
        "ripe.db": DUMP,
        "delegated": DELEGATED,
        "feed": "8.8.8.128/25,AT,,,\nnonsense,,\n8.8.8.0/24,ATLANTIS,,,\n",
        "vrps": json.dumps({"roas": [{"asn": 1}, {"asn": 15169, "prefix": "8.8.8.0/23", "maxLength": 23}]}),
        "rel": "1|2|-1\n1|2\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    out = tmp_path / "table"
    report = import_radb(
        [str(tmp_path / "ripe.db"), str(GARBAGE)],
        out,
        delegated=[str(tmp_path / "delegated")],
        geofeeds=[str(tmp_path / "feed")],
        vrps=str(tmp_path / "vrps"),
        relations=str(tmp_path / "rel"),
        now=1.0,
    )
    ours = {
        reason: [sample.line for sample in rejects.samples if "garbage" not in sample.file]
        for reason, rejects in report.rejected.items()
    }
    assert {reason: lines for reason, lines in ours.items() if lines} == {
        Reason.REVERSED: [9, 8, 9],
        Reason.BAD_RANGE: [17],
        Reason.PAST_END: [7],
        Reason.BAD_LENGTH: [10],
        Reason.BAD_FIELDS: [13],
        Reason.BAD_ADDRESS: [2],
        Reason.BAD_COUNTRY: [3],
        Reason.BAD_VRP: [1],
        Reason.BAD_LINK: [2],
    }
    assert report.mended[Mend.COUNTRIES] == 1  # the other one of the garbage is in reserved space
    assert report.mended[Mend.NO_COUNTRY] == 2 and report.mended[Mend.BAD_GEOLOC] == 1
    json.dumps(report.as_dict())

    table = WorldTable(out.read_bytes())

    def at(text: str) -> tuple[str, Evidence, Evidence]:
        place = table.match(ip_address(text)).place
        return place.country, place.country_from, place.coordinates_from

    assert at("8.8.8.1") == ("DE", Evidence.INETNUM, Evidence.INETNUM)  # a range of three /24s within the US's /16
    assert at("8.8.8.200") == ("AT", Evidence.GEOFEED, Evidence.CENTROID)
    assert at("8.8.9.1") == ("CA", Evidence.DELEGATED, Evidence.CENTROID)  # the smaller; of two equal ones the first
    assert at("8.8.11.1") == ("US", Evidence.DELEGATED, Evidence.CENTROID)
    assert at("2a00:800::1") == ("CH", Evidence.INETNUM, Evidence.CENTROID)
    assert at("11.0.0.1")[0] == at("13.0.0.1")[0] == at("255.255.255.1")[0] == ""
    assert table.match(ip_address("8.8.8.1")).marks == 1
    assert len(Links.read(table.section("links")) or ()) == 1


def test_an_object_without_end_is_named_and_the_rest_stands(tmp_path: Path) -> None:
    dump = tmp_path / "radb.db"
    dump.write_bytes(b"route: 9.9.9.0/24\ndescr: " + b"y" * (2 * OBJECT_LIMIT) + b"\n\n" + DUMP.encode())
    report = import_radb([str(dump)], tmp_path / "table", now=1.0)
    [sample] = report.rejected[Reason.TOO_LONG].samples
    assert (sample.file, sample.line, sample.text) == (str(dump), 1, "route: 9.9.9.0/24")
    assert report.routes == {"4": 1, "6": 0}
