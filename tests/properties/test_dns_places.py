"""The plan against plain code: for random maps, zones and verdicts the arrays say what rank() says, scopes are exact,
and the reference and the answering path give the same answers."""

from __future__ import annotations

import array
import random
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import dns.edns
import dns.message
import dns.rrset
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrornet.dns.message import edns, rrset, wire
from mirrornet.dns.message.cookies import Cookies
from mirrornet.dns.message.gate import Gate
from mirrornet.dns.message.rrset import RRset, name_to_wire
from mirrornet.dns.planning.crowding import limits_in
from mirrornet.dns.planning.hops import graph_of, terms_of
from mirrornet.dns.planning.plan import Planner
from mirrornet.dns.planning.planfile import Plan, decode, encode
from mirrornet.dns.ranking.barring import barring_of
from mirrornet.dns.ranking.estimate import located
from mirrornet.dns.ranking.nearest import rank
from mirrornet.dns.ranking.policy import policy_of
from mirrornet.dns.ranking.promise import answer_ttl, waiting
from mirrornet.dns.ranking.rendezvous import place_key
from mirrornet.dns.ranking.whereabouts import placed_mirrors, whereabouts
from mirrornet.dns.records import rdata
from mirrornet.dns.reference import Reference
from mirrornet.dns.serving import counters
from mirrornet.dns.serving.answer import Responder
from mirrornet.model import links
from mirrornet.model.address import Address, Family, Prefix, fold, mask, parse_prefix, width
from mirrornet.model.place import UNKNOWN, Evidence, Place
from mirrornet.model.sets import SECTION, NamedSet, PrefixRange, Sets, is_route_set
from mirrornet.model.sets import encode as encode_sets
from mirrornet.model.table import WorldTable, encode_place
from mirrornet.model.table import encode as encode_table
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import Mirror, Pin, PlaceOverride, Select, Zone
from mirrornet.radb.compiling.tries import Tries

SETS = ["RADB::AS-ONE", "RADB::AS-TWO", "RIPE::AS64500:RS-ONE", "RIPE::RS-TWO", "RADB::AS-MISSING"]
ROUND_TRIPS = {("JP", "DE"): 160.0, ("continent:EU", "continent:SA"): 210.5, ("region:japan", "continent:NA"): 99.0}
COUNTRIES = ["JP", "DE", "BR", "ZA", "US", "AU", "", "XX"]
CARRIERS = ["::/64", "64:ff9b::/64", "2001::/32", "2002::/16"]
IPV6_STARTS = [
    int(IPv6Address(text)) >> 64
    for text in ("64:ff9b::", "2001::", "2001:1::", "2002::", "2003::", "2400::", "2a00::", "2a00:1::", "2a00:1:0:8::")
]


def random_place(dice: random.Random) -> Place:
    kind = dice.random()
    asn = dice.choice([0, 0, 64500, 64501, 64502, 3])
    country = dice.choice(COUNTRIES)
    if kind < 0.15:
        return Place(asn=asn)
    if kind < 0.3:
        return Place(asn=asn, country=country, country_from=Evidence.DELEGATED)
    point = dice.choice([(0.0, 0.0), (35.5, 139.5), (36.0, 140.0), (50.0, 8.5), (-23.5, -46.5), (90.0, 0.0)])
    return Place(
        asn=asn,
        country=country,
        latitude=point[0],
        longitude=point[1] + dice.choice([0, 0, 1, 2.5]),
        radius_km=dice.choice([0, 0, 500, 3000]),
        anycast=kind > 0.9,
    )


