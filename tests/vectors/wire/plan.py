"""A small world for tests of packets: two zones, one tailored name of each kind, and all that RFC 1034 can do.

plan = runpy.run_path("tests/vectors/wire/plan.py")["PLAN"]
"""

from __future__ import annotations

from array import array

from mirrornet.dns.message.rrset import AAAA, NS, SOA, URI, A, RRset, name_to_wire
from mirrornet.dns.planning.planfile import Entry, Node, Partition, Plan, Ranges, ZoneInfo
from mirrornet.dns.records.static import read_records

RECORDS = """
$TTL 300
@           MX    10 mail
mail        A     192.0.2.25
mail        AAAA  2001:db8::25
www         CNAME mail
chain       CNAME www
gone        CNAME nothing.here
away        CNAME www.example.com.
choose      CNAME select
empty       CNAME a.b.c
a.b.c       TXT   "below two empty non-terminals"
*.wild      TXT   "any"
*.wild      MX    10 mail
deep.wild   A     192.0.2.77
alias       CNAME x.wild
*.star      CNAME mail
child       NS    ns.child
child       NS    ns.elsewhere.example.
child       DS    12345 13 2 49FD46E6C4B45C55D4AC69CBD3CD34AC1AFE51DE00112233445566778899AABB
ns.child    A     192.0.2.99
big         TXT   ("{0}" "{1}" "{2}" "{0}")
huge        TXT   ("{0}" "{1}" "{2}" "{0}" "{1}" "{2}" "{0}" "{1}" "{2}")
""".format("x" * 250, "y" * 250, "z" * 250)


def ranges(code: str, rows: list[tuple[int, int, int]]) -> Ranges:
    """(start, answer, scope) rows as the planner's columns."""
    starts, answers, scopes = zip(*rows, strict=True)
    return Ranges(array(code, starts), array("I", answers), array("B", scopes))


def soa(zone: str) -> RRset:
    names = name_to_wire(f"ns1.{zone}") + name_to_wire(f"hostmaster.{zone}")
    return RRset(SOA, 3600, (names + (1).to_bytes(4, "big") * 4 + (60).to_bytes(4, "big"),))


def static(rrset: RRset) -> Entry:
    return Entry((rrset,), (-1,))


# 10.0.0.0/8 gets answer 1, but 10.1.0.0/16 in it answer 2; 2001:db8::/32 answer 1; 2001:db8:1::/48 NODATA (AAAA only).
# The rest gets answer 0.  The IPv4 scopes are exact (RFC 7871 section 7.2.1), those of IPv6 coarse.
_RANGES4 = ranges(
    "I",
    [
        (0, 0, 5),
        (8 << 24, 0, 7),
        (10 << 24, 1, 16),
        (10 << 24 | 1 << 16, 2, 16),
        *((10 << 24 | 1 << bit, 1, 32 - bit) for bit in range(17, 24)),
        (11 << 24, 0, 8),
        (12 << 24, 0, 6),
        *((1 << bit, 0, 32 - bit) for bit in range(28, 32)),
    ],
)
_DB8 = 0x20010DB8 << 32
_RANGES6 = ranges(
    "Q", [(0, 0, 32), (_DB8, 1, 48), (_DB8 | 1 << 16, 3, 48), (_DB8 | 2 << 16, 1, 47), (_DB8 + (1 << 32), 0, 32)]
)
_HOSTS = [RRset(A, 20, (bytes([192, 0, 2, n]), bytes([192, 0, 2, n + 100]))) for n in range(3)]
_HOSTS6 = [RRset(AAAA, 20, (bytes.fromhex("20010db8") + bytes(11) + bytes([n]),)) for n in range(3)]
_URIS = [RRset(URI, 20, (b"\0\x01\0\x01http://m%d.example/os#m%d" % (n, n),)) for n in range(3)]

_NODES = {
    name: Node({rtype: static(rrset) for rtype, rrset in sets.items()}, cut=NS in sets)
    for name, sets in read_records(RECORDS, "example.org", "records")[0].items()
}
_APEX, _APEX2 = name_to_wire("example.org"), name_to_wire("example.net")
_NODES[_APEX] = Node(
    {
        **_NODES[_APEX].entries,
        SOA: static(soa("example.org")),
        NS: static(RRset(NS, 3600, (name_to_wire("ns1.example.org"),))),
    }
)
_NODES[name_to_wire("select.example.org")] = Node(
    {
        A: Entry((*_HOSTS, None), (0, 1, 2, -1), 0),
        AAAA: Entry((*_HOSTS6, None), (0, 1, 2, -1), 0),
    }
)
_NODES[name_to_wire("_http._tcp.select.example.org")] = Node({URI: Entry((*_URIS, None), (0, 1, 2, -1), 0)})
_NODES[_APEX2] = Node(
    {
        SOA: static(soa("example.net")),
        NS: static(RRset(NS, 3600, (name_to_wire("ns1.example.org"),))),
        A: Entry((*_HOSTS, None), (0, 1, 2, -1), 0),
    }
)

PLAN = Plan(
    generation=1,
    zones={
        _APEX: ZoneInfo(_APEX, soa("example.org"), 60),
        _APEX2: ZoneInfo(_APEX2, soa("example.net"), 60),
    },
    nodes=_NODES,
    partitions=[Partition(_RANGES4, _RANGES6)],
    slot_count=3,
)
TTLS = [20, 21, 22]
