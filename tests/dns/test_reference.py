"""The reference engine by itself, on a map one can check by eye.  (It is held equal to the fast one in properties/.)"""

from __future__ import annotations

import array
import time
from ipaddress import ip_address
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest

from mirrornet.dns.message import rrset
from mirrornet.dns.message.rrset import RRset, name_to_wire
from mirrornet.dns.reference import Reference
from mirrornet.model.place import UNKNOWN, Place
from mirrornet.model.table import WorldTable, encode, encode_place
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import Mirror, Select, Zone
from mirrornet.radb.compiling.tries import Tries

TOKYO, PARIS = Place(2500, "JP", 35.68, 139.69), Place(3215, "FR", 48.86, 2.35)
MIRRORS = (
    Mirror("tokyo", "http://tokyo.test/", (ip_address("192.0.2.1"),), TOKYO),
    Mirror("paris", "http://paris.test/", (ip_address("192.0.2.2"), ip_address("::ffff:192.0.2.2")), PARIS),
)
ZONE = Zone(
    file=Path("z.yaml"),
    name="zone.test",
    contact="h@zone.test",
    serial=1,
    nameservers={"ns1.zone.test": (ip_address("192.0.2.53"),)},
    world=None,
    select=(Select("select", "http://select.zone.test/", ttl=20),),
    mirrors=MIRRORS,
)
PEER = ip_address("20.1.0.1").packed


@pytest.fixture(scope="module")
def server() -> Reference:
    """20.0.0.0/8 is in Tokyo but for 20.1.0.0/16, which is in Paris."""
    starts = [0, 20 << 24, 20 << 24 | 1 << 16, 20 << 24 | 2 << 16, 21 << 24]
    ranges4 = (
        array.array("I", starts).tobytes(),
        array.array("I", [0, 1, 2, 1, 0]).tobytes(),
        b"\xff\x08\x10\x08\xff",
        b"\xff\0\0\0\xff",
        bytes(5),
    )
    ranges6 = (bytes(8), bytes(4), b"\xff", b"\xff", b"\0")
    places = b"".join(map(encode_place, (UNKNOWN, TOKYO, PARIS)))
    table = WorldTable(b"".join(encode(0.0, ranges4, ranges6, places, ["RADB"])))
    records = {name_to_wire("sub.zone.test"): {rrset.NS: RRset(rrset.NS, 60, (name_to_wire("ns.sub.zone.test"),))}}
    verdicts = {"zone.test": {m.name: Verdict(State.UP, 9.0) for m in MIRRORS}}
    return Reference([ZONE], table, Tries.of_table(table).match, {"zone.test": records}, verdicts, nsid=b"here")


def ask(server: Reference, name: str, rtype: str, subnet: str = "", **options: object) -> dns.message.Message:
    query = dns.message.make_query(name, rtype, **options)  # type: ignore[arg-type]
    if subnet:
        address, length = subnet.split("/")
        query.use_edns(options=[dns.edns.ECSOption(address, int(length))])
    reply = server.respond(query.to_wire(), PEER, False)
    assert reply is not None
    return dns.message.from_wire(reply)


@pytest.mark.parametrize(
    ("subnet", "mirror", "scope"),
    [("20.2.3.0/24", "192.0.2.1", 15), ("20.1.3.0/24", "192.0.2.2", 16), ("20.0.0.0/24", "192.0.2.1", 16)],
)
def test_the_nearest_mirror_and_the_exact_scope(server: Reference, subnet: str, mirror: str, scope: int) -> None:
    reply = ask(server, "select.zone.test", "A", subnet)
    assert [record.address for record in reply.answer[0]] == [mirror]
    assert reply.answer[0].ttl == 9
    option = reply.options[0]
    assert isinstance(option, dns.edns.ECSOption)
    assert (option.srclen, option.scopelen) == (24, scope)


