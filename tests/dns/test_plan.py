"""Plans by hand: the overlapping map, borders, what flips, TTLs, static records, names."""

from __future__ import annotations

import array
from ipaddress import IPv4Address, IPv4Network, IPv6Address, ip_address, ip_network
from pathlib import Path

import pytest

from mirrornet.dns.message import rrset
from mirrornet.dns.message.rrset import RRset, name_to_wire
from mirrornet.dns.planning.plan import Planner
from mirrornet.dns.planning.planfile import Entry, Plan, decode, encode
from mirrornet.model.address import Family, parse_prefix
from mirrornet.model.place import UNKNOWN, Place
from mirrornet.model.table import WorldTable, encode_place
from mirrornet.model.table import encode as encode_table
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import Mirror, PlaceOverride, Select, Zone

TOKYO = Place(2500, "JP", 35.68, 139.69)
PARIS = Place(3215, "FR", 48.86, 2.35)
DALLAS = Place(7018, "US", 32.78, -96.8)
UP = Verdict(State.UP, 30.0)


def table(*entries: tuple[str, Place]) -> WorldTable:
    """A table of nested prefixes, later ones over earlier ones; the rest is unknown."""
    places = [UNKNOWN, *dict.fromkeys(place for _, place in entries)]
    families = []
    for family, bits, code in ((4, 32, "I"), (6, 64, "Q")):
        prefixes = [(parse_prefix(text), place) for text, place in entries if parse_prefix(text).family == family]
        cuts = {0} | {p.value for p, _ in prefixes} | {p.last + 1 for p, _ in prefixes}
        starts = sorted(cut for cut in cuts if cut < 1 << bits)
        owners = [next(((q, pl) for q, pl in reversed(prefixes) if start in q), None) for start in starts]
        families.append(
            (
                array.array(code, starts).tobytes(),
                array.array("I", [places.index(o[1]) if o else 0 for o in owners]).tobytes(),
                bytes(o[0].length if o else 255 for o in owners),
                bytes(0 if o else 255 for o in owners),
                bytes(len(owners)),
            )
        )
    return WorldTable(b"".join(encode_table(0.0, *families, b"".join(map(encode_place, places)), ["RADB"])))


def mirror(name: str, place: Place, addresses: str, url: str = "") -> Mirror:
    return Mirror(name, url or f"http://{name}.test/", tuple(map(ip_address, addresses.split())), place)


MIRRORS = (
    mirror("tokyo", TOKYO, "192.0.2.1 2001:db8::1"),
    mirror("paris", PARIS, "192.0.2.2"),
    mirror("dallas", DALLAS, "192.0.2.3", "https://dallas.test:8443/os"),
)


def zone(name: str = "zone.test", mirrors: tuple[Mirror, ...] = MIRRORS, **keys: object) -> Zone:
    fields: dict[str, object] = {
        "file": Path("z.yaml"),
        "name": name,
        "contact": f"host.master@{name}",
        "serial": 1,
        "nameservers": {f"ns1.{name}": (IPv4Address("192.0.2.53"),), "ns.elsewhere.example": ()},
        "world": None,
        "select": (Select("select", f"http://select.{name}/", ttl=20),),
        "mirrors": mirrors,
    }
    return Zone(**(fields | keys))  # type: ignore[arg-type]


def planned(
    planner: Planner, generation: int = 1, name: str = "zone.test", **states: Verdict
) -> tuple[Plan, list[int]]:
    verdicts = {name: {m: states.get(m, UP) for m in ("tokyo", "paris", "dallas")}}
    plan = planner.plan(verdicts, generation)
    return decode(b"".join(encode(plan))), planner.ttls(plan, verdicts)


def entry(plan: Plan, name: str, rtype: int) -> Entry:
    return plan.nodes[name_to_wire(name)].entries[rtype]


