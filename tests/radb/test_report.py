"""The report: exact counts, bounded samples, and every line that a person is shown."""

from __future__ import annotations

import json

from mirrornet.radb.report import CLASSES, SAMPLES, ImportReport


def test_the_summary_says_all_that_was_seen() -> None:
    report = ImportReport(seconds=1.25, places=7, bytes_written=2_500_000, conflicts=3)
    report.count("RADB", "route", 1234)
    report.count("RADB", "as-set")
    report.count("", "route")
    report.mended["host bits cleared"] = 2
    report.reject("no origin", "a.db", 17, b"\nroute:   192.0.2.0/24\nsource: RADB")
    report.conflict_samples.append("198.18.0.0/24: AS1 (RADB) before AS2 (ALTDB)")
    report.warnings.append("a.db: may be cut short")
    report.routes, report.ranges = {"4": 1000, "6": 20}, {"4": 3000, "6": 40}
    assert report.summary() == [
        "1,236 objects of 2 sources in 1.2 s",
        "  (no source): 1 route",
        "  RADB: 1,234 route, 1 as-set",
        "mended: 2 × host bits cleared",
        "rejected: 1 × no origin, such as a.db:17: route: 192.0.2.0/24",
        "3 prefixes have several origins, such as 198.18.0.0/24: AS1 (RADB) before AS2 (ALTDB)",
        "warning: a.db: may be cut short",
        "1,000 IPv4 and 20 IPv6 prefixes have an origin",
        "3,000 IPv4 and 40 IPv6 ranges, 7 places, 2.5 MB",
    ]


def test_a_hostile_dump_does_not_fill_the_memory() -> None:
    report = ImportReport()
    for number in range(3 * CLASSES):
        report.count(f"SOURCE{number}", "route")
        report.count("RADB", f"class{number}")
        report.reject("no origin", "a.db", number, b"route: " + b"x" * 1000)
    assert report.object_count == 6 * CLASSES
    assert len(report.objects) <= CLASSES + 1 and len(report.objects["RADB"]) <= CLASSES + 1
    rejects = report.rejected["no origin"]
    assert (rejects.count, len(rejects.samples)) == (3 * CLASSES, SAMPLES)
    assert all(len(sample.text) <= 100 for sample in rejects.samples)
    assert json.loads(json.dumps(report.as_dict()))["rejected"]["no origin"]["count"] == 3 * CLASSES