def random_table(dice: random.Random, sizes: int = 12) -> WorldTable:
    places = [UNKNOWN] + [random_place(dice) for _ in range(dice.randint(1, 8))]
    families = []
    for code, starts in (
        (
            "I",
            {dice.getrandbits(dice.choice([3, 8, 32])) << dice.choice([0, 8, 24]) & 0xFFFFFFFF for _ in range(sizes)},
        ),
        ("Q", {dice.choice(IPV6_STARTS) + dice.choice([0, 0, 1, 1 << 20]) for _ in range(sizes)}),
    ):
        starts = sorted({0} | starts)
        numbers = [dice.randrange(len(places)) for _ in starts]
        lengths = [dice.choice([8, 16, 255]) for _ in starts]
        families.append(
            (
                array.array(code, starts).tobytes(),
                array.array("I", numbers).tobytes(),
                bytes(lengths),
                bytes(0 if length < 255 else 255 for length in lengths),
                bytes(len(lengths)),
            )
        )
    records = b"".join(map(encode_place, places))
    extra = {SECTION: encode_sets(random_sets(dice))} if dice.random() < 0.9 else {}
    if dice.random() < 0.5:
        ases = [64500, 64501, 64502, 3, 7, 8]
        extra[links.SECTION] = links.encode((*dice.sample(ases, 2), dice.choice([-1, 0])) for _ in range(6))
    return WorldTable(b"".join(encode_table(0.0, families[0], families[1], records, ["RADB"], extra)))


def random_prefix(dice: random.Random) -> Prefix:
    family: Family = dice.choice([4, 6])
    length = dice.choice([1, 3, 8, 12, 20, width(family)])
    value = dice.getrandbits(32) if family == 4 else dice.choice(IPV6_STARTS) + dice.choice([0, 0, 1, 1 << 20])
    return Prefix(family, mask(family, value, length), length)


def random_sets(dice: random.Random) -> list[NamedSet]:
    """Loops, empty sets and missing members included."""
    made = []
    for name in SETS[:-1]:
        asns = dice.sample([64500, 64501, 64502, 3, 9999], dice.choice([0, 0, 1, 3]))
        ranges = [PrefixRange(p, p.length, 32) for p in (random_prefix(dice) for _ in range(dice.choice([0, 1, 4])))]
        inner = dice.sample(SETS, dice.choice([0, 1, 2]))
        made.append(NamedSet(name, tuple(asns), tuple(inner), tuple(ranges) if is_route_set(name) else ()))
    return made


def random_mirror(dice: random.Random, number: int) -> Mirror:
    addresses: list[Address] = []
    if dice.random() < 0.8:
        addresses.append(IPv4Address(dice.getrandbits(32)))
    if dice.random() < 0.5:
        addresses.append(IPv6Address(dice.choice(IPV6_STARTS) << 64 | number))
    policies: list[tuple[str, ...]] = [(), (), (), (), (), ("AS64500",), ("JP",), ("continent:EU", "AS3")]
    policies += [("BR", "ZA", "continent:AS"), (str(random_prefix(dice)), "JP"), (dice.choice(SETS),)]
    policies += [(str(random_prefix(dice)), dice.choice(SETS), "AS64501")]
    name = f"m{number:02}"
    return Mirror(
        name=name,
        url=f"{dice.choice(['http', 'http', 'https'])}://{name}.example{dice.choice(['', ':8080/os'])}",
        addresses=tuple(addresses),
        place=random_place(dice) if dice.random() < 0.8 else UNKNOWN,
        weight=dice.choice([100, 100, 10, 1, 0]),
        holds=dice.choice([None, None, None, frozenset({"debian"})]),
        only=dice.choice(policies),
        prefer=dice.choice(policies),
        never=dice.choice(policies),
    )


