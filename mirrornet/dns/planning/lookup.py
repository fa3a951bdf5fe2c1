"""What the tree of names says of a question: the algorithm of RFC 1034 section 4.3.2, without a packet in sight.

    outside our zones                     REFUSED: we know nothing and do not guess
    at or below a delegation              REFERRAL (but DS at the cut is the parent's to answer, RFC 4035 3.1.4.1)
    the name exists, or a wildcard does   ANSWER, CNAME or NODATA (RFC 4592: nearest existing ancestor, then `*`)
    nothing exists at or below it         NXDOMAIN (RFC 8020: a name with names below it exists)

The planner names every empty non-terminal; those it left out are added here, for one that is missing would turn
"no such type" into "no such name", which a resolver applies to all names below (RFC 8020 section 2).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from mirrornet.dns.message.edns import NOT_AUTHORITATIVE, NOT_SUPPORTED
from mirrornet.dns.message.rrset import ANY, CLASS_IN, CNAME, DS, RRset, ancestors
from mirrornet.dns.planning.planfile import Entry, Node, ZoneInfo

HINFO: Final = 13
AXFR: Final = 252
IXFR: Final = 251
# RFC 8482 section 4.2; the TTL is ours: an hour keeps a curious resolver away and follows a change within reason.
ANY_ANSWER: Final = RRset(HINFO, 3600, (b"\x07RFC8482\x00",))
_WILDCARD = b"\x01*"


class Kind(Enum):
    """What kind of reply a question gets."""

    ANSWER = auto()
    CNAME = auto()
    ANY = auto()
    NODATA = auto()
    NXDOMAIN = auto()
    REFERRAL = auto()
    REFUSED = auto()


@dataclass(frozen=True, slots=True)
class Found:
    """`zone` where it is ours; `entry` for ANSWER and CNAME; `cut`: the delegated name for REFERRAL.

    `error`: for REFUSED an INFO-CODE of RFC 8914 that says why.
    """

    kind: Kind
    zone: ZoneInfo | None = None
    entry: Entry | None = None
    cut: bytes = b""
    error: int | None = None


class Tree:
    """The names of a plan, made whole."""

    def __init__(self, zones: Mapping[bytes, ZoneInfo], nodes: Mapping[bytes, Node]) -> None:
        """`zones` by apex, `nodes` by name, both lower-case wire form."""
        self.zones = zones
        self.nodes = dict(nodes)
        for name in nodes:
            for above in ancestors(name)[1:]:
                if above in self.nodes or not self._ours(above):
                    break
                self.nodes[above] = Node({})

    def _ours(self, name: bytes) -> bool:
        return any(above in self.zones for above in ancestors(name))

    def ask(self, name: bytes, qtype: int, qclass: int) -> Found:
        """What a question gets.

        Classes other than IN are refused, version.bind with them: NSID says who we are, and nothing says which version.
        Zone transfers are refused, since answers that depend on the asker are not a zone (RFC 5936 leaves us free).
        """
        if qclass != CLASS_IN or qtype in (AXFR, IXFR):
            return Found(Kind.REFUSED, error=NOT_SUPPORTED)
        return self.find(name, qtype)

    def missing(self) -> Iterator[tuple[bytes, ZoneInfo, bool, bool]]:
        """For each name of ours that exists: (name, zone, plain NODATA, plain NXDOMAIN), for the compiled step.

        Plain NODATA: a type without an entry here is not there.  Plain NXDOMAIN: neither is a name below this one,
        if none is between the two.
        """
        for name, node in self.nodes.items():
            found = self.find(name, 0)
            if found.zone is None:
                continue
            exists = found.kind is Kind.NODATA and not any(entry.last_resort for entry in node.entries.values())
            alone = found.kind is not Kind.REFERRAL and _WILDCARD + name not in self.nodes
            yield name, found.zone, exists, alone

    def find(self, name: bytes, qtype: int) -> Found:
        """What `name` (lower-case wire form) and `qtype` get, class IN."""
        line = ancestors(name)
        depth = next((depth for depth, above in enumerate(line) if above in self.zones), None)
        if depth is None:
            return Found(Kind.REFUSED, error=NOT_AUTHORITATIVE)
        zone = self.zones[line[depth]]
        for above in reversed(line[:depth]):  # from below the apex downwards: the highest cut counts
            node = self.nodes.get(above)
            if node is not None and node.cut and (above != name or qtype != DS):
                return Found(Kind.REFERRAL, zone, cut=above)
        node = self.nodes.get(name)
        if node is None:
            for above in line[1:]:
                if above in self.nodes:
                    node = self.nodes.get(_WILDCARD + above)
                    break
            if node is None:
                return Found(Kind.NXDOMAIN, zone)
        return _at(node, qtype, zone)


def _at(node: Node, qtype: int, zone: ZoneInfo) -> Found:
    if qtype == ANY and not node.cut:
        if not node.entries:
            return Found(Kind.NODATA, zone)
        alias = node.entries.get(CNAME)  # RFC 8482 4.2: an alias is not hidden by the HINFO
        return Found(Kind.ANY, zone) if alias is None else Found(Kind.ANSWER, zone, alias)
    entry = node.entries.get(qtype)
    if entry is not None:
        return Found(Kind.ANSWER, zone, entry)
    alias = node.entries.get(CNAME)
    if alias is not None:
        return Found(Kind.CNAME, zone, alias)
    return Found(Kind.NODATA, zone)
