"""What sound zone files mean: the values of model/zone.py, defaults, and the shipped zones."""

from __future__ import annotations

import json
import shutil
from ipaddress import ip_address
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mirrornet.cli import check
from mirrornet.config import policy
from mirrornet.config.faults import Faults
from mirrornet.config.load import examine, load_zone, load_zones
from mirrornet.config.names import http_url
from mirrornet.config.schema import read_zone
from mirrornet.config.section import Section
from mirrornet.config.tree import read_tree
from mirrornet.data.countries import COUNTRIES
from mirrornet.model.place import Evidence

ZONES = Path(__file__).resolve().parents[2] / "zones"
SMALLEST = """\
zone: Example.NET.
contact: host.master@example.net
serial: 1
nameservers: {ns.elsewhere.example: []}
select: [{name: "@"}]
mirrors: {m: {url: HTTP://M.Example}}
"""


@pytest.fixture
def smallest(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALLEST)
    return path


def test_the_smallest_file_and_its_defaults(smallest: Path) -> None:
    zone = load_zone(smallest)
    assert (zone.name, zone.contact, zone.serial) == ("example.net", "host.master@example.net", 1)
    assert zone.nameservers == {"ns.elsewhere.example": ()}
    (select,) = zone.select
    assert (zone.select_fqdn(select), select.url) == ("example.net", "http://example.net/")
    assert (select.answers, select.ttl, select.images) == (3, 20, None)
    health = zone.health
    assert (health.interval, health.timeout, health.up, health.ok, health.down) == (10.0, 3.0, 3, 2, 3)
    assert (health.probe, health.damping, health.ramp, health.spill) == ("http", 900.0, 0.0, 2.0)
    (mirror,) = zone.mirrors
    assert (mirror.url, mirror.weight, mirror.holds, mirror.addresses) == ("http://m.example/", 100, None, ())
    assert not mirror.place.known
    assert (zone.world, zone.records, zone.repository, zone.server, zone.places) == (None, None, None, None, ())


def test_defaults_that_follow_from_others(smallest: Path) -> None:
    (smallest.parent / "root.json").write_text("{}")
    smallest.write_text(SMALLEST + "health: {up: 1, interval: 2s, timeout: 1s}\nrepository: {root: root.json}\n")
    zone = load_zone(smallest)
    assert (zone.health.ok, zone.health.probe, zone.health.damping) == (1, "block", 180.0)
    assert zone.repository is not None
    assert (zone.repository.root, zone.repository.lag) == (smallest.parent / "root.json", 21600.0)


def test_no_is_norway_and_a_country_has_a_middle(smallest: Path) -> None:
    text = SMALLEST.replace("HTTP://M.Example}", "http://m.example, place: {country: NO}}")
    smallest.write_text(text + "places: {192.0.2.1: {country: 'NO', latitude: 60, longitude: 5}}\n")
    zone = load_zone(smallest)
    place, norway = zone.mirrors[0].place, COUNTRIES["NO"]
    assert (place.country, place.latitude, place.longitude) == ("NO", norway.latitude, norway.longitude)
    assert (place.radius_km, place.coordinates_from) == (norway.radius_km, Evidence.CENTROID)
    override = zone.places[0]
    assert str(override.prefix) == "192.0.2.1/32"
    assert (override.place.latitude, override.place.radius_km) == (60.0, 0)
    assert override.place.coordinates_from is Evidence.OPERATOR


def test_mirrors_may_share_a_url_where_their_addresses_differ(smallest: Path) -> None:
    shared = "{a: {url: http://x.example/, addresses: [192.0.2.1]}, b: {url: http://x.example, addresses: [192.0.2.2]}}"
    smallest.write_text(SMALLEST.replace("{m: {url: HTTP://M.Example}}", shared))
    first, second = load_zone(smallest).mirrors
    assert first.url == second.url
    assert first.serves_by_url("http://x.example/")


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("http://A.Example", "http://a.example/"),
        ("HTTPS://a.example:443/Os/", "https://a.example/Os"),
        ("http://a.example:8080//", "http://a.example:8080/"),
        ("http://[2001:DB8::0]:80/x", "http://[2001:db8::]/x"),
        ("http://192.0.2.1/%7Ex", "http://192.0.2.1/%7Ex"),
        ("https://a.example.:80/", "https://a.example:80/"),
    ],
)
def test_one_url_one_spelling(written: str, kept: str) -> None:
    assert http_url(written) == kept
    assert http_url(kept) == kept


def test_listening(smallest: Path) -> None:
    smallest.write_text(SMALLEST + 'server: {listen: ["127.0.0.1:0", "[::1]:53"], http: "0.0.0.0:80", workers: 2}\n')
    server = load_zone(smallest).server
    assert server is not None
    assert server.listen == ((ip_address("127.0.0.1"), 0), (ip_address("::1"), 53))
    assert (server.http, server.workers, server.nsid) == ((ip_address("0.0.0.0"), 80), 2, "")


def test_who_is_too_heavy_to_be_moved_by_others(smallest: Path) -> None:
    smallest.write_text(SMALLEST + "server: {share: {url: redis://127.0.0.1}}\n")
    (problem,) = [str(one) for one in examine([smallest])[1] if "others may move" in str(one)]
    assert "each of these is more: m" in problem and "limit: 100%" in problem
    smallest.write_text(SMALLEST + "server: {share: {url: redis://127.0.0.1, limit: 100%}}\n")
    assert not [one for one in examine([smallest])[1] if "others may move" in str(one)]


