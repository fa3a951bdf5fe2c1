"""The planner: zones, the map and verdicts in, one immutable Plan out.

What never changes with a verdict is computed once, in the constructor: each zone's ground, the mirrors' places, the
spots and their estimates, the static names.  A plan() then sorts the spots' mirrors, numbers the answers that occur,
and hands place → answer to partition.py.  Entries whose maps are equal share a partition, within a plan and from one
plan to the next: a mirror without IPv6 that flips costs nothing in AAAA.

The TTLs are not in the plan: each answer names a slot, and ttls() fills the slots from the verdicts of the moment.

Rejected: patching the last plan (the whole costs less than a second at 1.3 million ranges, and cannot drift from the
truth); one partition for all types (a mirror without IPv6 would narrow the scopes of AAAA for nothing).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mirrornet.dns.message import rrset
from mirrornet.dns.message.rrset import RRset, ancestors, name_to_text, name_to_wire
from mirrornet.dns.planning.crowding import NO_CROWD
from mirrornet.dns.planning.field import Field
from mirrornet.dns.planning.ground import Ground, Numbers, columns, ground
from mirrornet.dns.planning.hops import graph_of, terms_of
from mirrornet.dns.planning.lists import List, Lists, arranged, indices, near_lists, ranked_lists
from mirrornet.dns.planning.partition import partition
from mirrornet.dns.planning.planfile import Entry, Node, Partition, Plan, ZoneInfo
from mirrornet.dns.planning.spots import Spots
from mirrornet.dns.planning.standing import all_up, standing_of
from mirrornet.dns.planning.wards import wards_of
from mirrornet.dns.ranking.barring import NOBODY, Names, barred_items
from mirrornet.dns.ranking.closing import NO_LIMITS
from mirrornet.dns.ranking.nearest import FAMILIES, Ranking, has_family, rank, under_url, verdict_of
from mirrornet.dns.ranking.policy import NOTHING, Held, Policy, policy_of
from mirrornet.dns.ranking.promise import answer_ttl, waiting
from mirrornet.dns.ranking.terms import Measured, Terms
from mirrornet.dns.ranking.whereabouts import NOWHERE, placed_mirrors
from mirrornet.dns.records import rdata
from mirrornet.model.address import Address, Family, key
from mirrornet.model.place import UNKNOWN
from mirrornet.model.sets import SECTION, Sets
from mirrornet.model.table import Match, WorldTable
from mirrornet.model.verdict import Verdicts
from mirrornet.model.zone import Mirror, Select, Zone

TYPE_NAMES = {rrset.A: "A", rrset.AAAA: "AAAA", rrset.TXT: "TXT", rrset.URI: "URI", rrset.SRV: "SRV"}

NODATA = Entry((None,), (-1,))


@dataclass(slots=True)
class _Territory:
    """One zone and what of it outlives a plan."""

    zone: Zone
    mirrors: tuple[Mirror, ...]
    policy: Policy
    field: Field
    around: Field  # the mirrors' own places, for the lists near each of them
    static: dict[bytes, dict[int, RRset]]


@dataclass(frozen=True, slots=True)
class Survey:
    """What a zone's plans are made of, for who reckons with many places at once.

    `spot_of`: for each place of `ground` a row of `estimates`, -1 where distance says nothing.  `estimates`: 1/64 ms,
    one column for each of `mirrors`.
    """

    mirrors: tuple[Mirror, ...]
    ground: Ground
    spot_of: Numbers
    estimates: npt.NDArray[np.uint16]


@dataclass(slots=True)
class _Draft:
    """The plan being made."""

    entries: dict[bytes, dict[int, Entry]] = field(default_factory=dict)
    partitions: list[Partition] = field(default_factory=list)
    numbers: dict[bytes, int] = field(default_factory=dict)  # of partitions, by their maps
    slots: dict[tuple[str, str, Family | None, tuple[str, ...]], int] = field(default_factory=dict)
    answers: dict[str, list[list[str]]] = field(default_factory=dict)
    crowds: dict[str, dict[str, Any]] = field(default_factory=dict)  # Crowd.json(), by zone and select


class Planner:
    """Plans for `zones` over `table`, with each zone's static `records` (records/static.py) by zone name.

    `measured`: what clients reported (ranking/terms.py), by zone name.
    """

    def __init__(
        self,
        zones: Sequence[Zone],
        table: WorldTable | None,
        records: Mapping[str, dict[bytes, dict[int, RRset]]],
        measured: Mapping[str, Measured] | None = None,
    ) -> None:
        def find(address: Address) -> Match:
            return NOWHERE if table is None else table.match(address)

        sets = None if table is None else Sets.read(table.section(SECTION))
        graph = graph_of(table)
        self._territories = []
        shared: Ground | None = None
        for zone in zones:
            mirrors = placed_mirrors(zone, find)
            policy = policy_of(zone, sets)
            wards = wards_of(policy)
            if zone.places or len(wards.held) > 1:
                own = ground(table, zone, wards)
            else:
                own = shared = shared or ground(table, zone)
            static = rdata.static_sets(zone, records.get(zone.name, {}))
            terms = terms_of(zone, mirrors, graph, (measured or {}).get(zone.name))
            spots = Spots(own.columns, mirrors, policy, own.wards, terms)
            around = _around(mirrors, policy, terms)
            self._territories.append(_Territory(zone, mirrors, policy, Field(own, spots), around, static))
        self._kept: dict[bytes, Partition] = {}  # the last plan's partitions by their maps

    def plan(self, verdicts: Mapping[str, Verdicts], generation: int) -> Plan:
        """The plan for `verdicts` (by zone name, then by mirror name; a mirror without one counts as not probed)."""
        draft = _Draft()
        zones: dict[bytes, ZoneInfo] = {}
        nodes: dict[bytes, Node] = {}
        for territory in self._territories:
            draft.entries = {}
            for select in territory.zone.select:
                self._select(draft, territory, select, verdicts.get(territory.zone.name, {}))
            for name, types in territory.static.items():
                at_name = draft.entries.setdefault(name, {})
                for rtype, one in types.items():
                    if rtype in rdata.STATIC_WINS or rtype not in at_name:
                        at_name[rtype] = Entry((one,), (-1,))
            apex = name_to_wire(territory.zone.name)
            soa = territory.static[apex][rrset.SOA]
            zones[apex] = ZoneInfo(apex, soa, min(soa.ttl, rdata.SOA_TIMERS[3]))
            nodes.update(_tree(apex, draft.entries))
        self._kept = {key: draft.partitions[number] for key, number in draft.numbers.items()}
        describe = [
            {"zone": zone, "select": select, "family": family, "mirrors": list(mirrors)}
            for zone, select, family, mirrors in draft.slots
        ]
        notes = {"describe": describe, "answers": draft.answers, "crowds": draft.crowds}
        return Plan(generation, zones, nodes, draft.partitions, len(draft.slots), notes)

    def ttls(self, plan: Plan, verdicts: Mapping[str, Verdicts]) -> list[int]:
        """Seconds for each TTL slot of `plan`; they change with the verdicts without a new plan."""
        rivals: dict[tuple[str, str, Family | None], list[str]] = {}
        ceilings: dict[tuple[str, str], int] = {}
        for territory in self._territories:
            zone = territory.zone
            for select in zone.select:
                ceilings[zone.name, select.name] = select.ttl
                for family in (None, *FAMILIES):
                    names = waiting(select, territory.mirrors, verdicts.get(zone.name, {}), family)
                    rivals[zone.name, select.name, family] = names
        seconds = []
        for slot in plan.notes["describe"]:
            where = slot["zone"], slot["select"]
            known = verdicts.get(slot["zone"], {})
            inside = [verdict_of(name, known) for name in slot["mirrors"]]
            others = [verdict_of(name, known) for name in rivals[*where, slot["family"]]]
            seconds.append(answer_ttl(ceilings[where], inside, others))
        return seconds

    def survey(self, zone: str) -> Survey:
        """What the plans of the zone of this name are made of."""
        territory = next(one for one in self._territories if one.zone.name == zone)
        spots = territory.field.spots
        return Survey(territory.mirrors, territory.field.ground, spots.spot_of, spots.estimates)

    def _select(self, draft: _Draft, territory: _Territory, select: Select, verdicts: Verdicts) -> None:
        """All names of one select."""
        zone, mirrors = territory.zone, territory.mirrors
        standing = standing_of(select, mirrors, verdicts)
        items = barred_items(mirrors, verdicts)
        sight, around = territory.field.sight(items), territory.around.sight(items)
        dealt = territory.field.deal(select, standing, sight, NO_LIMITS)
        whole = standing_of(select, mirrors, all_up(verdicts, mirrors))
        crowd = territory.field.crowd(select, standing, whole, sight, dealt, zone.health.spill)
        if crowd is not NO_CROWD:
            draft.crowds.setdefault(zone.name, {})[select.name] = crowd.json()
        limits = crowd.limits
        if limits:
            dealt = territory.field.deal(select, standing, sight, limits)
        beside_dealt = territory.around.deal(select, standing, around, limits)
        # Places that say nothing about distance, once for each kind; the unknown place is answer 0.
        nobody = territory.policy.held(UNKNOWN), NOBODY
        index = {m.name: i for i, m in enumerate(mirrors)}
        fqdn = zone.select_fqdn(select)
        name = name_to_wire(fqdn)

        def unplaced(kinds: Sequence[tuple[Held, Names]]) -> list[Ranking]:
            return [
                rank(UNKNOWN, select, mirrors, verdicts, held, barred=barred, limits=limits)
                for held, barred in (nobody, *kinds)
            ]

        ranks = unplaced(sight.kinds)
        ranked = ranked_lists(dealt, sight, [indices(r.ordered, index) for r in ranks])
        others = [indices(r.ordered, index) for r in unplaced(around.kinds)]
        beside = ranked_lists(beside_dealt, around, others)

        usable = [verdict_of(m.name, verdicts).usable for m in mirrors]

        def down(one: Iterable[int]) -> bool:
            return not any(usable[i] for i in one)

        def put(at: bytes, lists: Lists, make: Callable[[list[Mirror]], RRset], family: Family | None = None) -> None:
            resorts = frozenset(number for number, one in enumerate(lists.lists) if one and down(one))
            self._put(draft, territory, select, sight.ground, at, lists, make, family, resorts)

        scribe = rdata.Scribe(zone, select, mirrors)
        draft.entries.setdefault(name, {})

        for family in FAMILIES:
            theirs = [tuple(sorted(indices(r.near[family], index))) for r in ranks]
            near = near_lists(dealt, sight, family, theirs).mapped(lambda one: arranged(one, mirrors))
            put(name, near, _addresses(family, scribe), family)
        put(name, ranked, scribe.txt)
        services = [("_http._tcp", False)]
        if any(m.tls for m in zone.candidates(select)):
            services.append(("_https._tcp", True))
        secure = [m.tls for m in mirrors]
        srv = {tls: _srv_filter(mirrors, tls, verdicts) for tls in (False, True)}
        for service, tls in services:
            at = name_to_wire(f"{service}.{fqdn}")
            draft.entries.setdefault(at, {})
            if not tls:
                put(at, ranked, scribe.uri)
            put(at, ranked.mapped(srv[tls]), scribe.srv)
        candidates = {m.name for m in zone.candidates(select)}
        for mirror in mirrors:
            if mirror.name not in candidates:
                continue
            own = name_to_wire(f"{mirror.name}.{fqdn}")
            draft.entries.setdefault(own, {})
            for family in FAMILIES:
                if has_family(mirror, family):
                    one = rdata.address_set(family, [mirror], rdata.MIRROR_TTL)
                    draft.entries[own][one.rtype] = Entry((one,), (-1,))
            near_it = beside.lists[beside.of_place[index[mirror.name]]]
            for service, tls in services:
                at = name_to_wire(f"{service}.{mirror.name}.{fqdn}")
                draft.entries.setdefault(at, {})
                urls = tuple(i for i in near_it if secure[i] or not tls)
                for members, build in ((urls, scribe.uri), (srv[tls](near_it), scribe.srv)):
                    made = build([mirrors[i] for i in members])
                    slot = _slot(draft, territory, select, None, members) if members else -1
                    resorts = frozenset({0} if down(members) else ())
                    entry = Entry((made,), (slot,), last_resort=resorts) if members else NODATA
                    draft.entries[at][made.rtype] = entry

    def _put(
        self,
        draft: _Draft,
        territory: _Territory,
        select: Select,
        ground: Ground,
        name: bytes,
        lists: Lists,
        make: Callable[[list[Mirror]], RRset],
        family: Family | None,
        last_resort: frozenset[int],
    ) -> None:
        """A tailored entry at `name`; where nobody would get a record, a static NODATA."""
        rtype = make([]).rtype
        if not any(lists.lists):
            draft.entries[name][rtype] = NODATA
            return
        mirrors = territory.mirrors
        sets = tuple(make([mirrors[i] for i in one]) if one else None for one in lists.lists)
        slots = tuple(_slot(draft, territory, select, family, one) if one else -1 for one in lists.lists)
        answers = lists.of_place.astype(np.int32).tobytes()
        key = hashlib.blake2b(answers, digest_size=16, key=ground.number.to_bytes(8, "big")).digest()
        number = draft.numbers.get(key)
        if number is None:
            draft.partitions.append(self._kept.get(key) or partition(ground, lists.of_place))
            number = draft.numbers[key] = len(draft.partitions) - 1
        draft.entries[name][rtype] = Entry(sets, slots, number, last_resort)
        owner = f"{name_to_text(name)} {TYPE_NAMES[rtype]}"
        draft.answers[owner] = [[mirrors[i].name for i in one] for one in lists.lists]


def _around(mirrors: Sequence[Mirror], policy: Policy, terms: Terms) -> Field:
    """The mirrors' own places, each in the ward of its first address."""
    numbers: dict[Held, int] = {NOTHING: 0}
    wards = [policy.ward(*key(m.addresses[0])) if m.addresses else NOTHING for m in mirrors]
    rows = np.array([numbers.setdefault(ward, len(numbers)) for ward in wards], np.int64)
    places = replace(columns(b"", [m.place for m in mirrors]), wards=rows)
    return Field(Ground(places, {}), Spots(places, mirrors, policy, list(numbers), terms), around=True)


