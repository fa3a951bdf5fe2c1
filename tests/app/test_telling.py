"""What `status` tells a person: 80 columns, one thought a line, the same whatever is missing."""

from __future__ import annotations

from typing import Any

import pytest

from mirrornet.app.client.telling import WIDTH, boots_offline, next_version, text

NOW = 1_800_000_000.0
TOKYO = {
    "name": "tokyo", "offered": True, "url": "http://tokyo.mirrors.example:8080/os", "state": "in use",
    "first_byte_ms": 12.3, "rate": 25165824, "blocks": 1204, "blames": {}, "last_blame": "", "out_for": 0.0,
}  # fmt: skip
PARIS = TOKYO | {
    "name": "paris", "state": "out", "first_byte_ms": None, "rate": None, "blocks": 1, "out_for": 12.0,
    "blames": {"slow": 3, "corrupt": 1}, "last_blame": "block 0123456789abcdef…: the bytes do not match their name; "
    "ask another mirror", "url": "https://paris.example/a/path/that/is/longer/than/any/terminal/should/have/to/bear/x",
}  # fmt: skip
NEXT = {
    "version": 7, "rollback_of": None, "created": "2026-11-23T00:00:00Z", "blocks": 34, "bytes": 943718, "here": 0,
    "left": 943718, "seconds": 2.0,
}  # fmt: skip
STATUS: dict[str, Any] = {
    "mountpoint": "/mnt", "image": "debian", "version": 6, "source": "select.example.net", "offline": False,
    "leaving": False, "metadata_expires": NOW + 6 * 86400, "uptime": 10800.0, "open_handles": 2, "pid": 4242,
    "warnings": [], "network_down": False, "name_server": "", "mirrors": [TOKYO, PARIS], "hedges": 1,
    "following": {"checked": NOW, "failed": "", "next": NEXT},
    "profile": {"from": "published", "blocks": 264, "cached": 264},
    "reads": {"network": 1221, "disk": 331, "memory": 5120, "zero": 0, "errors": 0, "last_error": "",
              "longest_stall": 0.085},
    "cache": {"folder": "/var/cache/mirrornet", "bytes": 1288490188, "quota": 10 << 30, "pinned": 22020096,
              "corrupt": 0, "evicted": 0, "refused": ""},
}  # fmt: skip


def test_a_mount_at_a_glance() -> None:
    assert text(STATUS, NOW).splitlines() == [
        "/mnt: debian version 6 from select.example.net",
        "  up 3.0 h, 2 open, pid 4242; the metadata is good for 6.0 d",
        "  version 7 is out: 34 new blocks, 921.6 KiB, about 2.0 s at the rate measured;",
        "    mounted stays version 6",
        "  boots offline: yes (profile 264 of 264)",
        "  mirrors",
        "    tokyo   in use             12 ms   24.0 MiB/s   1,204 blocks",
        "            http://tokyo.mirrors.example:8080/os",
        "    paris   out, 12.0 s more                             1 block",
        "            blamed: 3 slow, 1 corrupt; last: block 0123456789abcdef…: the bytes",
        "            do not match their name; ask another mirror",
        "            https://paris.example/a/path/that/is/longer/than/any/terminal/should/have/to/bear/x",
        "  reads    1,221 blocks from mirrors, 331 from disk, 5,120 from memory",
        "           longest stall 85 ms, 1 hedge, 0 errors",
        "  cache    /var/cache/mirrornet: 1.2 GiB of 10.0 GiB, 21.0 MiB pinned",
    ]


