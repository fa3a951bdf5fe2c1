"""An operator's zone becomes a world: who stands where, what the zone file says in a lab, the table at the end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mirrornet.config.load import as_written, load_zone
from mirrornet.dns.ranking.whereabouts import NOWHERE, placed_mirrors
from mirrornet.lab.blueprint import ANYCAST_KM, Blueprint, RoundTrips, blueprint
from mirrornet.lab.clients import CLIENTS, CONTINENTS, Client, read_clients
from mirrornet.lab.report import Got, Outage, Report, Standing, text
from mirrornet.lab.rewriting import lab_url, lab_zone, patience_of
from mirrornet.lab.world import MS_PER_KM, SAME_CITY_MS, read_regions
from mirrornet.model.errors import InputError
from mirrornet.model.zone import Zone

EXAMPLE = Path(__file__).resolve().parents[2] / "zones" / "example.yaml"
NO_TRIPS = RoundTrips({}, {})


def plan_of(zone: Zone, clients: list[str], trips: RoundTrips = NO_TRIPS) -> Blueprint:
    mirrors = placed_mirrors(zone, lambda _: NOWHERE)
    return blueprint(zone, mirrors, read_clients(clients, trips.regions), trips)


def rewritten(zone: Zone, plan: Blueprint) -> dict[str, Any]:
    mirrors = {mirror.name: mirror for mirror in placed_mirrors(zone, lambda _: NOWHERE)}
    found: dict[str, Any] = json.loads(
        lab_zone(as_written(zone.file), zone, mirrors, plan, Path("/lab/root.json"), None)
    )
    return found


def test_clients_are_cities_countries_points_and_addresses() -> None:
    regions = {"Japan East": (35.7, 139.7)}
    texts = ["Tokyo", "DE", "home=48.1,11.6", "office = -1.5, 36.8, KE", "Japan East", "nine=203.0.113.9", "b=Lagos"]
    found = {client.name: client for client in read_clients(texts, regions)}
    places = {name: client.place for name, client in found.items()}
    assert [place and (place.latitude, place.country) for place in places.values()] == [
        (35.68, "JP"), (pytest.approx(51, abs=2), "DE"), (48.1, ""), (-1.5, "KE"), (35.7, ""), None, (6.45, "NG"),
    ]  # fmt: skip
    assert str(found["nine"].address) == "203.0.113.9"
    assert places["DE"] is not None and places["DE"].radius_km > 0
    assert tuple(client.name for client in read_clients([], {})) == CONTINENTS


@pytest.mark.parametrize(
    ("texts", "part"),
    [
        (["Tokio"], "did you mean Tokyo"),
        (["x=91,0"], "latitude is -90 to 90"),
        (["x=1,2,XX"], "no country XX"),
        (["x=300.1.1.1"], "is no place that is known here"),
        (["a=1,1", "a=2,2"], "two of the name a"),
        (["=1,1"], "1 to 40 characters"),
        (["a/b=1,1"], "1 to 40 characters"),
        ([f"c{number}=1,1" for number in range(CLIENTS + 1)], f"{CLIENTS} at most"),
    ],
)
def test_clients_that_are_none(texts: list[str], part: str) -> None:
    with pytest.raises(InputError, match=part):
        read_clients(texts, {})


def test_the_example_zone_becomes_a_world() -> None:
    plan = plan_of(load_zone(EXAMPLE), ["Tokyo", "DE"])
    assert plan.mirrors == ("bucket", "dallas", "paris", "tokyo")
    assert list(plan.clients) == ["client.1", "client.2"] and list(plan.nameservers.values()) == [
        "ns1.inetboot.example"
    ]
    assert plan.world.rtt("client.1", "tokyo") == SAME_CITY_MS
    assert plan.world.rtt("bucket", "client.2") == SAME_CITY_MS + MS_PER_KM * ANYCAST_KM
    assert plan.nearest("client.2")[0] == "paris"
    assert (plan.measured, plan.ways) == (0, 21)


def test_round_trips_count_by_name_and_by_the_region_nearby() -> None:
    regions = read_regions(["region,lat,lon", "Japan East,35.68,139.77", "Europe,48.9,2.3", "", "Far,0,0"], "r.csv")
    trips = RoundTrips({("Japan East", "Europe"): 222.0, ("home", "Japan East"): 9.0}, regions)
    plan = plan_of(load_zone(EXAMPLE), ["home=35.7,139.8", "Lagos"], trips)
    assert plan.world.rtt("tokyo", "paris") == 222
    assert plan.world.rtt("client.1", "tokyo") == 9  # by its own name, though the region is near
    assert plan.world.rtt("client.2", "tokyo") > 200  # neither
    with pytest.raises(InputError, match=r"r\.csv:2: expected region,latitude,longitude"):
        read_regions(["region,lat,lon", "Japan East,91,0"], "r.csv")


def test_who_stands_nowhere_is_named() -> None:
    zone = load_zone(EXAMPLE)
    lost = replace(zone, mirrors=(replace(zone.mirrors[0], place=NOWHERE.place), *zone.mirrors[1:]))
    with pytest.raises(InputError, match="nobody knows where tokyo stands: give it a `place`"):
        plan_of(lost, ["Tokyo"])
    with pytest.raises(InputError, match=r"--rtt: .*tokyo.* have neither"):
        plan_of(lost, ["Tokyo"], RoundTrips({("tokyo", "elsewhere"): 3.0}, {}))
    with pytest.raises(InputError, match="--client x: nobody knows"):
        blueprint(zone, placed_mirrors(zone, lambda _: NOWHERE), [Client("x", NOWHERE.place)], NO_TRIPS)
    many = tuple(replace(zone.mirrors[0], name=f"m{number}") for number in range(61))
    with pytest.raises(InputError, match="60 at most"):
        plan_of(replace(zone, mirrors=many), ["Tokyo"])


def test_the_zone_file_keeps_all_but_addresses(tmp_path: Path) -> None:
    zone = load_zone(EXAMPLE)
    plan = plan_of(zone, ["Tokyo", "DE"])
    new, old = rewritten(zone, plan), as_written(EXAMPLE)
    assert {key for key in old if new.get(key) != old[key]} == {
        "world", "records", "round_trips", "repository", "nameservers", "mirrors", "places", "server",
    }  # fmt: skip
    assert new["records"] == str(EXAMPLE.parent / "example/records.zone") and "world" not in new
    assert new["repository"] == {**old["repository"], "root": "/lab/root.json"}
    assert new["nameservers"] == {"ns1.inetboot.example": ["198.18.7.1", "2001:db8:7::1"], "ns2.elsewhere.example": []}
    for name, mirror in old["mirrors"].items():
        changed = {
            key
            for key in mirror.keys() | new["mirrors"][name].keys()
            if new["mirrors"][name].get(key) != mirror.get(key)
        }
        assert changed <= {"addresses", "place"}, (name, changed)
    assert new["mirrors"]["tokyo"]["addresses"] == ["198.18.4.1", "2001:db8:4::1"]
    assert new["mirrors"]["paris"]["addresses"] == ["198.18.3.1"]  # it has no IPv6 in the zone
    assert new["places"]["198.18.5.0/24"] == {"country": "JP", "latitude": 35.68, "longitude": 139.69}
    assert new["places"]["2001:db8:6::/48"] == {"country": "DE"}
    assert new["server"] == {"rate_limit": "1000", "nsid": "ns1-tokyo"}
    (tmp_path / "zone.yaml").write_text(json.dumps({**new, "repository": {**old["repository"], "root": str(EXAMPLE)}}))
    proven = load_zone(tmp_path / "zone.yaml")
    assert {(m.name, m.weight, m.only, m.prefer, m.never) for m in proven.mirrors} == {
        (m.name, m.weight, m.only, m.prefer, m.never) for m in zone.mirrors
    }


def test_an_operators_prefixes_give_way_to_the_labs_own(tmp_path: Path) -> None:
    zone = load_zone(EXAMPLE)
    sites = [f"c{number}=1,{number}" for number in range(28)]  # the 32nd site has 2001:db8:20::/48, as the example has
    new = rewritten(zone, plan_of(zone, sites))
    assert new["places"]["2001:db8:20::/48"]["latitude"] == 1.0
    assert "198.51.100.128/25" in new["places"]


def test_a_client_by_address_brings_his_pins() -> None:
    zone = load_zone(EXAMPLE)
    client = Client("x", zone.places[0].place, pins=("paris", "tokyo"))
    plan = blueprint(zone, placed_mirrors(zone, lambda _: NOWHERE), [client], NO_TRIPS)
    assert rewritten(zone, plan)["places"]["198.18.5.0/24"]["mirrors"] == ["paris", "tokyo"]


def test_a_url_that_names_an_address_names_the_labs() -> None:
    zone = load_zone(EXAMPLE)
    plan = plan_of(zone, ["Tokyo"])
    for url, there in (
        ("http://203.0.113.10:8080/os", "http://198.18.4.1:8080/os"),
        ("https://[2001:db8:10::1]/", "https://[2001:db8:4::1]/"),
        ("http://tokyo.example/os", "http://tokyo.example/os"),
    ):
        assert lab_url(plan.world, replace(zone.mirrors[0], url=url)) == there


def test_a_timeout_that_no_probe_could_keep_is_raised() -> None:
    zone = load_zone(EXAMPLE)
    plan = plan_of(zone, ["Tokyo"])
    assert patience_of(zone, plan) is None
    hasty = replace(zone, health=replace(zone.health, timeout=0.2, interval=1.0))
    patience = patience_of(hasty, plan)
    assert patience is not None and patience >= 8 * 0.1
    health = rewritten(hasty, plan)["health"]
    assert health["timeout"] == f"{patience:g}s" and health["down"] == "3"
    assert patience_of(replace(hasty, health=replace(hasty.health, probe="none")), plan) is None


def test_the_table() -> None:
    got = Got("Tokyo", ("tokyo", "paris"), "tokyo", 20.0, 2.0, 2.4, 13.0, 54_900_000, "tokyo", 2.0)
    lost = Got("Lagos", (), "", None, None, None, None, None, "paris", 79.6, "the read failed: no mirror")
    report = Report(
        "z.example", "select.z.example", "debian", 8 << 20, 200.0, "great circles", ("a note",),
        (Standing("tokyo", "http://t/", "up", ""), Standing("paris", "http://p/", "down", "no answer")),
        {"Tokyo": 1.5, "Lagos": 2.0}, (got, lost), "tokyo",
        (Outage("Tokyo", 0.25, 8.0), Outage("Lagos", None, 9.1)), (replace(got, mirror="paris", rate=None), lost), 60.0,
    )  # fmt: skip
    shown = text(report)
    lines = shown.splitlines()
    assert lines[:3] == [
        "select.z.example: 2 mirrors, 2 clients, 200 Mbit/s, round trips by great circles",
        "  a note",
        "  paris is down: no answer",
    ]
    heads = next(line for line in lines if line.startswith("client"))
    row = next(line for line in lines if line.startswith("Tokyo"))
    assert row.split() == ["Tokyo", "tokyo", "20.0", "2.0", "2.4", "13.0", "54.9", "tokyo", "2.0", "1.5"]
    assert heads.index("estimate ms") + len("estimate ms") == row.index("20.0") + 4
    assert shown.count("Lagos: the read failed: no mirror") == 2
    assert "mounts read again for 1 of 2 clients only, within 60 s; DNS left tokyo out within 9.1 s" in shown
    assert json.loads(json.dumps(report.json()))["before"][0]["offered"] == ["tokyo", "paris"]
