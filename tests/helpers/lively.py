"""A Snapshot in which much is going on: ten mirrors, and hardly two in the same state."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

from mirrornet.model.override import Action, Override
from mirrornet.model.place import Place
from mirrornet.model.regions import Regions
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import HealthSettings, Mirror, Select, Zone
from mirrornet.web.eyes import SharingStatus, VantageStatus
from mirrornet.web.status import Change, PlanStatus, Snapshot, TableStatus, ZoneStatus

NOW = 1_790_000_000.0
ZONE_NAME = "inetboot.example"
EVIL = '<script>alert("x")</script>'
PLACES = {
    "tokyo": Place(2500, "JP", 35.68, 139.69),
    "frankfurt": Place(3320, "DE", 50.11, 8.68),
    "saopaulo": Place(22548, "BR", -23.55, -46.63),
    "johannesburg": Place(2018, "ZA", -26.20, 28.05),
    "ashburn": Place(14618, "US", 39.04, -77.49),
    "sanjose": Place(6939, "US", 37.34, -121.89),
    "singapore": Place(7473, "SG", 1.35, 103.82),
    "sydney": Place(7575, "AU", -33.87, 151.21),
    "amsterdam": Place(1103, "NL", 52.37, 4.90),
    "mumbai": Place(9829, "IN", 19.08, 72.88),
}
MIRRORS = tuple(
    Mirror(name, f"http://{name}.mirrors.example/os", (ip_address(f"192.0.2.{n}"), ip_address(f"2001:db8::{n}")), place)
    for n, (name, place) in enumerate(PLACES.items(), 1)
)
ZONE = Zone(
    file=Path("zones/x.yaml"),
    name=ZONE_NAME,
    contact="hostmaster@inetboot.example",
    serial=1,
    nameservers={},
    world=None,
    select=(Select("select", f"http://select.{ZONE_NAME}/"),),
    mirrors=MIRRORS,
    health=HealthSettings(probe="block"),
)
DRAIN = Override(
    ZONE_NAME, "sydney", Action.DRAIN, NOW - 900, NOW + 7200, author="ops", why="new disks at 14:00", rate=5.0
)
DOWN_BY_HAND = Override(ZONE_NAME, "johannesburg", Action.FORCE_DOWN, NOW - 7000, None, "ops", f"see #41 {EVIL}")
UP = Verdict(State.UP, 60.0, NOW - 86_400, "", 18.0, True, None, 42)
VERDICTS = {
    "tokyo": replace(UP, rtt_ms=212.0),
    "frankfurt": replace(UP, rtt_ms=6.4, since=NOW - 5 * 86_400),
    "saopaulo": Verdict(State.DOWN, 20.0, NOW - 340, "no TCP connection within 3.0 s; 3 of 3 bad probes", None, True),
    "johannesburg": Verdict(
        State.FORCED_DOWN,
        60.0,
        NOW - 7000,
        f"force-down by ops, for good (see #41 {EVIL}): probes: up",
        171.0,
        True,
        override=DOWN_BY_HAND,
    ),
    "ashburn": replace(UP, rtt_ms=88.0),
    "sanjose": Verdict(State.SLOW, 60.0, NOW - 1200, "4.1 times its usual time to first byte", 590.0, True),
    "singapore": Verdict(State.LAGGING, 60.0, NOW - 1900, "version 41, the newest is 42", 163.0, True, lag=1900.0),
    "sydney": Verdict(State.UP, 60.0, NOW - 90_000, "", 280.0, True, share=0.25, override=DRAIN),
    "amsterdam": replace(UP, rtt_ms=11.0, certificate_until=NOW + 4 * 86_400),
    "mumbai": Verdict(State.CORRUPT, 1.0, NOW - 50, f"block ab12… is not what was signed {EVIL}", 120.0, True),
}
SERVED = {
    "tokyo": "JP KR CN TW MN KP",
    "frankfurt": "DE AT CH PL CZ HU IT RU UA TR RO BG GR SE FI",
    "ashburn": "US CA CO VE BR AR CL PE EC BO",
    "sanjose": "MX",
    "singapore": "SG ID MY TH VN PH IN PK LK BD",
    "sydney": "AU NZ PG FJ",
    "amsterdam": "NL GB FR BE IE ES PT NO DK MA DZ EG ZA NG KE",
}
COUNTRIES = {country: {name: 0.01} for name, countries in SERVED.items() for country in countries.split()}
COUNTRIES["DE"] = {"frankfurt": 0.03, "amsterdam": 0.02}
COUNTRIES[""] = {"tokyo": 0.02, "ashburn": 0.02}
TOTAL = sum(sum(one.values()) for one in COUNTRIES.values())
SHARES = {name: sum(one.get(name, 0.0) for one in COUNTRIES.values()) / TOTAL for name in SERVED}
REGIONS = Regions({4: SHARES, 6: {"tokyo": 0.5, "frankfurt": 0.4996, "sanjose": 0.0004}}, COUNTRIES)
CHANGES = {
    "saopaulo": (
        Change(NOW - 90_000, State.UP, ""),
        Change(NOW - 4000, State.DOWN, "HTTP status 503"),
        Change(NOW - 3900, State.UP, ""),
        Change(NOW - 340, State.DOWN, "no TCP connection within 3.0 s"),
    ),
    "mumbai": (Change(NOW - 90_000, State.UP, ""), Change(NOW - 50, State.CORRUPT, f"block ab12… {EVIL}")),
}
SNAPSHOT = Snapshot(
    now=NOW,
    started=NOW - 3 * 86_400,
    zones=(
        ZoneStatus(
            ZONE,
            VERDICTS,
            {"saopaulo": 3},
            probes=77_000,
            changes=CHANGES,
            regions={"select": REGIONS},
            surveyed=17,
            expiries={"timestamp": NOW + 3 * 86_400, "root": NOW - 7200},
            asked={"tokyo": 0.3, "frankfurt": 0.45, "ashburn": 0.2495, "sanjose": 0.0005},
        ),
    ),
    plan=PlanStatus(17, NOW - 340, 0.15, 1_200_000, 56, ("ashburn",)),
    table=TableStatus(NOW - 40_000, 968_428, 96_068, "ab" * 32),
    sharing=SharingStatus(
        "rediss://board.example:6379",
        "ns1",
        moved={ZONE_NAME: 0.12},
        stopped={ZONE_NAME: ("tokyo",)},
        vantages=(
            VantageStatus("fra1", 64500, "DE", NOW - 4, True),
            VantageStatus("nrt1", 64501, "JP", NOW - 9, True, outvoted=("tokyo: down",)),
            VantageStatus("syd1", 64502, "AU", NOW - 700, False),
            VantageStatus("evil1", 0, "", 0.0, False, refused=f"signed by nobody {EVIL}"),
        ),
    ),
    counters={"udp": 12_345_678, "tcp": 4321, "ecs": 9_000_000, "nxdomain": 1200, "refused": 3, "servfail": 0},
)