def random_zone(dice: random.Random, mirrors: int) -> Zone:
    overrides: dict[Prefix, PlaceOverride] = {}
    for _ in range(dice.choice([0, 0, 2])):
        family: Family = dice.choice([4, 6])
        length = dice.choice([1, 8, 20, width(family)])
        value = mask(family, dice.getrandbits(32) if family == 4 else dice.choice(IPV6_STARTS), length)
        place = random_place(dice)
        if place.latitude is not None:
            place = replace(place, latitude=round(place.latitude - 0.123456789, 9))  # not a single-precision number
        prefix = Prefix(family, value, length)
        overrides[prefix] = PlaceOverride(prefix, place)
    return Zone(
        file=Path("z.yaml"),
        name="inetboot.test",
        contact="host.master@inetboot.test",
        serial=7,
        nameservers={"ns1.inetboot.test": (IPv4Address("192.0.2.53"), IPv6Address("2001:db8::53"))},
        world=None,
        select=(
            Select(
                "select",
                "http://select.inetboot.test/",
                answers=dice.choice([1, 2, 3]),
                ttl=20,
                ipv6=dice.choice(["all", "near"]),
            ),
            Select("@", "https://inetboot.test/", answers=2, ttl=60, images=frozenset({"debian", "other"})),
        )[: dice.choice([1, 2])],
        mirrors=tuple(random_mirror(dice, n) for n in range(mirrors)),
        places=tuple(overrides.values()),
        round_trips=dice.choice([{}, ROUND_TRIPS]),
        pins=tuple(random_pins(dice, mirrors).values()),
    )


def random_pins(dice: random.Random, mirrors: int) -> dict[Prefix, Pin]:
    names = [f"m{n:02}" for n in range(mirrors)]
    prefixes = [random_prefix(dice) for _ in range(dice.choice([0, 0, 1, 3]))]
    return {p: Pin(p, tuple(dice.sample(names, min(mirrors, dice.choice([1, 2, 3]))))) for p in prefixes}


def random_verdicts(dice: random.Random, zone: Zone) -> dict[str, Verdict]:
    healthy = dice.choice([0.0, 0.5, 0.9, 1.0])
    found = {}
    for mirror in zone.mirrors:
        state = dice.choice([State.UP, State.UP, State.LAGGING, State.SLOW])
        if dice.random() > healthy:
            state = dice.choice(list(State))
        if dice.random() < 0.95:
            found[mirror.name] = Verdict(
                state,
                promise=dice.choice([1.0, 3.5, 30.0, float("inf")]),
                serves_select=dice.choice([None, True, True, False]),
                holds=dice.choice([None, None, frozenset({"debian", "other"}), frozenset()]),
                families=dice.choice([None, None, None, frozenset({4}), frozenset({6})]),
                share=dice.choice([1.0, 1.0, 1.0, 0.9, 0.5, 0.1, 0.0]),
                barred=dict.fromkeys(random_items(dice), "a vantage says so") if dice.random() < 0.3 else {},
            )
    return found


def random_items(dice: random.Random) -> list[str]:
    """What may bar a mirror; the last two mean nobody."""
    items = ["AS64500", "JP", "continent:EU", "AS3", "RADB::AS-ONE", "10.0.0.1/8"]
    return dice.sample([*items, str(random_prefix(dice)), str(random_prefix(dice))], dice.choice([1, 2, 3]))


def random_values(dice: random.Random, table: WorldTable, family: Family, count: int) -> list[int]:
    starts = list(table.ranges[family].starts)
    top = (1 << width(family)) - 1
    around = [start + step for start in starts for step in (-1, 0, 1)]
    drawn = [dice.getrandbits(width(family)) for _ in range(count)]
    return [value for value in dice.sample(around, min(len(around), count)) + drawn if 0 <= value <= top]


def edges(zone: Zone, family: Family, verdicts: dict[str, Verdict] | None = None) -> list[int]:
    """On both sides of where a pin or a prefix item begins and ends, in the zone or in what is barred."""
    written = {i for m in zone.mirrors for i in (*m.only, *m.prefer, *m.never) if "/" in i}
    written |= {i for verdict in (verdicts or {}).values() for i in verdict.barred if "/" in i} - {"10.0.0.1/8"}
    prefixes = [p for p in (*map(parse_prefix, written), *(pin.prefix for pin in zone.pins)) if p.family == family]
    around = {value for p in prefixes for value in (p.value - 1, p.value, p.last, p.last + 1)}
    return sorted(value for value in around if 0 <= value < 1 << width(family))