def test_everything_that_may_be_wrong_fits_in_80_columns() -> None:
    trouble = STATUS | {
        "offline": True, "leaving": True, "metadata_expires": NOW - 3600, "network_down": True,
        "name_server": "select.example.net: 192.0.2.53 port 53 does not answer; what it said last is used",
        "warnings": ["no mirror gave fresh metadata: " + "tokyo: no connection; " * 20],
        "following": {"checked": NOW, "failed": "tokyo: no connection; paris: HTTP 500 " * 5, "next": None},
        "profile": None,
        "mirrors": [PARIS | {"url": "https://paris.example", "name": "paris.example"}],
        "reads": STATUS["reads"] | {"errors": 2, "zero": 9, "last_error": "bytes 0 to 4096: not here " * 4},
        "cache": STATUS["cache"] | {"corrupt": 1, "evicted": 4000, "refused": "No space left on device"},
    }  # fmt: skip
    told = text(trouble, NOW)
    assert max(len(line) for line in told.splitlines()) <= WIDTH
    for word in (
        "offline, leaving", "expired 60 min ago", "the network seems to be down", "name server: select", "warning: no",
        "could not be looked for", "9 of zeroes", "last error: bytes", "1 corrupt block fetched again",
        "nothing is kept at present: No space",
    ):  # fmt: skip
        assert word in " ".join(told.split()), told
    assert "https://paris.example" not in told  # its name says it


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({}, "version 7 is out: 34 new blocks, 921.6 KiB, about 2.0 s at the rate measured; mounted stays version 6"),
        ({"seconds": None}, "version 7 is out: 34 new blocks, 921.6 KiB; mounted stays version 6"),
        (
            {"here": 30, "left": 1024, "seconds": 0.02},
            "version 7 is out: 34 new blocks, 921.6 KiB; 30 are here, 1.0 KiB are missing, about 20 ms at the rate "
            "measured; mounted stays version 6",
        ),
        (
            {"here": 34, "left": 0, "seconds": 0.0},
            "version 7 is out: 34 new blocks, 921.6 KiB, all of them here; mounted stays version 6",
        ),
        (
            {"blocks": None, "here": None, "bytes": 1 << 30, "left": 1 << 30, "rollback_of": 2},
            "version 7 is out (again what version 2 was): 1.0 GiB, about 2.0 s at the rate measured; "
            "mounted stays version 6",
        ),
        (
            {"blocks": None, "here": None, "bytes": None, "left": None, "seconds": None},
            "version 7 is out; mounted stays version 6",
        ),
        (
            {"blocks": 0, "bytes": 0, "here": 0, "left": 0, "seconds": 0.0},
            "version 7 is out: 0 new blocks, 0 B; mounted stays version 6",
        ),
    ],
)  # fmt: skip
def test_what_a_newer_version_costs(changes: dict[str, Any], line: str) -> None:
    assert next_version(NEXT | changes, 6) == line


def test_whether_it_boots_without_a_network() -> None:
    assert boots_offline({"from": "none"}) == "boots offline: not known, there is no profile"
    assert boots_offline({"from": "learnt", "blocks": 9, "cached": None}) == "boots offline: not known yet"
    assert boots_offline({"from": "learnt", "blocks": 1264, "cached": 1000}).startswith(
        "boots offline: no (profile 1,000 of 1,264)"
    )
    part = {"bytes": 1000, "here": 999, "complete": False}
    yes = {"from": "learnt", "blocks": 9, "cached": 9}
    assert boots_offline(yes, part) == "boots offline: yes (profile 9 of 9); 99 % of the image is here"
    assert boots_offline({"from": "none"}, part).endswith("no profile; 99 % of the image is here")
    whole = {"bytes": 1000, "here": 1000, "complete": True}
    assert boots_offline(yes, whole) == "boots offline: yes, all of the image is here (profile 9 of 9)"
    assert boots_offline({"from": "none"}, whole) == "boots offline: yes, all of the image is here"
    assert boots_offline(yes, whole, ["kernel"]).startswith(
        "boots offline: no, not by `mirrornet boot`, of whose files"
    )
    files = {"guest_files": {"kernel": True, "initrd": False, "cmdline": True}}
    assert "of whose files initrd is not here" in " ".join(text(STATUS | files, NOW).split())
    assert "boots offline: yes" in text(STATUS | {"guest_files": {"kernel": True}}, NOW)


def test_a_mirror_that_returns() -> None:
    told = text(STATUS | {"mirrors": [TOKYO | {"share": 0.3}, TOKYO | {"name": "osaka", "share": 1.0}]}, NOW)
    assert "tokyo   back, 30% of its share" in told and "osaka   in use" in told
    gone = text(STATUS | {"mirrors": [TOKYO | {"offered": False}]}, NOW)
    assert "tokyo   no longer offered" in gone


def test_a_mount_that_is_not_ready_or_does_not_answer() -> None:
    assert text({"mountpoint": "/mnt", "ready": False}, NOW) == "/mnt: not ready yet"
    assert text({"mountpoint": "/mnt", "error": "no answer"}, NOW) == "/mnt: no answer"