def test_who_shares_and_lists_nobody_is_told_that_nobody_is_heard(smallest: Path) -> None:
    smallest.write_text(SMALLEST + "server: {share: {url: redis://127.0.0.1}}\n")
    (problem,) = [one for one in examine([smallest])[1] if "nobody is heard" in one.what]
    assert problem.warning and problem.line == 7 and "`server: vantages`" in str(problem)
    key = "ed25519:" + 64 * "a"
    smallest.write_text(SMALLEST + f"server: {{share: {{url: redis://127.0.0.1}}, vantages: {{a: {{key: {key}}}}}}}\n")
    assert not [one for one in examine([smallest])[1] if "nobody is heard" in one.what]


def test_the_example_is_sound() -> None:
    zones, problems = examine([ZONES / "example.yaml"])
    assert [str(problem) for problem in problems if not problem.warning] == []
    assert [mirror.name for mirror in zones[0].mirrors] == ["tokyo", "paris", "dallas", "bucket"]


def test_the_zone_to_begin_with_lacks_only_what_the_reader_brings() -> None:
    """zones/start.yaml: root.json is the reader's, and world.table, without which there is a warning."""
    zones, problems = examine([ZONES / "start.yaml"])
    faults = [problem for problem in problems if not problem.warning]
    assert [problem.what.partition(":")[0] for problem in faults] == ["repository.root"], faults
    assert [mirror.name for mirror in zones[0].mirrors] == ["tokyo", "paris"]


def test_the_example_shows_and_comments_every_key() -> None:
    path = ZONES / "example.yaml"
    text = path.read_text(encoding="utf-8")
    root, problems = read_tree(text, str(path))
    assert root is not None
    assert problems == []
    faults = Faults(str(path), root)
    read_zone(Section(faults, (), "the zone file", root), path)
    assert {
        "the zone file",
        "repository",
        "a select",
        "health",
        "a mirror",
        "place",
        "a prefix under places",
        "server",
        "tls",
        "query_log",
        "share",
        "a vantage",
    } == set(faults.known)
    for kind, keys in faults.known.items():
        assert keys - faults.seen.get(kind, set()) == set(), f"{kind}: not in example.yaml"
        for key in keys:
            lines = text.split("\n")
            where = [number for number, line in enumerate(lines) if line.strip(" -").startswith(f"{key}:")]
            assert any("#" in lines[number - 1] for number in where), f"{key} of {kind} has no comment above it"


def test_the_demo_zone_is_sound_beside_its_files(tmp_path: Path) -> None:
    shutil.copy(ZONES / "demo.yaml", tmp_path)
    for name in ("root.json", "world.table"):
        (tmp_path / name).write_text("x")
    zones, problems = examine([tmp_path / "demo.yaml"])
    assert problems == []
    assert len(zones[0].mirrors) == 4


def run(*arguments: str | Path) -> tuple[int, str, str]:
    app = typer.Typer()
    app.callback()(lambda: None)
    check.register(app)
    result = CliRunner().invoke(app, ["check", *map(str, arguments)])
    return result.exit_code, result.stdout, result.stderr


def test_check_praises(smallest: Path) -> None:
    assert run(smallest) == (0, f"{smallest}: sound: 1 zone, 1 mirror, 1 select name\n", "")


def test_check_prints_every_fault(smallest: Path) -> None:
    smallest.write_text(SMALLEST.replace("serial: 1", "serial: 010").replace("HTTP", "htpp"))
    code, out, err = run(smallest)
    assert (code, out) == (2, "")
    assert err.splitlines() == [
        f"{smallest}:3: serial: '010' begins with a zero (some programs read that as octal: write it without)",
        f"{smallest}:6: mirrors.m.url: 'htpp://M.Example' is of scheme 'htpp' (mirrors speak http or https)",
    ]


def test_check_json(smallest: Path, tmp_path: Path) -> None:
    code, out, _ = run(smallest, "--json")
    report = json.loads(out)
    assert (code, report["sound"], report["problems"]) == (0, True, [])
    assert report["zones"][0]["mirrors"] == ["m"]
    code, out, _ = run(smallest, tmp_path / "gone.yaml", "--json")
    report = json.loads(out)
    assert (code, report["sound"], report["zones"]) == (2, False, [])
    assert report["problems"][0]["what"] == "there is no such file"


def test_check_exits_zero_with_warnings(smallest: Path) -> None:
    smallest.write_text(SMALLEST + "world: gone.table\n")
    code, out, err = run(smallest)
    assert (code, "sound" in out) == (0, True)
    assert ":7: warning: world:" in err


def test_zones_of_one_process(smallest: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(SMALLEST.replace("Example.NET.", "example.org"))
    assert [zone.name for zone in load_zones([smallest, other])] == ["example.net", "example.org"]


def test_pins_and_places_go_apart(tmp_path: Path) -> None:
    (tmp_path / "z.yaml").write_text(
        SMALLEST + "places:\n  198.51.100.0/24: {mirrors: [m]}\n  192.0.2.0/24: {country: JP, mirrors: [m]}\n"
        "  203.0.113.0/24: {country: JP}\n",
        encoding="utf-8",
    )
    zone = load_zone(tmp_path / "z.yaml")
    assert [(str(pin.prefix), pin.mirrors) for pin in zone.pins] == [
        ("198.51.100.0/24", ("m",)),
        ("192.0.2.0/24", ("m",)),
    ]
    assert [str(override.prefix) for override in zone.places] == ["192.0.2.0/24", "203.0.113.0/24"]


@pytest.mark.parametrize(
    "text",
    ["RADB::AS-EXAMPLE", "RADB::AS2500:RS-EXAMPLE", "NIC.BR::AS-X", "203.0.113.0/24", "2001:db8::/32", "AS2500", "NO"],
)
def test_a_policy_item_is_kept_as_written(text: str) -> None:
    assert policy.item(text) == text
