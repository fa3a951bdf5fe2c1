"""Every key of a zone file, one by one: what a reload does with it.

    plan      the planner that is staged for the new files plans otherwise
    probes    the monitor is replaced by one that is staged beside it (health/probes/monitor.py, `fits`)
    start     the log says that it takes effect with the next start
    live      it is handed on to whoever goes by it, at once

A key that does none of these would be a change that nobody sees; a new key has to be put into the table.
"""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from mirrornet.app.server.serve import _LIVE, _only_at_start
from mirrornet.app.server.worlds.files import Files
from mirrornet.dns.planning.plan import Planner
from mirrornet.dns.planning.planfile import encode
from mirrornet.health.probes.monitor import Monitor
from mirrornet.model.address import parse_prefix
from mirrornet.model.place import UNKNOWN, Place
from mirrornet.model.table import encode as encode_table
from mirrornet.model.table import encode_place
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import (
    HealthSettings,
    Mirror,
    Pin,
    PlaceOverride,
    QueryLogSettings,
    RepositorySettings,
    Select,
    ServerSettings,
    ShareSettings,
    TlsSettings,
    Vantage,
    Zone,
)

PLANS = runpy.run_path(str(Path(__file__).parents[1] / "dns" / "test_plan.py"))
TABLE, PARIS = PLANS["OVERLAP"], PLANS["PARIS"]
ROOT = Path(__file__).parents[2] / "zones" / "example" / "root.json"
HERE = (ip_address("127.0.0.1"), 53)
BEFORE: Zone = PLANS["zone"](
    health=HealthSettings(probe="tcp"),
    repository=RepositorySettings(ROOT),
    server=ServerSettings(share=ShareSettings("redis://a"), tls=TlsSettings(Path("c"), Path("k"), (HERE,))),
)

# By section: key → (another value, what has to happen).
KEYS: dict[type, dict[str, tuple[Any, set[str]]]] = {
    Zone: {
        "name": ("other.test", {"plan", "probes"}),
        "contact": ("somebody@zone.test", {"plan", "probes"}),
        "serial": (2, {"plan"}),
        "nameservers": ({"ns9.zone.test": (ip_address("192.0.2.9"),)}, {"plan"}),
        "select": ((), {"plan", "probes"}),
        "mirrors": (BEFORE.mirrors[:2], {"plan", "probes"}),
        "health": (HealthSettings(probe="http"), {"probes"}),
        "repository": (None, {"probes"}),
        "places": ((PlaceOverride(parse_prefix("20.2.0.0/16"), PARIS),), {"plan"}),
        "pins": ((Pin(parse_prefix("20.2.0.0/16"), ("dallas",)),), {"plan"}),
        "round_trips": ({("JP", "FR"): 20.0, ("JP", "US"): 900.0}, {"plan"}),
        "server": (ServerSettings(workers=9), {"start"}),
    },
    Select: {
        "name": ("choose", {"plan", "probes"}),
        "url": ("http://else.zone.test/", {"probes"}),
        "answers": (1, {"probes"}),
        "ttl": (3, {"plan", "probes"}),
        "images": (frozenset({"debian"}), {"probes"}),
        "ipv6": ("near", {"probes"}),
    },
    Mirror: {
        "name": ("kyoto", {"plan", "probes"}),
        "url": ("http://kyoto.test/", {"plan", "probes"}),
        "addresses": ((ip_address("192.0.2.77"),), {"plan", "probes"}),
        "place": (Place(country="BR"), {"plan", "probes"}),
        "weight": (7, {"probes"}),
        "holds": (frozenset({"alpine"}), {"probes"}),
        "only": (("FR",), {"plan", "probes"}),
        "prefer": (("FR",), {"plan", "probes"}),
        "never": (("JP",), {"plan", "probes"}),
    },
    HealthSettings: {
        "interval": (20.0, {"probes"}),
        "timeout": (1.0, {"probes"}),
        "up": (9, {"probes"}),
        "ok": (1, {"probes"}),
        "down": (9, {"probes"}),
        "probe": ("none", {"probes"}),
        "damping": (1.0, {"probes"}),
        "ramp": (60.0, {"probes"}),
        "spill": (1.1, {"probes"}),
    },
    RepositorySettings: {
        "root": (Path("elsewhere"), {"probes"}),
        "images": (("debian",), {"probes"}),
        "lag": (60.0, {"probes"}),
    },
    ServerSettings: {
        "listen": ((HERE,), {"start"}),
        "http": (HERE, {"start"}),
        "token_file": (Path("t"), {"start"}),
        "rtt": (HERE, {"start"}),
        "workers": (3, {"start"}),
        "nsid": ("x", {"start"}),
        "cookies": (Path("c"), {"start"}),
        "rate_limit": (5, {"start"}),
        "tls": (None, {"start"}),
        "query_log": (QueryLogSettings(Path("q")), {"live"}),
        "share": (None, {"start"}),
        "vantages": ((Vantage("fra1", bytes(32)),), {"live"}),
    },
    TlsSettings: {
        "certificate": (Path("d"), {"start"}),
        "key": (Path("d"), {"start"}),
        "listen": ((), {"start"}),
    },
    ShareSettings: {
        "url": ("redis://b", {"start"}),
        "key": (Path("k"), {"start"}),
        "password": (Path("p"), {"start"}),
        "quorum": (2, {"live"}),
        "limit": (0.1, {"live"}),
    },
}
ELSEWHERE = {
    Zone: {"file", "world", "records", "round_trips_file"}  # the name of the file itself; and see below
}


