"""Checks that need more than one section of a file, or more than one file.

A draft zone comes in whose every value has the right type; what is said here is why it still cannot be served, or
what will surprise its operator.  The lines come from the tree, through Faults.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from mirrornet.config.faults import Faults
from mirrornet.config.owners import read_owners
from mirrornet.config.sharing import prove_limit
from mirrornet.config.tree import Path
from mirrornet.model.address import Address
from mirrornet.model.names import suggest
from mirrornet.model.problem import Problem
from mirrornet.model.zone import Mirror, Select, Zone

_MAKES: Final = frozenset(
    {"A", "AAAA", "CNAME", "DNAME", "NS", "SOA", "SRV", "TXT", "URI"}
)  # types we answer ourselves
_APEX: Final = frozenset({"A", "AAAA", "CNAME", "DNAME"})  # of these, what an apex may not have if it is balanced

MOST_SELECTS: Final = 100  # each makes a name below itself for each mirror, so the product must stay small
MOST_MIRRORS: Final = 5_000  # ten times what the planner is built for


def prove(zone: Zone, faults: Faults, records: str | None) -> None:
    """Adds to `faults` what is wrong with `zone` as a whole.  `records`: the text of its records file, if readable."""
    for key, count, most in (("select", len(zone.select), MOST_SELECTS), ("mirrors", len(zone.mirrors), MOST_MIRRORS)):
        if count > most:
            faults.add((key,), f"{count} entries", f"{most} at most in one zone")
            return
    _prove_nameservers(zone, faults)
    _prove_mirrors(zone, faults)
    for index, select in enumerate(zone.select):
        _prove_select(zone, select, ("select", index), faults)
    _prove_nodes(zone, faults, records)
    _prove_images(zone, faults)
    prove_limit(zone, faults)
    if zone.health.probe == "block" and zone.repository is None and faults.sound(("repository",)):
        faults.add(
            ("health", "probe"), "block probes need to know whom to believe", "add repository: {root: root.json}"
        )


def _prove_nameservers(zone: Zone, faults: Faults) -> None:
    if not faults.sound(("zone",)):
        return
    for host, addresses in zone.nameservers.items():
        path: Path = ("nameservers", host)
        inside = host == zone.name or host.endswith("." + zone.name)
        if inside and not addresses and faults.sound(path):
            faults.add(path, "a name server inside the zone needs addresses here", f"write {host}: [192.0.2.53]")
        if not inside and addresses:
            what = f"is outside {zone.name}, so these addresses are not served"
            faults.add(path, what, "its own zone gives them; write []", warning=True)


def _prove_mirrors(zone: Zone, faults: Faults) -> None:
    """No two mirrors at one place.  Several may share one url if their addresses differ: that is how A works."""
    seen: dict[tuple[str, Address | None], Mirror] = {}
    offered: dict[str, Mirror] = {}
    for mirror in zone.mirrors:
        path: Path = ("mirrors", mirror.name, "url")
        if not mirror.url:
            continue
        keys = [(mirror.url, address) for address in mirror.addresses or (None,)]
        other = next((seen[key] for key in keys if key in seen), None)
        first = offered.get(mirror.url)
        if other is None and first is not None and (not first.addresses or not mirror.addresses):
            other = first
        if other is not None:
            line = faults.line(("mirrors", other.name, "url"))
            what = f"the mirror {other.name} on line {line} has this url, and no address tells them apart"
            faults.add(path, what, "one mirror, one entry; or give each its own addresses")
        for key in keys:
            seen.setdefault(key, mirror)
        if first is None or not mirror.addresses:
            offered[mirror.url] = mirror


def _prove_select(zone: Zone, select: Select, path: Path, faults: Faults) -> None:
    if not select.name or not zone.name or not faults.sound((*path, "name"), ("zone",)):
        return
    fqdn = zone.select_fqdn(select)
    longest = max((len(mirror.name) for mirror in zone.mirrors), default=0)
    length = len("_https._tcp.") + longest + 1 + len(fqdn)
    if length > 253:
        what = f"_https._tcp.MIRROR.{fqdn} would be {length} characters long, and DNS allows 253"
        faults.add((*path, "name"), what, "shorten a name")
    host = Mirror("", select.url).host
    if faults.sound((*path, "url")) and host != fqdn:
        what = f"its host {host} is not {fqdn}, whose answers this zone gives"
        faults.add((*path, "url"), what, "right only if that name is an alias (CNAME) of it", warning=True)
    candidates = zone.candidates(select)
    if candidates and all(mirror.only for mirror in candidates):
        what = f"each of its {len(candidates)} mirrors has `only`, so some askers may get none"
        faults.add((*path, "name"), what, "leave one mirror open to everybody", warning=True)


def _prove_nodes(zone: Zone, faults: Faults, records: str | None) -> None:
    """No two things under one name: select names, what each makes below itself, name servers, the records file."""
    if not faults.sound(("zone",)):
        return
    nodes: dict[str, tuple[str, int]] = {}  # a name we answer → what it is, and its line
    for index, select in enumerate(zone.select):
        path: Path = ("select", index, "name")
        if not select.name or not faults.sound(path):
            continue
        fqdn = zone.select_fqdn(select)
        made = [(fqdn, f"the select {select.name}"), (f"_tcp.{fqdn}", f"the select {select.name}")]
        made += [(f"{service}._tcp.{fqdn}", f"the select {select.name}") for service in ("_http", "_https")]
        made += [(f"{m.name}.{fqdn}", f"the mirror {m.name} of the select {select.name}") for m in zone.mirrors]
        taken = next((name for name, _ in made if name in nodes), None)
        if taken is not None:
            what, line = nodes[taken]
            faults.add(path, f"{taken} is taken by {what} (line {line})", "choose another name")
        for name, what in made:
            nodes.setdefault(name, (what, faults.line(path)))
    for host in zone.nameservers:
        if host in nodes and host != zone.name:
            what, line = nodes[host]
            faults.add(("nameservers", host), f"this name is taken by {what} (line {line})", "choose another name")
    _prove_records(zone, faults, nodes, records or "")


def _prove_records(zone: Zone, faults: Faults, nodes: Mapping[str, tuple[str, int]], records: str) -> None:
    """No record where a balanced name is made, and no delegation above one."""
    balanced = {zone.select_fqdn(select) for select in zone.select if select.name}
    above: set[str] = set()
    for name in balanced:
        while (name := name.partition(".")[2]) and name != zone.name:
            above.add(name)
    for owner in read_owners(records, zone.name):
        if owner.name == zone.name:
            collides = owner.name in nodes and owner.type in _APEX
        elif owner.name in nodes:
            collides = owner.type in _MAKES and (owner.type != "TXT" or owner.name in balanced)
        else:
            collides = owner.name in above and owner.type in ("NS", "DNAME")
        if collides:
            what, line = nodes.get(owner.name, ("the select below it", 0))
            text = f"{owner.name} {owner.type}: this name is taken by {what} ({faults.file}:{line})"
            if not line:
                text = f"{owner.name} {owner.type} gives away a name above one that {faults.file} balances"
            hint = "delete the record, or rename the select"
            faults.problems.append(Problem(str(zone.records), owner.line, text, hint))


def _prove_images(zone: Zone, faults: Faults) -> None:
    if zone.repository is not None:
        known = list(zone.repository.images)
    else:
        known = sorted(frozenset().union(*(mirror.holds or frozenset() for mirror in zone.mirrors)))
    uses: list[tuple[Path, frozenset[str] | None]] = [
        (("select", i, "images"), select.images) for i, select in enumerate(zone.select)
    ]
    uses += [(("mirrors", mirror.name, "holds"), mirror.holds) for mirror in zone.mirrors]
    for path, images in uses:
        for image in sorted(images or ()) if known and faults.sound(("repository", "images")) else ():
            if image not in known:
                hint = suggest(image, known) or f"known there: {', '.join(known)}"
                where = "repository.images" if zone.repository else "what any mirror holds"
                faults.add(path, f"the image {image} is not in {where}", hint)
    for index, select in enumerate(zone.select):
        path = ("select", index, "images")
        if select.images and zone.mirrors and faults.sound(path) and not zone.candidates(select):
            faults.add(path, "no mirror holds all of these", "mend `holds` of the mirrors")


def prove_together(zones: Sequence[tuple[Zone, Faults]]) -> None:
    """Adds to each file's faults what contradicts a file before it."""
    names: dict[str, Zone] = {}
    server: Zone | None = None
    world: Zone | None = None
    for zone, faults in zones:
        if zone.name and faults.sound(("zone",)):
            if zone.name in names:
                faults.add(
                    ("zone",), f"{zone.name} is defined in {names[zone.name].file} already", "one zone, one file"
                )
            names.setdefault(zone.name, zone)
        if zone.server is not None:
            if server is not None:
                what = f"{server.file} has a server section already"
                faults.add(("server",), what, "of the files given together, one only has it")
            server = server or zone
        if zone.world is not None:
            if world is not None and world.world is not None and world.world.absolute() != zone.world.absolute():
                what = f"{world.file} names another world.table ({world.world})"
                faults.add(("world",), what, "there is one for all zones of a process")
            world = world or zone