def look(plan: Plan, text: str, name: str = "select.zone.test", rtype: int = rrset.A) -> tuple[list[str], int]:
    found = entry(plan, name, rtype)
    family: Family = 6 if ":" in text else 4
    value = int(ip_address(text)) >> (64 if family == 6 else 0)
    answer, scope = plan.partitions[found.partition].family(family).find(value)
    records = found.rrsets[answer]
    return [str(ip_address(data)) for data in records.rdatas] if records else [], scope


OVERLAP = table(("20.0.0.0/8", TOKYO), ("20.1.0.0/16", PARIS), ("2a00::/12", PARIS), ("2400::/12", TOKYO))


@pytest.mark.parametrize(
    ("client", "mirrors", "scope"),
    [
        ("20.2.3.4", ["192.0.2.1"], 15),  # not 8: 20.1.0.0/16 has another answer (RFC 7871 section 7.2.1)
        ("20.1.3.4", ["192.0.2.2"], 16),
        ("20.0.0.1", ["192.0.2.1"], 16),
        ("20.200.0.1", ["192.0.2.1"], 9),
        ("2400::1", ["192.0.2.1"], 12),
        ("2a00::1", ["192.0.2.2"], 12),
    ],
)
def test_overlapping_prefixes(client: str, mirrors: list[str], scope: int) -> None:
    plan, _ = planned(Planner([zone()], OVERLAP, {}))
    assert look(plan, client) == (mirrors, scope)


def test_unknown_places_get_the_answer_0() -> None:
    plan, _ = planned(Planner([zone()], OVERLAP, {}))
    found = entry(plan, "select.zone.test", rrset.A)
    assert look(plan, "21.0.0.1")[1] == 8  # its sibling 20.0.0.0/8 is known
    assert plan.partitions[found.partition].ranges4.find(int(IPv4Address("21.0.0.1")))[0] == 0
    assert found.rrsets[0] is not None and len(found.rrsets[0].rdatas) == 3


@pytest.mark.parametrize("carrier", ["::/64", "64:ff9b::/64", "2001::/32", "2002::/16"])
def test_no_scope_covers_addresses_that_carry_an_ipv4(carrier: str) -> None:
    plan, _ = planned(Planner([zone()], table(("20.0.0.0/8", TOKYO), ("8000::/1", PARIS)), {}))
    network = ip_network(carrier)
    for outside in (int(network[0]) - 1, int(network[-1]) + 1):
        if outside > 0:
            neighbour = IPv6Address(outside)
            _, scope = look(plan, str(neighbour))
            assert not ip_network((neighbour, scope), strict=False).overlaps(network)
    assert look(plan, str(network[0]))[1] == network.prefixlen


def test_scope_0_only_where_the_whole_world_has_one_answer() -> None:
    plan, _ = planned(Planner([zone()], None, {}))
    assert look(plan, "20.0.0.1")[1] == look(plan, "2a00::1")[1] == 0
    plan, _ = planned(Planner([zone()], table(("0.0.0.0/0", TOKYO), ("::/0", PARIS)), {}))
    assert look(plan, "20.0.0.1") == (["192.0.2.1"], 1) and look(plan, "200.0.0.1") == (["192.0.2.1"], 1)
    assert look(plan, "a000::1") == (["192.0.2.2"], 1)


def test_a_flip_moves_answers_and_leaves_other_partitions_alone() -> None:
    planner = Planner([zone()], OVERLAP, {})
    plan, _ = planned(planner)
    down, ttls = planned(planner, 2, paris=Verdict(State.DOWN, 3.0))
    assert look(plan, "20.1.3.4")[0] == ["192.0.2.2"]
    assert look(down, "20.1.3.4")[0] == ["192.0.2.3"]  # across the Atlantic, not by Suez to Tokyo
    assert (plan.generation, down.generation) == (1, 2)
    assert set(ttls) == {3, 20}  # what Paris could come back into, and AAAA, which it cannot
    first = planner.plan({"zone.test": dict.fromkeys(("tokyo", "paris", "dallas"), UP)}, 3)
    second = planner.plan({"zone.test": dict.fromkeys(("tokyo", "paris", "dallas"), UP)}, 4)
    assert all(a is b for a, b in zip(first.partitions, second.partitions, strict=True))