def random_measured(dice: random.Random, table: WorldTable, zone: Zone) -> dict[int, dict[str, float]]:
    """Now and then a round trip that clients in one of the map's places measured to a mirror."""
    found: dict[int, dict[str, float]] = {}
    for number in range(table.place_count if dice.random() < 0.5 else 0):
        for mirror in zone.mirrors:
            if dice.random() < 0.2:
                found.setdefault(place_key(located(table.place(number))), {})[mirror.name] = dice.uniform(1, 400)
    return found


def as_address(family: Family, value: int) -> Address:
    return IPv4Address(value) if family == 4 else IPv6Address(value << 64)


def planned(plan: Plan, name: str, rtype: int, family: Family, value: int) -> tuple[set[bytes], int | None, int]:
    """(records, slot, scope) of the plan; no records where there is no entry."""
    entry = plan.nodes[name_to_wire(name)].entries.get(rtype)
    if entry is None or entry.partition < 0:
        assert entry is None or entry.rrsets == (None,)
        return set(), None, 0
    answer, scope = plan.partitions[entry.partition].family(family).find(value)
    found = entry.rrsets[answer]
    return (set(found.rdatas), entry.slots[answer], scope) if found else (set(), None, scope)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 14))
def test_plan_says_what_rank_says(seed: int, mirrors: int) -> None:
    dice = random.Random(seed)
    table = random_table(dice)
    zone = random_zone(dice, mirrors)
    verdicts = random_verdicts(dice, zone)
    measured = random_measured(dice, table, zone)
    planner = Planner([zone], table, {}, {zone.name: measured})
    plan = decode(b"".join(encode(planner.plan({zone.name: verdicts}, 3))))
    ttls = planner.ttls(plan, {zone.name: verdicts})
    placed = placed_mirrors(zone, table.match)
    by_name = {m.name: m for m in placed}
    policy = policy_of(zone, Sets.read(table.section(SECTION)))
    terms = terms_of(zone, placed, graph_of(table), measured)
    barring = barring_of(placed, verdicts)
    for select in zone.select:
        fqdn = zone.select_fqdn(select)
        for family in (4, 6):
            for value in random_values(dice, table, family, 8) + edges(zone, family, verdicts):
                address = as_address(family, value)
                if family == 6 and fold(address) != address:
                    continue
                place = whereabouts(zone, table.match, address).place
                barred = barring.of(place, address)
                full = limits_in(plan.notes).get(zone.name, {}).get(select.name, {})
                ranking = rank(place, select, placed, verdicts, policy.of(place, address), terms, barred, full)
                ordered = [by_name[name] for name in ranking.ordered]
                expected = set(rdata.Scribe(zone, select, placed).uri(ordered).rdatas)
                records, slot, _ = planned(plan, f"_http._tcp.{fqdn}", rrset.URI, family, value)
                assert records == expected
                if slot is not None:
                    inside = [verdicts.get(n, Verdict(State.UNKNOWN, 1)) for n in ranking.ordered]
                    names = waiting(select, placed, verdicts)
                    others = [verdicts.get(n, Verdict(State.UNKNOWN, 1)) for n in names]
                    assert ttls[slot] == answer_ttl(select.ttl, inside, others)
                for wanted, rtype in ((4, rrset.A), (6, rrset.AAAA)):
                    near = [by_name[name] for name in ranking.near[wanted]]
                    records, _, _ = planned(plan, fqdn, rtype, family, value)
                    assert records == set(rdata.address_set(wanted, near, 1).rdatas)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(9, 20))
