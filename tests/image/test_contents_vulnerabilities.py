"""Which versions hold known-vulnerable packages, and the proof that a newer one replaced them."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from roots import debian_image

from mirrornet.image.contents.advisories import read_advisories
from mirrornet.image.contents.exposure import Listed, exposures, fates
from mirrornet.image.contents.ordering import compare
from mirrornet.image.contents.osv import concerns, fixed_in, parse_record
from mirrornet.image.contents.packages import Package, System
from mirrornet.model.errors import InputError

NOW = 1_800_000_000.0
OSV = Path(__file__).parents[1] / "vectors" / "osv" / "small.json"
BOOKWORM = System("debian", "12", "")
OLD_SSL = ("libssl3", "3.0.11-1~deb12u1", "openssl")
NEW_SSL = ("libssl3", "3.0.11-1~deb12u2", "openssl")
LIBC = ("libc6", "2.36-9+deb12u3", "glibc")


def package(name: str, version: str, source: str = "") -> Package:
    return Package("deb", name, version, "amd64", source or name, version)


# Debian Policy 5.6.12, and the traps of it.
ORDER = [
    *("0", "0-0~x", "0-1", "0.9", "1.0~~", "1.0~beta1~svn1245", "1.0~beta1", "1.0", "1.0-1", "1.0-1+b1", "1.0-2"),
    *("1.0-1+deb12u1", "1.0-1.1", "1.0-10", "1.0a", "1.0+dfsg", "1.0.1", "1.9", "1.10", "2", "1:0.1", "2:0"),
]


def test_the_order_is_dpkgs(need) -> None:
    need("dpkg")
    names = {"lt": lambda c: c < 0, "eq": lambda c: c == 0, "gt": lambda c: c > 0}
    for one, other in itertools.combinations(ORDER, 2):
        ours = next(name for name, holds in names.items() if holds(compare("deb", one, other)))
        assert subprocess.run(["dpkg", "--compare-versions", one, ours, other], check=False).returncode == 0, (
            one,
            other,
        )


VERSIONS = st.from_regex(r"([0-9]:)?[0-9][0-9a-z.+~]{0,6}(-[0-9a-z.+~]{1,5})?", fullmatch=True)


@settings(max_examples=150, deadline=None)
@given(VERSIONS, VERSIONS)
def test_the_order_is_dpkgs_whatever_the_versions(one: str, other: str) -> None:
    relation = {-1: "lt", 0: "eq", 1: "gt"}[compare("deb", one, other)]
    assert subprocess.run(["dpkg", "--compare-versions", one, relation, other], check=False).returncode == 0


def test_other_orders() -> None:
    assert compare("apk", "3.1.3-r0", "3.1.3-r1") < 0 < compare("apk", "1.2.10-r0", "1.2.9-r9")
    assert compare("rpm", "1:1.0-1", "2.0-1") > 0 > compare("rpm", "3.0.7-24.el9", "3.0.7-25.el9")
    with pytest.raises(ValueError, match="no version"):
        compare("deb", "not a version", "1")


def test_which_ecosystem_is_whose() -> None:
    assert concerns("Debian:12", BOOKWORM) and concerns("Debian", BOOKWORM)
    assert not concerns("Debian:1", BOOKWORM) and not concerns("Debian:11", BOOKWORM) and not concerns("PyPI", BOOKWORM)
    assert concerns("Ubuntu:22.04:LTS", System("ubuntu", "22.04", ""))
    assert not concerns("Ubuntu:Pro:22.04:LTS", System("ubuntu", "22.04", ""))
    assert concerns("Alpine:v3.18", System("alpine", "3.18.4", ""))
    assert not concerns("Alpine:v3.1", System("alpine", "3.18.4", ""))
    assert concerns("Rocky Linux:9", System("rocky", "9.3", "")) and concerns("Wolfi", System("wolfi", "20230201", ""))
    assert not concerns("Debian:12", System("linux", "12", "")) and not concerns("Debian:", System("debian", "", ""))


def events(*pairs: tuple[str, str], versions: tuple[str, ...] = ()) -> object:
    return parse_record(
        {
            "id": "X-1",
            "affected": [
                {
                    "package": {"ecosystem": "Debian:12", "name": "x"},
                    "versions": list(versions),
                    "ranges": [{"type": "ECOSYSTEM", "events": [{kind: at} for kind, at in pairs]}],
                }
            ],
        }
    )


@pytest.mark.parametrize(
    ("ranges", "affected", "safe"),
    [
        ([("introduced", "0"), ("fixed", "2")], ["0~a", "1", "2~rc1"], ["2", "3"]),
        ([("introduced", "0")], ["0", "99"], []),
        ([("introduced", "1"), ("last_affected", "2")], ["1", "2"], ["0.9", "2+b1"]),
        ([("fixed", "2"), ("introduced", "1"), ("introduced", "3"), ("fixed", "4")], ["1", "3.5"], ["0", "2.5", "4"]),
        ([("introduced", "0"), ("limit", "2")], ["1"], ["2", "3"]),
        ([("introduced", "0"), ("limit", "*")], ["1", "5"], []),
        ([], [], ["1"]),
    ],
)
def test_events_mean_what_the_schema_says(ranges: list[tuple[str, str]], affected: list[str], safe: list[str]) -> None:
    vulnerability = events(*ranges)
    assert [v for v in affected if fixed_in(vulnerability, package("x", v), BOOKWORM) is None] == []
    assert [v for v in safe if fixed_in(vulnerability, package("x", v), BOOKWORM) is not None] == []


def test_a_list_of_versions_and_the_nearest_fix() -> None:
    listed = events(("introduced", "5"), ("fixed", "6"), versions=("1", "2"))
    assert (
        fixed_in(listed, package("x", "2"), BOOKWORM) == "6" and fixed_in(listed, package("x", "3"), BOOKWORM) is None
    )
    two = events(("introduced", "0"), ("fixed", "2"), ("introduced", "3"), ("fixed", "10"))
    assert fixed_in(two, package("x", "3.1"), BOOKWORM) == "10"
    assert fixed_in(two, package("x", "3.1"), System("debian", "11", "")) is None
    assert fixed_in(two, Package("deb", "x", "1", "", "other", "1"), BOOKWORM) is None  # advisories name sources


def listed(number: int, *packages: Package, known: bool = True) -> Listed:
    return Listed(number, f"2026-01-{number:02}", (BOOKWORM, packages) if known else None, "ab" if known else "")


def test_what_became_of_each() -> None:
    known = read_advisories([OSV], {"openssl", "apt", "glibc"})
    assert {each.id for each in known} == {"DSA-5532-1", "CVE-2011-3374", "CVE-2023-4911", "ALPINE-CVE-2023-5363"}
    old, new, apt = package(*OLD_SSL), package(*NEW_SSL), package("apt", "2.6.1")
    exposed = exposures([listed(1, old, apt), listed(2, old, apt), listed(4, new, apt), listed(5, new, apt)], known)
    assert [[f.id for f in each.findings or ()] for each in exposed] == [
        ["CVE-2011-3374", "DSA-5532-1"], ["CVE-2011-3374", "DSA-5532-1"], ["CVE-2011-3374"], ["CVE-2011-3374"],
    ]  # fmt: skip
    apt_fate, ssl_fate = fates(exposed)
    assert (apt_fate.held_by, apt_fate.replaced_by) == ((1, 2, 4, 5), None)
    assert (ssl_fate.held_by, ssl_fate.replaced_by, ssl_fate.now) == ((1, 2), 4, "3.0.11-1~deb12u2")
    assert ssl_fate.aliases == ("CVE-2023-5363",)


def test_nothing_is_proven_by_silence_or_before_a_relapse() -> None:
    known = read_advisories([OSV], {"openssl"})
    old, new = package(*OLD_SSL), package(*NEW_SSL)
    (unknown,) = fates(exposures([listed(1, old), listed(2, known=False), listed(3, new)], known))
    assert unknown.replaced_by is None
    (relapse,) = fates(exposures([listed(1, old), listed(2, new), listed(3, old)], known))
    assert (relapse.held_by, relapse.replaced_by) == ((1, 3), None)
    (gone,) = fates(exposures([listed(1, old), listed(2)], known))
    assert (gone.replaced_by, gone.now) == (2, "")


def test_what_cannot_be_judged_is_a_finding() -> None:
    vulnerability = events(("introduced", "0"), ("fixed", "not a version"))
    (exposed,) = exposures([listed(1, package("x", "1"))], [vulnerability])
    assert exposed.findings is not None and "cannot be judged" in exposed.findings[0].summary


def test_files_as_osv_dev_gives_them(tmp_path: Path) -> None:
    records = json.loads(OSV.read_text())
    wanted = {each.id for each in read_advisories([OSV], {"openssl", "glibc", "apt"})}
    archive, lines, folder, answer = (tmp_path / name for name in ("all.zip", "all.jsonl", "folder", "query.json"))
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for record in records:
            file.writestr(f"{record['id']}.json", json.dumps(record))
    lines.write_text("\n".join(json.dumps(record) for record in records) + "\n\n")
    folder.mkdir()
    for record in records:
        (folder / f"{record['id']}.json").write_text(json.dumps(record))
    answer.write_text(json.dumps({"vulns": records}))
    for path in (archive, lines, folder, answer):
        assert {each.id for each in read_advisories([path], {"openssl", "glibc", "apt"})} == wanted
    for name, text, told in (("a.json", "{", "not JSON"), ("b.json", "[3]", "record 1"), ("c.json", '{"id": 3}', "id")):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=told):
            read_advisories([tmp_path / name], {"openssl"})
    (tmp_path / "bomb.zip").write_bytes(archive.read_bytes()[:-30])
    with pytest.raises(InputError):
        read_advisories([tmp_path / "bomb.zip", tmp_path / "none.json"], {"openssl"})


def test_the_command_proves_the_replacement(publisher, tmp_path: Path) -> None:
    def run(*more: object) -> subprocess.CompletedProcess[str]:
        arguments = ["vulnerabilities", "demo", "--repo", publisher.repo, "--osv", OSV, *more]
        return subprocess.run(
            [sys.executable, "-c", "from mirrornet.cli import main; main()", *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
        )

    publisher.publish(debian_image(tmp_path, OLD_SSL, LIBC).read_bytes())
    first = run()
    assert first.returncode == 1 and "DSA-5532-1 (CVE-2023-5363), fixed in 3.0.11-1~deb12u2" in first.stdout
    assert "NOT replaced" in first.stdout and "the newest, holds 1 known" in first.stderr
    publisher.publish(debian_image(tmp_path, NEW_SSL, LIBC).read_bytes())
    second = run()
    assert second.returncode == 0, second.stderr
    assert "held by version 1; replaced in version 2 by 3.0.11-1~deb12u2" in second.stdout
    body = json.loads(run("--json").stdout)
    assert [len(row["findings"]) for row in body["versions"]] == [1, 0]
    publisher.publish(b"no file system at all" * 10_000)
    third = run()
    assert third.returncode == 1 and "no list of packages" in third.stdout + third.stderr