def test_ttl_is_the_shortest_promise_of_the_answer_and_a_second_when_all_are_down() -> None:
    planner = Planner([zone()], OVERLAP, {})
    plan, ttls = planned(planner, tokyo=Verdict(State.UP, 7.9), paris=Verdict(State.UP, 0.2))
    found = entry(plan, "select.zone.test", rrset.A)
    by_answer = {
        tuple(str(ip_address(d)) for d in one.rdatas): ttls[slot]
        for one, slot in zip(found.rrsets, found.slots, strict=True)
        if one
    }
    assert by_answer["192.0.2.1",] == 7 and by_answer["192.0.2.2",] == 1
    dead = Verdict(State.DOWN, 300.0)
    plan, ttls = planned(planner, tokyo=dead, paris=dead, dallas=dead)
    assert set(ttls) == {1} and look(plan, "20.1.3.4")[0] == ["192.0.2.2"]
    assert planner.ttls(plan, {"zone.test": dict.fromkeys(("tokyo", "paris", "dallas"), UP)}) == [20] * plan.slot_count


def test_a_promise_without_end_is_the_selects_ttl() -> None:
    _, ttls = planned(Planner([zone()], OVERLAP, {}), tokyo=Verdict(State.UP, float("inf")))
    assert set(ttls) == {20}


def test_families_srv_and_uri() -> None:
    plan, _ = planned(Planner([zone()], OVERLAP, {}))
    assert look(plan, "20.1.3.4", rtype=rrset.AAAA)[0] == ["2001:db8::1"]  # the only one with IPv6
    uri = entry(plan, "_http._tcp.select.zone.test", rrset.URI)
    answer, _ = plan.partitions[uri.partition].ranges4.find(int(IPv4Address("20.1.3.4")))
    records = uri.rrsets[answer]
    assert records is not None
    assert records.rdatas == (
        b"\0\1\0\1http://paris.test/#paris",
        b"\0\2\0\1https://dallas.test:8443/os#dallas",
        b"\0\3\0\1http://tokyo.test/#tokyo",
    )
    text = entry(plan, "select.zone.test", rrset.TXT).rrsets[answer]
    assert text is not None and text.rdatas[0] == b"\x1a1 http://paris.test/#paris"
    http = entry(plan, "_http._tcp.select.zone.test", rrset.SRV)
    found = http.rrsets[plan.partitions[http.partition].ranges4.find(int(IPv4Address("20.1.3.4")))[0]]
    target = name_to_wire("paris.select.zone.test")
    assert found is not None and found.rdatas[0] == b"\0\1\0\1\0\x50" + target and len(found.rdatas) == 2
    https = entry(plan, "_https._tcp.select.zone.test", rrset.SRV)
    assert [one.rdatas for one in https.rrsets if one] == [
        (b"\0\1\0\1\x20\xfb" + name_to_wire("dallas.select.zone.test"),)
    ]


def test_names_of_mirrors_and_empty_names() -> None:
    plan, _ = planned(Planner([zone()], OVERLAP, {}))
    own = entry(plan, "tokyo.select.zone.test", rrset.AAAA)
    assert own.partition == -1 and own.slots == (-1,)
    near = entry(plan, "_http._tcp.tokyo.select.zone.test", rrset.URI)
    assert near.partition == -1 and near.slots[0] >= 0
    assert near.rrsets[0] is not None and near.rrsets[0].rdatas[0].endswith(b"#tokyo")
    assert not plan.nodes[name_to_wire("_tcp.select.zone.test")].entries
    assert not plan.nodes[name_to_wire("_tcp.tokyo.select.zone.test")].entries
    assert name_to_wire("test") not in plan.nodes