def test_long_lists_keep_what_they_must_and_draws_obey_weights(seed: int, mirrors: int) -> None:
    """Many mirrors of one AS and of IPv4, few of others: the list of eight is not simply the first eight."""
    dice = random.Random(seed)
    table = random_table(dice)
    made = []
    for number in range(mirrors):
        addresses: tuple[Address, ...] = (IPv4Address(0xC0000200 + number),)
        if dice.random() < 0.1:
            addresses = (IPv6Address(0x20010DB8 << 96 | number),)
        place = Place(dice.choice([64500] * 9 + [64501]), "JP", 35.0, dice.choice([139.0, 140.0, 10.0, -100.0]))
        url = f"http://m{number:02}.test/"
        made.append(Mirror(f"m{number:02}", url, addresses, place, weight=dice.choice([0, 0, 1, 2, 100])))
    zone = replace(random_zone(dice, 1), mirrors=tuple(made), places=(), pins=())
    verdicts = {m.name: Verdict(dice.choice([State.UP] * 4 + [State.SLOW]), 9.0) for m in made}
    plan = Planner([zone], table, {}).plan({zone.name: verdicts}, 1)
    placed = placed_mirrors(zone, table.match)
    select, fqdn = zone.select[0], zone.select_fqdn(zone.select[0])
    lists = {rtype: plan.notes["answers"].get(owner) for rtype, owner in ((1, f"{fqdn} A"), (28, f"{fqdn} AAAA"))}
    lists[256] = plan.notes["answers"][f"_http._tcp.{fqdn} URI"]
    terms = terms_of(zone, placed, graph_of(table))
    for value in random_values(dice, table, 4, 12):
        full = limits_in(plan.notes).get(zone.name, {}).get(select.name, {})
        ranking = rank(table.match(IPv4Address(value)).place, select, placed, verdicts, terms=terms, limits=full)
        for rtype, owner, names in (
            (256, f"_http._tcp.{fqdn}", ranking.ordered),
            (1, fqdn, ranking.near[4]),
            (28, fqdn, ranking.near[6]),
        ):
            entry = plan.nodes[name_to_wire(owner)].entries[rtype]
            found = lists[rtype]
            if entry.partition < 0 or found is None:
                assert names == ()
                continue
            assert tuple(found[plan.partitions[entry.partition].ranges4.find(value)[0]]) == names


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 5))
def test_scopes_are_exact(seed: int, mirrors: int) -> None:
    """All addresses in a scope get the same answer, and one bit less would reach another answer (or a carrier)."""
    dice = random.Random(seed)
    table = random_table(dice)
    zone = random_zone(dice, mirrors)
    plan = Planner([zone], table, {}).plan({zone.name: random_verdicts(dice, zone)}, 1)
    carriers = [Prefix(6, int(IPv6Address(t.split("/")[0])) >> 64, int(t.split("/")[1])) for t in CARRIERS]
    for node in plan.nodes.values():
        for entry in node.entries.values():
            if entry.partition < 0:
                continue
            both = plan.partitions[entry.partition]
            alone = len({*map(int, both.ranges4.answers), *map(int, both.ranges6.answers)}) == 1
            for family in (4, 6):
                ranges = both.family(family)
                starts = [int(s) for s in ranges.starts]
                assert starts[0] == 0 and starts == sorted(set(starts))

                def answers_in(block: Prefix, starts=starts, ranges=ranges) -> set[int]:
                    first = ranges.find(block.value)[0]
                    inside = {int(a) for s, a in zip(starts, ranges.answers, strict=True) if s in block}
                    return inside | {int(first)}

                for value in random_values(dice, table, family, 4) + edges(zone, family):
                    answer, scope = (int(n) for n in ranges.find(value))
                    block = Prefix(family, mask(family, value, scope), scope)
                    assert answers_in(block) == {answer}
                    if family == 6:
                        touched = [c for c in carriers if c.value in block or block.value in c]
                        assert alone or all(c == block or block in c for c in touched)
                    if alone:
                        assert scope == 0
                    elif scope > 1:
                        wider = Prefix(family, mask(family, value, scope - 1), scope - 1)
                        reaches = any((c in wider and c != block) or c == block for c in carriers) and family == 6
                        assert answers_in(wider) != {answer} or reaches


