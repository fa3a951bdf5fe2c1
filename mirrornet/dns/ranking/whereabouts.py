"""Where an address is, and where a mirror is, as one zone sees it.

The map (world.table) speaks first; the operator's `places:` in the zone file know better, longest prefix first, however
exact the map's own prefix was; the origin AS stays the map's unless the operator gives one, for `only`, `prefer` and
`never` go by it.  Of a mirror the zone file speaks first, and the map fills in what it leaves out, by the mirror's
first address.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from mirrornet.dns.ranking.estimate import located
from mirrornet.model.address import Address, Family, Prefix, key
from mirrornet.model.place import UNKNOWN, Place
from mirrornet.model.table import Match
from mirrornet.model.zone import Mirror, PlaceOverride, Zone

OPERATOR_SOURCE: Final = "places of the zone file"
NOWHERE: Final = Match(UNKNOWN, None, "")

# IPv6 prefixes with addresses that carry an IPv4 (model/address.py), in the upper 64 bits.  Of TUNNELS all addresses
# do; of ::/64 (v4-mapped) and 64:ff9b::/64 (NAT64) only those of one /96.
TUNNELS: Final = (Prefix(6, 0x20010000 << 32, 32), Prefix(6, 0x2002 << 48, 16))  # Teredo, 6to4
CARRIERS: Final = (Prefix(6, 0, 64), Prefix(6, 0x0064FF9B << 32, 64), *TUNNELS)

Find = Callable[[Address], Match]


def overlaid(override: Place, place: Place) -> Place:
    """The operator's `override` on what the map says of the same address."""
    return replace(override, asn=override.asn or place.asn)


def override_of(zone: Zone, family: Family, value: int) -> PlaceOverride | None:
    """The longest `places:` prefix of `zone` that holds the address `value` (width(family) bits)."""
    found = [o for o in zone.places if o.prefix.family == family and value in o.prefix]
    return max(found, key=lambda o: o.prefix.length, default=None)


def whereabouts(zone: Zone, find: Find, address: Address) -> Match:
    """What `zone` takes for the place of `address`; `find` is the look-up in the map."""
    match = find(address)
    override = override_of(zone, *key(address))
    if override is None:
        return match
    return Match(overlaid(override.place, match.place), override.prefix, OPERATOR_SOURCE)


def completed(place: Place, found: Place) -> Place:
    """`place` as the zone file has it, with what it leaves out taken from `found` (its address in the map).

    Coordinates are taken over only where the two do not name different countries.
    """
    asn = place.asn or found.asn
    if place.latitude is not None or place.anycast or (place.country and place.country != found.country):
        return located(replace(place, asn=asn))
    return located(
        replace(
            found,
            asn=asn,
            country=place.country or found.country,
            country_from=place.country_from if place.country else found.country_from,
            anycast=False,  # the operator runs this mirror: only his own word makes it anycast
        )
    )


def placed_mirrors(zone: Zone, find: Find) -> tuple[Mirror, ...]:
    """The zone's mirrors, each with its completed() place, sorted by name."""
    placed = []
    for mirror in zone.mirrors:
        match = whereabouts(zone, find, mirror.addresses[0]) if mirror.addresses else NOWHERE
        placed.append(replace(mirror, place=completed(mirror.place, match.place)))
    return tuple(sorted(placed, key=lambda m: m.name))