def test_without_ecs_the_peer_is_the_client(server: Reference) -> None:
    reply = ask(server, "select.zone.test", "A")
    assert [record.address for record in reply.answer[0]] == ["192.0.2.2"]


def test_who_hides_gets_the_answer_for_anywhere(server: Reference) -> None:
    reply = ask(server, "select.zone.test", "A", "0.0.0.0/0")
    assert {record.address for record in reply.answer[0]} == {"192.0.2.1", "192.0.2.2"}
    option = reply.options[0]
    assert isinstance(option, dns.edns.ECSOption) and option.scopelen == 0


def test_an_aaaa_that_dnslib_cannot_read_as_text(server: Reference) -> None:
    reply = ask(server, "select.zone.test", "AAAA")
    assert [record.address for record in reply.answer[0]] == ["::ffff:192.0.2.2"]


def test_case_flags_and_nsid(server: Reference) -> None:
    query = dns.message.make_query("SeLeCt.ZoNe.TeSt", "A", flags=dns.flags.RD | dns.flags.AD | dns.flags.CD)
    query.use_edns(options=[dns.edns.GenericOption(dns.edns.NSID, b"")])
    wire = server.respond(query.to_wire(), PEER, False)
    assert wire is not None and b"\x06SeLeCt\x04ZoNe\x04TeSt" in wire
    reply = dns.message.from_wire(wire)
    assert reply.flags == dns.flags.QR | dns.flags.AA | dns.flags.RD
    assert b"here" in wire


@pytest.mark.parametrize(
    ("name", "rtype", "rcode", "soa"),
    [
        ("select.zone.test", "MX", dns.rcode.NOERROR, True),
        ("_tcp.select.zone.test", "A", dns.rcode.NOERROR, True),
        ("nothing.zone.test", "A", dns.rcode.NXDOMAIN, True),
        ("elsewhere.test", "A", dns.rcode.REFUSED, False),
        ("zone.test", "AXFR", dns.rcode.REFUSED, False),
    ],
)
def test_negative_answers(server: Reference, name: str, rtype: str, rcode: int, soa: bool) -> None:
    reply = ask(server, name, rtype)
    assert reply.rcode() == rcode and not reply.answer
    assert [(str(one.name), one.ttl) for one in reply.authority] == ([("zone.test.", 60)] if soa else [])


def test_a_delegation_is_not_our_word(server: Reference) -> None:
    reply = ask(server, "www.sub.zone.test", "A")
    assert not reply.flags & dns.flags.AA and reply.authority[0].rdtype == 2


def test_a_label_that_is_no_text_is_answered(server: Reference) -> None:
    packet = b"\0\1\0\0\0\1\0\0\0\0\0\0" + b"\x02\xff\xfe" + name_to_wire("zone.test") + b"\0\1\0\1"
    reply = server.respond(packet, PEER, False)
    assert reply is not None and reply[3] & 15 == dns.rcode.NXDOMAIN and reply[12:30] == packet[12:30]


def test_silence_and_formerr(server: Reference) -> None:
    query = dns.message.make_query("select.zone.test", "A").to_wire()
    assert server.respond(query[:2] + b"\x80" + query[3:], PEER, False) is None
    assert server.respond(query[:11], PEER, False) is None
    broken = server.respond(query[:-3], PEER, False)
    assert broken is not None and broken[3] & 15 == dns.rcode.FORMERR


def test_a_packet_that_burns_dnslib_is_refused_in_no_time(server: Reference) -> None:
    """7.6 KB of pointers cost dnslib 1.55 s; the strict reader takes eight records and steps over them."""
    head = b"\0\1\0\0\0\1\0\0\0\0\x01\xf4"
    packet = head + name_to_wire("zone.test") + b"\0\1\0\1" + (b"\xc0\x0c" + bytes(10)) * 500
    before = time.process_time()
    reply = server.respond(packet, PEER, True)
    assert time.process_time() - before < 0.05
    assert reply is not None and reply[3] & 15 == dns.rcode.FORMERR
