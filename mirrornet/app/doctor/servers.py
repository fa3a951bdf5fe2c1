"""Do all name servers of the zone answer, by UDP and TCP, and alike?  Pure.

Two servers of a zone are two equal servers with the same files, so they have one serial and, as soon as they have seen
the same, the same answers for the same askers.  Differences that go away by themselves are no fault: the shell asks
again before it says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from mirrornet.app.doctor.delegation import Heard
from mirrornet.app.doctor.finding import Finding, fault, ok, warning
from mirrornet.dns.asking import NOERROR, REFUSED, SERVFAIL, Reply, serial_of
from mirrornet.model.address import Prefix
from mirrornet.model.zone import Zone

CHECK, ALIKE, ECS = "nameserver", "answers", "ecs"
Asked = tuple[str, str, Prefix | None]  # name, type, for whom


@dataclass(frozen=True, slots=True)
class Seen:
    """One address of a name server: the zone's SOA by UDP and TCP, and what else was asked by UDP."""

    name: str
    address: str
    udp: Heard
    tcp: Heard
    answers: Mapping[Asked, Heard] = field(default_factory=dict)

    @property
    def about(self) -> str:
        return f"{self.name} at {self.address}"

    @property
    def serial(self) -> int | None:
        return serial_of(self.udp) if isinstance(self.udp, Reply) else None


def judge(zone: Zone, port: int, servers: Sequence[Seen]) -> Iterable[Finding]:
    """Each server by itself, then all of them."""
    for seen in servers:
        yield _one(zone, port, seen)
    serials = {seen.serial for seen in servers if seen.serial is not None}
    if len(serials) > 1:
        each = ", ".join(f"{s.name} {s.serial}" for s in servers if s.serial is not None)
        mend = "copy the same zone file to all servers; each reloads it by itself, or on SIGHUP"
        yield fault(CHECK, zone.name, f"the servers have different serials: {each}", mend)
    for serial in serials if len(serials) == 1 else ():
        if serial != zone.serial:
            what = f"the servers have serial {serial}, and this file has {zone.serial}"
            yield warning(CHECK, zone.name, what, "is this the file that is served?  Copy it there, and wait a moment")


def _one(zone: Zone, port: int, seen: Seen) -> Finding:
    heard = seen.udp
    firewall = f"is it running, and does every firewall let UDP port {port} in?"
    if isinstance(heard, str):
        if isinstance(seen.tcp, Reply):
            return fault(CHECK, seen.about, f"{heard} by UDP, though by TCP it answers", firewall)
        return fault(CHECK, seen.about, f"{heard}, neither by UDP nor by TCP", firewall)
    if heard.rcode == REFUSED:
        return fault(
            CHECK, seen.about, f"refuses {zone.name}", "start it with this zone file; another server runs there"
        )
    if heard.rcode == SERVFAIL:
        return fault(CHECK, seen.about, "has no plan yet (SERVFAIL)", "its log says what it waits for")
    if heard.rcode != NOERROR or not heard.authoritative or seen.serial is None:
        what = f"is not authoritative for {zone.name} ({heard.word})"
        return fault(CHECK, seen.about, what, "let the address be that of a mirrornet server of this zone")
    if isinstance(seen.tcp, str):
        what = f"{seen.tcp} by TCP, which resolvers need when an answer is cut short (RFC 7766)"
        return fault(CHECK, seen.about, what, f"let TCP port {port} in as well")
    if not heard.edns:
        return fault(
            ECS, seen.about, "answers without EDNS", "something between here and there strips it: a middle box?"
        )
    return ok(CHECK, seen.about, f"answers by UDP and TCP, serial {seen.serial}")


def alike(servers: Sequence[Seen]) -> Iterable[Finding]:
    """Whether they give the same answers, and take ECS."""
    able = [seen for seen in servers if seen.answers and any(isinstance(one, Reply) for one in seen.answers.values())]
    if not able:
        return
    first = able[0]
    differing = different(able)
    for seen, asked in differing:
        who = f" for {asked[2]}" if asked[2] else ""
        what = f"{asked[0]} {asked[1]}{who}: other answers than {first.about}, twice in a row"
        mend = "the same files, tables (`world`) and options on all; `server: share` lets them see alike, too"
        yield warning(ALIKE, seen.about, what, mend)
    if not differing and len(able) > 1:
        count = len(first.answers)
        yield ok(ALIKE, f"{len(able)} servers", f"the same answers to {count} questions")
    for seen in able:
        replies = [one for asked, one in seen.answers.items() if asked[2] and isinstance(one, Reply)]
        if replies and all(one.scope is None for one in replies):
            what = "its answers have no client subnet (ECS), though the question had one"
            yield fault(ECS, seen.about, what, "something between here and there strips EDNS options: a middle box?")
        elif replies:
            kinds = len({tuple(sorted(r.value for r in one.answers)) for one in replies})
            said = "all get the same" if kinds == 1 else f"{kinds} different answers"
            yield ok(ECS, seen.about, f"takes client subnets (ECS): {len(replies)} askers, {said}")


def different(servers: Sequence[Seen]) -> list[tuple[Seen, Asked]]:
    """Who answers otherwise than the first, and to which question (the first such of each)."""
    found = []
    for seen in servers[1:]:
        for asked, heard in seen.answers.items():
            other = servers[0].answers.get(asked)
            if isinstance(heard, Reply) and isinstance(other, Reply) and _content(heard) != _content(other):
                found.append((seen, asked))
                break
    return found


def _content(reply: Reply) -> tuple[int, tuple[str, ...]]:
    return reply.rcode, tuple(sorted(one.value for one in reply.answers))


def through(resolver: str, direct: Sequence[Heard], heard: Sequence[Heard]) -> Finding | None:
    """Whether the resolver passes client subnets on: what two askers get directly (two answers), and through it."""
    if not all(isinstance(one, Reply) and one.rcode == NOERROR for one in (*direct, *heard)):
        return None
    wanted = [_content(one) for one in direct if isinstance(one, Reply)]
    got = [_content(one) for one in heard if isinstance(one, Reply)]
    if wanted == got:
        return ok(ECS, resolver, "passes client subnets (ECS) on: two askers get what each of them should")
    mend = "its users are placed by its own address; unbound: send-client-subnet, where they are far from it"
    return warning(ECS, resolver, "passes no client subnets (ECS) on, or not those of others", mend)