def _addresses(family: Family, scribe: rdata.Scribe) -> Callable[[list[Mirror]], RRset]:
    return lambda members: scribe.addresses(family, members)


def _srv_filter(mirrors: Sequence[Mirror], tls: bool, verdicts: Verdicts) -> Callable[[List], List]:
    """Keeps of a list what may stand in SRV: serves under the select url, with (`tls`) or without TLS."""
    able = [m.tls == tls and under_url(m, verdict_of(m.name, verdicts)) for m in mirrors]
    return lambda one: tuple(i for i in one if able[i])


def _slot(draft: _Draft, territory: _Territory, select: Select, family: Family | None, one: List) -> int:
    names = tuple(sorted(territory.mirrors[i].name for i in one))
    return draft.slots.setdefault((territory.zone.name, select.name, family, names), len(draft.slots))


def _tree(apex: bytes, entries: Mapping[bytes, dict[int, Entry]]) -> dict[bytes, Node]:
    """The nodes of one zone, with the empty names between them and their zone (RFC 8020)."""
    nodes = {}
    for name, types in entries.items():
        nodes[name] = Node(types, cut=name != apex and rrset.NS in types)
        for above in ancestors(name)[1:]:
            if len(above) <= len(apex):
                break
            if above not in entries:
                nodes[above] = Node({})
    return nodes
