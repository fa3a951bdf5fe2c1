"""Whether the records of a zone go together: the rules that no single line can break.

RFC 1034 3.6.2, 2181 10.1   a CNAME is alone at its name
RFC 2181 5                  no two records alike; one TTL for a set
RFC 1034 4.2.1              a delegation hides what lies below it, except the addresses of its servers (glue)
RFC 2181 10.3               NS, MX and SRV name hosts, not aliases
RFC 4592 4.2                a wildcard is not delegated
RFC 4035 2.4                DS stands where a delegation is, and nowhere else
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from mirrornet.dns.message.rrset import AAAA, CNAME, DS, NS, SOA, SRV, A, RRset, ancestors, name_to_text
from mirrornet.model.problem import Problem

_MX: Final = 15
_NAME_AT: Final = {NS: 0, _MX: 2, SRV: 6}  # octets of rdata before the name of a host


class _Fault(Protocol):
    def __call__(self, record: Line, what: str, hint: str = "", warning: bool = False) -> None: ...


@dataclass(frozen=True, slots=True)
class Line:
    """One record, where it was written."""

    line: int
    owner: bytes
    rtype: int
    ttl: int
    rdata: bytes


def judge(lines: Sequence[Line], apex: bytes, file: str, problems: list[Problem]) -> dict[bytes, dict[int, RRset]]:
    """The record sets of `lines`; what contradicts the rules is left out and added to `problems`."""

    def fault(record: Line, what: str, hint: str = "", warning: bool = False) -> None:
        problems.append(Problem(file, record.line, f"{name_to_text(record.owner)}: {what}", hint, warning))

    taken: dict[bytes, dict[int, list[Line]]] = {}
    for record in lines:
        at_name = taken.setdefault(record.owner, {})
        same = at_name.setdefault(record.rtype, [])
        if record.owner == apex and record.rtype in (SOA, NS):
            kind = "SOA" if record.rtype == SOA else "NS"
            fault(record, f"this {kind} is passed over: the zone's YAML file makes it", warning=True)
        elif record.rtype == SOA:
            fault(record, "a SOA below the apex", "a zone of its own is a file of its own")
        elif record.rtype == CNAME and record.owner == apex:
            fault(record, "the apex cannot be a CNAME", "it has a SOA (RFC 1034 section 3.6.2)")
        elif record.rtype == CNAME and (same or any(records for rtype, records in at_name.items() if rtype != CNAME)):
            fault(record, "a CNAME beside another record of that name", "a CNAME is alone at its name")
        elif record.rtype != CNAME and at_name.get(CNAME):
            fault(record, "a record beside the CNAME of that name", "a CNAME is alone at its name")
        elif record.rtype == CNAME and record.rdata.lower() == record.owner:
            fault(record, "a CNAME that points to itself")
        elif record.rtype == NS and record.owner.startswith(b"\x01*"):
            fault(record, "a wildcard cannot be delegated", "RFC 4592 section 4.2")
        elif record.rtype == DS and record.owner == apex:
            fault(record, "a DS at the apex", "the parent zone holds it")
        elif any(record.rdata == other.rdata for other in same):
            fault(record, "the same record twice", "one of them is left out", warning=True)
        else:
            same.append(record)
            continue
        if not same:
            del at_name[record.rtype]
    _delegations(taken, apex, fault)
    _aliases(taken, fault)
    records: dict[bytes, dict[int, RRset]] = {}
    for owner, at_name in taken.items():
        for rtype, same in at_name.items():
            ttl = min(record.ttl for record in same)
            if any(record.ttl != ttl for record in same):
                fault(same[-1], f"records of one set with different TTLs: {ttl} s is taken for all", warning=True)
            records.setdefault(owner, {})[rtype] = RRset(rtype, ttl, tuple(record.rdata for record in same))
    return records


def _delegations(taken: dict[bytes, dict[int, list[Line]]], apex: bytes, fault: _Fault) -> None:
    cuts = {owner for owner, at_name in taken.items() if owner != apex and NS in at_name}
    servers = {record.rdata.lower() for cut in cuts for record in taken[cut][NS]}
    for owner, at_name in taken.items():
        inside = next((above for above in ancestors(owner) if above in cuts), None)
        for rtype, same in at_name.items():
            if rtype == DS and inside != owner:
                fault(same[0], "a DS without a delegation", "add the NS records of that name, or leave it out")
            elif inside is not None and not _may_stand(owner, rtype, inside, servers):
                hidden = f"never seen: {name_to_text(inside)} is delegated"
                fault(same[0], hidden, "its servers answer for what is below", warning=True)
    for cut in cuts:
        for record in taken[cut][NS]:
            server = record.rdata.lower()
            if cut in ancestors(server) and not {A, AAAA} & set(taken.get(server, {})):
                fault(record, f"the server {name_to_text(server)} has no address here", "add its A or AAAA (glue)")


def _may_stand(owner: bytes, rtype: int, cut: bytes, servers: set[bytes]) -> bool:
    return (owner == cut and rtype in (NS, DS)) or (rtype in (A, AAAA) and owner in servers)


def _aliases(taken: dict[bytes, dict[int, list[Line]]], fault: _Fault) -> None:
    for at_name in taken.values():
        for rtype, skip in _NAME_AT.items():
            for record in at_name.get(rtype, []):
                if CNAME in taken.get(record.rdata[skip:].lower(), {}):
                    host = name_to_text(record.rdata[skip:])
                    fault(record, f"it names {host}, which is a CNAME", "name the host itself", warning=True)