RECORDS = {
    "inetboot.test": [("MX", 15, b"\x00\x0a\x04mail\x08inetboot\x04test\x00"), ("TXT", 16, b"\x02hi")],
    "mail.inetboot.test": [("A", 1, bytes([192, 0, 2, 1]))],
    "www.inetboot.test": [("CNAME", 5, b"\x04mail\x08inetboot\x04test\x00")],
    "dangling.inetboot.test": [("CNAME", 5, b"\x04none\x08inetboot\x04test\x00")],
    "alias.inetboot.test": [("CNAME", 5, b"\x06select\x08inetboot\x04test\x00")],
    "*.wild.inetboot.test": [("A", 1, bytes([192, 0, 2, 2]))],
    "sub.inetboot.test": [("NS", 2, b"\x02ns\x03sub\x08inetboot\x04test\x00")],
    "ns.sub.inetboot.test": [("A", 1, bytes([192, 0, 2, 3]))],
}


def static_records() -> dict[bytes, dict[int, RRset]]:
    return {
        name_to_wire(name): {rtype: RRset(rtype, 111, (data,)) for _, rtype, data in records}
        for name, records in RECORDS.items()
    }


def tailored_questions(plan: Plan) -> list[tuple[bytes, int]]:
    return [(n, t) for n, node in plan.nodes.items() for t, e in node.entries.items() if e.partition >= 0]


NOW = 1_800_000_000
COOKIES = Cookies([b"sixteen octets, "])