def test_apex_and_records_file() -> None:
    text = RRset(rrset.TXT, 60, (b"\x02hi",))
    address = RRset(rrset.A, 60, (bytes(4),))
    cut = RRset(rrset.NS, 60, (name_to_wire("ns.sub.zone.test"),))
    records = {
        name_to_wire("zone.test"): {rrset.TXT: text, rrset.SOA: text, rrset.NS: text},
        name_to_wire("select.zone.test"): {rrset.TXT: text, rrset.A: address},
        name_to_wire("deep.er.zone.test"): {rrset.A: address},
        name_to_wire("sub.zone.test"): {rrset.NS: cut},
    }
    plan, _ = planned(Planner([zone()], OVERLAP, {"zone.test": records}))
    apex = plan.nodes[name_to_wire("zone.test")].entries
    soa = apex[rrset.SOA].rrsets[0]
    assert soa is not None and soa.rdatas[0].startswith(
        name_to_wire("ns1.zone.test") + b"\x0bhost.master" + name_to_wire("zone.test") + b"\0\0\0\1"
    )
    assert apex[rrset.TXT].rrsets == (text,)
    servers = apex[rrset.NS].rrsets[0]
    assert servers is not None and servers.rdatas[1] == name_to_wire("ns.elsewhere.example")
    assert entry(plan, "ns1.zone.test", rrset.A).rrsets[0] == RRset(rrset.A, 3600, (bytes([192, 0, 2, 53]),))
    assert entry(plan, "select.zone.test", rrset.TXT).rrsets == (text,)  # the operator's own TXT stands
    assert entry(plan, "select.zone.test", rrset.A).partition >= 0
    assert not plan.nodes[name_to_wire("er.zone.test")].entries
    assert plan.nodes[name_to_wire("sub.zone.test")].cut and not plan.nodes[name_to_wire("zone.test")].cut
    assert plan.zones[name_to_wire("zone.test")].negative_ttl == 60


def test_places_of_the_zone_file_know_better() -> None:
    override = PlaceOverride(parse_prefix("20.1.2.0/24"), Place(country="JP", latitude=35.0, longitude=139.0))
    plan, _ = planned(Planner([zone(places=(override,))], OVERLAP, {}))
    assert look(plan, "20.1.2.3") == (["192.0.2.1"], 24)
    assert look(plan, "20.1.3.4") == (["192.0.2.2"], 24)
    nets = [IPv4Network((address, look(plan, address)[1]), strict=False) for address in ("20.1.2.3", "20.1.3.4")]
    assert not nets[0].overlaps(nets[1])


def test_two_zones_two_selects_and_the_zone_itself_as_select() -> None:
    two = (Select("select", "http://select.zone.test/"), Select("@", "http://zone.test/", ttl=9))
    other = zone("other.example", mirrors=(MIRRORS[1],), places=(PlaceOverride(parse_prefix("20.0.0.0/8"), DALLAS),))
    planner = Planner([zone(select=two), other], OVERLAP, {})
    verdicts = {"zone.test": {m.name: UP for m in MIRRORS}, "other.example": {"paris": UP}}
    plan = planner.plan(verdicts, 1)
    assert look(plan, "20.1.3.4", "zone.test") == look(plan, "20.1.3.4", "select.zone.test") == (["192.0.2.2"], 16)
    assert entry(plan, "zone.test", rrset.A).partition == entry(plan, "select.zone.test", rrset.A).partition
    assert look(plan, "20.2.3.4", "select.other.example") == (["192.0.2.2"], 0)  # one mirror: one answer for all
    assert set(planner.ttls(plan, verdicts)) == {9, 20}
    assert len(plan.zones) == 2


def test_without_any_mirror_for_a_type_the_name_stands_and_says_nodata() -> None:
    plan, _ = planned(Planner([zone(mirrors=(MIRRORS[1],))], OVERLAP, {}))
    assert entry(plan, "select.zone.test", rrset.AAAA) == Entry((None,), (-1,))
    empty, ttls = planned(Planner([zone(mirrors=())], OVERLAP, {}))
    assert entry(empty, "select.zone.test", rrset.A).rrsets == (None,) and ttls == []
    assert plan.notes["answers"]["_http._tcp.select.zone.test URI"] == [["paris"]]