def changed(kind: type, key: str, value: Any) -> Zone:
    """BEFORE with one key changed."""
    if kind is Zone:
        return replace(BEFORE, **{key: value})
    if kind is Select:
        return replace(BEFORE, select=(replace(BEFORE.select[0], **{key: value}),))
    if kind is Mirror:
        return replace(BEFORE, mirrors=(replace(BEFORE.mirrors[0], **{key: value}), *BEFORE.mirrors[1:]))
    if kind in (HealthSettings, RepositorySettings, ServerSettings):
        section = {HealthSettings: "health", RepositorySettings: "repository", ServerSettings: "server"}[kind]
        return replace(BEFORE, **{section: replace(getattr(BEFORE, section), **{key: value})})
    assert BEFORE.server is not None
    section = "tls" if kind is TlsSettings else "share"
    part = replace(getattr(BEFORE.server, section), **{key: value})
    return replace(BEFORE, server=replace(BEFORE.server, **{section: part}))


@cache
def plan_before() -> tuple[bytes, list[int]]:
    return plan_of(BEFORE)


def plan_of(zone: Zone) -> tuple[bytes, list[int]]:
    planner = Planner([zone], TABLE, {})
    verdicts = {zone.name: {mirror.name: Verdict(State.UP, 30.0) for mirror in zone.mirrors}}
    plan = planner.plan(verdicts, 1)
    return b"".join(encode(plan)), planner.ttls(plan, verdicts)


def effects(after: Zone, tmp_path: Path) -> Iterator[str]:
    if plan_of(after) != plan_before():
        yield "plan"
    if not Monitor(BEFORE, tmp_path).fits(after):
        yield "probes"
    if _only_at_start(BEFORE.server, after.server):
        yield "start"
    elif after.server != BEFORE.server:
        yield "live"


def test_the_table_has_every_key() -> None:
    for kind, keys in KEYS.items():
        names = {field.name for field in fields(kind)} - ELSEWHERE.get(kind, set())
        assert keys.keys() == names, kind.__name__
    assert {"query_log"} == _LIVE, "vantages and parts of share: app/server/voices/sharing.py"


@pytest.mark.parametrize(("kind", "key"), [(kind, key) for kind, keys in KEYS.items() for key in keys])
def test_what_a_reload_does_with_it(kind: type, key: str, tmp_path: Path) -> None:
    value, wanted = KEYS[kind][key]
    found = set(effects(changed(kind, key, value), tmp_path))
    assert wanted <= found, f"{kind.__name__}.{key}: {found}"
    assert found, "a change that nobody sees"
    if kind in (ServerSettings, TlsSettings, ShareSettings):
        assert found == wanted


def made(number: int) -> bytes:
    """An empty table, made at another time; its checksum differs by its sources."""
    starts = [(b"\0" * size, b"\0" * 4, b"\xff", b"\xff", b"\0") for size in (4, 8)]
    return b"".join(encode_table(float(number), *starts, encode_place(UNKNOWN), [f"SOURCE{number}"]))


def test_files_that_a_zone_names_are_read_anew_when_it_names_others(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"{number}.zone").write_text(f"www IN A 192.0.2.{number}\n")
        (tmp_path / f"{number}.table").write_bytes(made(number))
    text = (
        "zone: zone.test\ncontact: a@zone.test\nserial: 1\nnameservers: {{ns1.zone.test: [192.0.2.53]}}\n"
        "world: {0}.table\nrecords: {1}.zone\nselect: [{{name: select}}]\nhealth: {{probe: none}}\n"
        "mirrors: {{tokyo: {{url: 'http://tokyo.test/', addresses: [192.0.2.1], place: {{country: JP}}}}}}\n"
    )
    path = tmp_path / "zone.yaml"
    path.write_text(text.format(1, 1))
    files = Files((path,))
    worlds = [files.load()]
    for world, records in ((2, 1), (2, 2)):
        path.write_text(text.format(world, records))
        worlds.append(files.load(worlds[-1]))
    first, second, third = worlds
    assert first.table is not None and second.table is not None
    assert first.table.checksum != second.table.checksum and first.records == second.records
    assert second.records != third.records