def random_query(
    dice: random.Random, names: list[bytes], tailored: list[tuple[bytes, int]], table: WorldTable, zone: Zone
) -> tuple[bytes, bytes, int]:
    """(packet, peer, transport)"""
    name = dice.choice(names)
    chance = dice.random()
    peer_family: Family = dice.choice([4, 6])
    value = dice.choice(random_values(dice, table, peer_family, 2))
    peer = value.to_bytes(4, "big") if peer_family == 4 else (value << 64).to_bytes(16, "big")
    transport = dice.choice([wire.UDP, wire.UDP, wire.TCP, wire.TLS])
    chosen = dice.choice(tailored) if tailored and dice.random() < 0.6 else None
    if chosen:
        name, chance = chosen[0], 1.0
    if chance < 0.1:
        name = dice.choice([b"\x03foo", b"\x01*", b"\x03a\xffb", b"\x04wild", b"\x03sub"]) + name
    elif chance < 0.13:
        name = b"\x07example\x03com\x00"
    if dice.random() < 0.3:
        name = bytes(o ^ 32 if 97 <= o <= 122 and dice.random() < 0.3 else o for o in name)
    qtype = dice.choice([1, 1, 28, 28, 33, 256, 256, 16, 2, 6, 5, 15, 43, 255, 252, 65, 666])
    if chosen:
        qtype = chosen[1]
    flags = dice.choice([0, 0, 0, 0x0100, 0x0100, 0x0100, 0x0110, 0x0020, 0x0400, 0x0030, 0x0040])
    if dice.random() < 0.02:
        flags |= dice.choice([0x8000, 0x2000, 0x0800])
    qclass = dice.choice([1] * 20 + [3, 255])
    opt = b""
    if dice.random() < 0.85:
        options = b""
        if dice.random() < 0.8:
            family = dice.choice([4, 4, 6, 6])
            value = dice.choice(random_values(dice, table, family, 3) + edges(zone, family))
            full = (
                value
                if family == 4
                else dice.choice(
                    [
                        value << 64 | dice.getrandbits(64),
                        value << 64,
                        0xFFFF << 32 | dice.getrandbits(32),
                        int(IPv6Address("64:ff9b::")) | dice.getrandbits(32),
                        0x2002 << 112 | dice.getrandbits(32) << 80,
                        0x20010000 << 96 | dice.getrandbits(96),
                    ]
                )
            )
            bits = 32 if family == 4 else 128
            source = dice.choice([0, 8, 16, 20, 24, 32, 48, 56, 64, 96, 100, 128])
            source = min(source, bits)
            full = full >> (bits - source) << (bits - source)
            data = full.to_bytes(bits // 8, "big")[: (source + 7) // 8]
            if dice.random() < 0.03:
                data += b"\0"
            ecs = (1 if family == 4 else 2).to_bytes(2, "big") + bytes([source, 0]) + data
            options += b"\0\x08" + len(ecs).to_bytes(2, "big") + ecs
        if dice.random() < 0.1:
            options += b"\0\x03\0\0"
        if dice.random() < 0.3:
            client = dice.randbytes(8)
            cookie = dice.choice(
                [
                    client,
                    COOKIES.make(client, peer, NOW - dice.choice([0, 1900, 4000, -200])),
                    client + dice.randbytes(16),
                ]
            )
            options += b"\0\x0a" + len(cookie).to_bytes(2, "big") + cookie
        if dice.random() < 0.1:
            options = dice.choice([b"\0\x0b\0\0", b"\0\x0c\0\x09" + bytes(9), b"\xff\xfe\0\1x"]) + options
        size = dice.choice([0, 512, 1232, 4096])
        do = dice.choice([0, 0x80])
        version = dice.choice([0] * 30 + [1])
        opt = (
            b"\0\0\x29"
            + size.to_bytes(2, "big")
            + bytes([0, version, do, 0])
            + len(options).to_bytes(2, "big")
            + options
        )
    head = dice.getrandbits(16).to_bytes(2, "big") + flags.to_bytes(2, "big")
    counts = b"\0\1\0\0\0\0" + (b"\0\1" if opt else b"\0\0")
    packet = head + counts + name + qtype.to_bytes(2, "big") + qclass.to_bytes(2, "big") + opt
    if dice.random() < 0.01:
        packet = packet[: dice.randrange(len(packet))]
    return packet, peer, transport


def meaning(reply: bytes) -> object:
    """What a reply says, whatever the order of records and the compression of names."""
    message = dns.message.from_wire(reply)

    def section(sets: list[dns.rrset.RRset]) -> object:
        return sorted((s.name.to_text().lower(), s.rdtype, s.ttl, sorted(d.to_digestable() for d in s)) for s in sets)

    options = sorted(option.to_wire() for option in message.options if option.otype != edns.PADDING)
    sections = [section(part) for part in (message.answer, message.authority, message.additional)]
    return message.id, message.flags, message.rcode(), message.question, message.edns, options, sections


def compare(seed: int, mirrors: int, queries: int) -> int:
    """Asks both engines the same `queries` of a random world (as bench/equal_dns.py does); how many were answered."""
    dice = random.Random(seed)
    table = random_table(dice, 6)
    zone = random_zone(dice, mirrors)
    verdicts = {zone.name: random_verdicts(dice, zone)}
    records = {zone.name: static_records()}
    planner = Planner([zone], table, records)
    plan = decode(b"".join(encode(planner.plan(verdicts, 1))))
    gate = Gate(COOKIES, now=NOW)
    fast = Responder(plan, planner.ttls(plan, verdicts), nsid=b"me", gate=gate)
    plain = Reference(
        [zone], table, Tries.of_table(table).match, records, verdicts, nsid=b"me", gate=gate, full=limits_in(plan.notes)
    )
    names, tailored, answered = list(plan.nodes), tailored_questions(plan), 0
    for _ in range(queries):
        packet, peer, transport = random_query(dice, names, tailored, table, zone)
        ours, theirs = fast.respond(packet, peer, transport), plain.respond(packet, peer, transport)
        assert (ours is None) == (theirs is None)
        if ours is None or theirs is None:
            continue
        answered += 1
        if ours == theirs:
            continue
        assert meaning(ours) == meaning(theirs), (seed, mirrors, packet.hex(), peer.hex(), transport)
        padded = b"\0\x0c\0\x09" + bytes(9) in packet and ours[3] & 15 != 1
        if transport == wire.TLS and padded:
            assert len(ours) % 468 == len(theirs) % 468 == 0
    assert fast.counts[counters.SERVFAIL] == 0
    return answered


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12))
def test_reference_and_responder_answer_alike(seed: int, mirrors: int) -> None:
    assert compare(seed, mirrors, 60) > 40
