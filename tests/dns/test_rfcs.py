"""What each RFC asks of a server whose answers depend on the asker, one test for each behaviour, by section.

The world is tests/vectors/wire/plan.py.  What needs sockets (7766, 7858, 7828, 2181 section 4) is in tests/loopback.
"""

from __future__ import annotations

import runpy
import struct
from ipaddress import ip_address, ip_network
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest

from mirrornet.dns.message import wire
from mirrornet.dns.message.cookies import Cookies
from mirrornet.dns.message.gate import Gate
from mirrornet.dns.message.rrset import name_to_wire
from mirrornet.dns.serving.answer import Responder, not_ready

WORLD = runpy.run_path(str(Path(__file__).parents[1] / "vectors" / "wire" / "plan.py"))
GATE = Gate(Cookies([b"sixteen octets, "]), now=1_800_000_000.0)
SERVER = Responder(WORLD["PLAN"], WORLD["TTLS"], nsid=b"here", gate=GATE)
PEER = bytes([198, 51, 100, 7])
SELECT = "select.example.org"


def raw(query: bytes, peer: bytes = PEER, transport: int = wire.UDP) -> bytes:
    reply = SERVER.respond(query, peer, transport)
    assert reply is not None
    return reply


def ask(
    name: str, rtype: str = "A", *, options: list | None = None, peer: bytes = PEER, transport: int = wire.UDP, **more
) -> dns.message.Message:
    if options is not None:
        more |= {"use_edns": 0, "options": options, "payload": 1232}
    return dns.message.from_wire(raw(dns.message.make_query(name, rtype, **more).to_wire(), peer, transport))


def addresses(reply: dns.message.Message) -> list[str]:
    return [str(record) for rrset in reply.answer for record in rrset]


def opt(data: bytes = b"", version: int = 0, flags: int = 0, size: int = 1232, owner: bytes = b"\0") -> bytes:
    return owner + struct.pack("!HHBBHH", 41, size, 0, version, flags, len(data)) + data


def packet(*opts: bytes, name: str = SELECT, rtype: int = 1, flags: int = 0) -> bytes:
    head = struct.pack("!6H", 7, flags, 1, 0, 0, len(opts))
    return head + name_to_wire(name) + struct.pack("!HH", rtype, 1) + b"".join(opts)


def option(code: int, data: bytes = b"") -> bytes:
    return struct.pack("!HH", code, len(data)) + data


def ecs(family: int, source: int, scope: int, address: bytes) -> bytes:
    return option(8, struct.pack("!HBB", family, source, scope) + address)


def rcode(reply: bytes) -> int:
    return int(dns.message.from_wire(reply).rcode())


def test_rfc_1035_4_1_1_header():
    """ID and RD are copied, QR and AA set, TC, RA and Z clear."""
    reply = raw(packet(flags=0x0100))
    assert reply[:4] == b"\0\7\x85\0" and raw(packet())[2:4] == b"\x84\0"


def test_rfc_1035_4_1_1_a_response_is_never_answered():
    for flags in (0x8000, 0x8180, 0xFFFF):
        assert SERVER.respond(packet(flags=flags), PEER, wire.UDP) is None


def test_rfc_1035_4_1_1_what_cannot_be_read_is_formerr():
    assert all(rcode(raw(packet()[:size])) == 1 for size in range(12, len(packet())))
    assert all(SERVER.respond(packet()[:size], PEER, wire.UDP) is None for size in range(12))


def test_rfc_1035_4_2_1_512_octets_without_edns():
    reply = raw(packet(name="big.example.org", rtype=16))
    assert reply[2] & 2 and len(reply) <= 512
    assert len(raw(packet(name="big.example.org", rtype=16), transport=wire.TCP)) > 512


def test_rfc_2181_9_truncated_means_no_part_of_a_set():
    reply = ask("big.example.org", "TXT")
    assert reply.flags & dns.flags.TC and not reply.answer and not reply.authority


def test_rfc_2181_5_2_one_ttl_for_a_set():
    reply = raw(packet())
    assert reply[6:8] == b"\0\2"
    first = 12 + len(name_to_wire(SELECT)) + 4
    assert reply[first + 6 : first + 10] == reply[first + 16 + 6 : first + 16 + 10] == struct.pack("!I", 20)


def test_rfc_2181_10_1_an_alias_is_alone_and_followed():
    reply = ask("www.example.org", "A")
    assert [rrset.rdtype for rrset in reply.answer] == [5, 1]
    assert [rrset.rdtype for rrset in ask("www.example.org", "CNAME").answer] == [5]


def test_rfc_2181_11_labels_are_any_octets():
    name = b"\x04\0\xff. " + name_to_wire("example.org")
    query = struct.pack("!6H", 7, 0, 1, 0, 0, 0) + name + b"\0\1\0\1"
    reply = raw(query)
    assert reply[3] & 15 == 3 and reply[12 : len(query)] == query[12:]
    wild = query[:12] + b"\x04\0\xff. " + name_to_wire("wild.example.org") + b"\0\x10\0\1"
    assert raw(wild)[6:8] == b"\0\1"


def test_rfc_2308_2_1_no_such_name_and_2_2_no_such_type():
    for name, rtype, expected in (("none.example.org", "A", 3), ("mail.example.org", "TXT", 0)):
        reply = ask(name, rtype)
        assert reply.rcode() == expected and not reply.answer and reply.flags & dns.flags.AA
        assert [rrset.rdtype for rrset in reply.authority] == [6]


def test_rfc_2308_3_the_soa_of_a_negative_answer_has_the_lesser_ttl():
    soa = ask("none.example.org").authority[0]
    assert soa.ttl == 60 == soa[0].minimum < ask("example.org", "SOA").answer[0].ttl


def test_rfc_4592_2_2_1_the_nearest_existing_name_decides():
    assert ask("any.thing.wild.example.org", "TXT").answer
    assert ask("x.deep.wild.example.org", "TXT").rcode() == 3, "deep.wild exists, and has no * below it"
    assert ask("deep.wild.example.org", "TXT").rcode() == 0, "a name that exists is no wildcard's"


def test_rfc_4592_2_2_2_empty_non_terminals_exist():
    for name in ("a.b.c.example.org", "b.c.example.org", "c.example.org", "_tcp.select.example.org"):
        reply = ask(name, "A")
        assert reply.rcode() == 0 and not reply.answer and reply.authority


def test_rfc_4592_3_3_1_the_owner_is_the_name_asked_for():
    assert str(ask("foo.wild.example.org", "TXT").answer[0].name) == "foo.wild.example.org."


def test_rfc_8020_2_nothing_exists_below_a_name_that_does_not():
    assert ask("x.none.example.org").rcode() == ask("none.example.org").rcode() == 3
    assert ask("x.mail.example.org").rcode() == 3, "below a name with records there is nothing either"


def test_rfc_3597_5_unknown_types_are_types():
    for rtype in ("TYPE666", "TYPE1000", "TYPE65534", "HTTPS", "SVCB"):
        reply = ask(SELECT, rtype)
        assert reply.rcode() == 0 and not reply.answer and [rrset.rdtype for rrset in reply.authority] == [6]


def test_rfc_4343_4_1_case_does_not_matter_and_comes_back_as_sent():
    query = packet().replace(b"select", b"sElEcT").replace(b"org", b"ORG")
    reply = raw(query)
    assert reply[12 : len(query)] == query[12:] and reply[len(query) :] == raw(packet())[len(query) :]


def test_rfc_3225_3_do_is_copied_and_rfc_4035_3_1_6_ad_and_cd_are_clear():
    reply = raw(packet(opt(flags=0x8000), flags=0x0030))
    assert not reply[3] & 0x30 and reply.endswith(opt(flags=0x8000))
    assert raw(packet(opt())).endswith(opt())
    for options in (ecs(1, 24, 0, b"\x0a\1\2"), option(10, bytes(8)), option(3)):
        query = packet(opt(options, flags=0x8000))
        assert dns.message.from_wire(raw(query)).ednsflags == 0x8000


def test_rfc_5001_2_1_nsid_only_for_who_asks():
    assert raw(packet(opt(option(3)))).endswith(option(3, b"here"))
    assert b"here" not in raw(packet(opt())) and b"here" not in raw(packet())


def test_rfc_5936_2_2_1_a_transfer_is_refused():
    for rtype in (251, 252):
        assert rcode(raw(packet(rtype=rtype, name="example.org"), transport=wire.TCP)) == 5


def test_rfc_1996_a_notify_is_no_business_of_ours():
    assert raw(packet(flags=4 << 11))[2:12] == struct.pack("!5H", 0xA004, 0, 0, 0, 0)


def test_rfc_6891_6_1_1_one_opt_at_the_root():
    assert rcode(raw(packet(opt(), opt()))) == 1
    assert rcode(raw(packet(opt(owner=b"\1x\0")))) == 1


def test_rfc_6891_6_1_2_unknown_options_are_ignored_and_not_echoed():
    assert raw(packet(opt(option(65001, b"what") + option(100)))).endswith(opt())


def test_rfc_6891_6_1_3_another_version_is_badvers():
    for version in (1, 2, 255):
        reply = raw(packet(opt(option(65001), version=version)))
        assert rcode(reply) == 16 and reply[6:8] == b"\0\0" and dns.message.from_wire(reply).edns == 0


def test_rfc_6891_6_1_4_unknown_flags_are_clear():
    assert raw(packet(opt(flags=0x7FFF))).endswith(opt())


@pytest.mark.parametrize(("size", "fits"), [(0, 512), (100, 512), (512, 512), (1400, 1232), (65535, 1232)])
def test_rfc_6891_6_2_3_and_6_2_5_sizes(size, fits):
    """Under 512 counts as 512; ours is 1232 (DNS flag day 2020)."""
    big = raw(packet(opt(size=size), name="big.example.org", rtype=16))  # 1,067 octets
    assert bool(big[2] & 2) is (fits < 1067) and len(big) <= fits
    assert raw(packet(opt(size=size), name="huge.example.org", rtype=16))[2] & 2, "2,300 octets never fit"


def test_rfc_6891_7_an_opt_for_who_sent_one():
    for name, rtype in ((SELECT, "A"), ("none.example.org", "A"), ("example.com", "A"), ("child.example.org", "A")):
        assert ask(name, rtype).edns == -1 and ask(name, rtype, options=[]).edns == 0
    assert dns.message.from_wire(raw(packet(opt(b"\0")))).edns == 0, "in a FORMERR, too"


def test_rfc_7871_7_2_1_family_source_and_address_come_back():
    for family, source, address in (
        (1, 24, b"\x0a\1\2"),
        (1, 9, b"\x0a\0"),
        (2, 56, b"\x20\1\x0d\xb8\0\0\0"),
        (2, 1, b"\0"),
    ):
        sent = ecs(family, source, 0, address)
        reply = raw(packet(opt(sent)))
        came = reply[-len(sent) :]
        assert came[:7] == sent[:7] and came[8:] == sent[8:]


def test_rfc_7871_7_2_1_no_ecs_for_who_sent_none():
    assert not [o for o in ask(SELECT, options=[]).options if o.otype == 8]


def test_rfc_7871_7_2_1_no_scope_covers_another_answer():
    """10.0.0.0/8 gets one answer, 10.1.0.0/16 in it another: the case that Knot's geoip module gets wrong."""
    told: dict[str, list[str]] = {}
    for text in ("9.0.0.0", "10.0.0.0", "10.1.2.0", "10.2.3.0", "10.128.0.0", "11.0.0.0", "192.0.2.0"):
        reply = ask(SELECT, options=[dns.edns.ECSOption(text, 24)])
        block = ip_network(f"{text}/{reply.options[0].scopelen}", strict=False)
        told[str(block)] = addresses(reply)
        for other, expected in told.items():
            if ip_network(other).overlaps(block):
                assert expected == addresses(reply), f"{other} and {block}"
    assert len({tuple(found) for found in told.values()}) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param(ecs(1, 24, 24, b"\x0a\1\2"), id="scope in a query"),
        pytest.param(ecs(1, 33, 0, b"\x0a\1\2\3\0"), id="source over 32"),
        pytest.param(ecs(2, 129, 0, bytes(17)), id="source over 128"),
        pytest.param(ecs(1, 24, 0, b"\x0a\1"), id="too few octets"),
        pytest.param(ecs(1, 24, 0, b"\x0a\1\2\0"), id="too many octets"),
        pytest.param(ecs(1, 17, 0, b"\x0a\1\xc0"), id="bits beyond the source"),
        pytest.param(option(8, b"\0\1"), id="shorter than its fixed part"),
    ],
)
def test_rfc_7871_6_a_bad_option_is_formerr(wrong):
    assert rcode(raw(packet(opt(wrong)))) == 1


def test_rfc_7871_7_1_2_source_0_means_do_not_use_my_address():
    """The answer for anywhere, scope 0, whoever asks."""
    for peer in (bytes([10, 1, 0, 1]), PEER):
        reply = ask(SELECT, options=[dns.edns.ECSOption("0.0.0.0", 0)], peer=peer)
        assert addresses(reply)[0] == "192.0.2.0" and reply.options[0].scopelen == 0


def test_rfc_7871_7_4_negative_and_static_answers_hold_for_all():
    for name, rtype in (("none.example.org", "A"), ("mail.example.org", "TXT"), ("mail.example.org", "A")):
        assert ask(name, rtype, options=[dns.edns.ECSOption("10.1.2.0", 24)]).options[0].scopelen == 0


def test_rfc_7871_7_2_1_of_a_chain_only_the_first_name_is_tailored():
    reply = ask("choose.example.org", options=[dns.edns.ECSOption("10.1.2.0", 24)])
    assert [rrset.rdtype for rrset in reply.answer] == [5] and reply.options[0].scopelen == 0


def test_rfc_7871_6_an_unknown_family_is_ignored():
    reply = ask(SELECT)
    assert addresses(dns.message.from_wire(raw(packet(opt(ecs(3, 8, 0, b"\x0a")))))) == addresses(reply)


@pytest.mark.parametrize(
    "carrier",
    [
        pytest.param("::ffff:10.1.2.3", id="RFC 4291 2.5.5.2 mapped"),
        pytest.param("64:ff9b::10.1.2.3", id="RFC 6052 2.1 NAT64"),
        pytest.param("2002:0a01:0203::1", id="RFC 3056 2 6to4"),
        pytest.param("2001:0:c633:6407:0:1234:f5fe:fdfc", id="RFC 4380 4 Teredo"),
    ],
)
def test_an_ipv6_that_carries_an_ipv4_is_where_that_is(carrier):
    """By its source address and by ECS, and the scope covers nobody who gets another answer."""
    expected = addresses(ask(SELECT, peer=bytes([10, 1, 2, 3])))
    assert addresses(ask(SELECT, peer=ip_address(carrier).packed)) == expected
    reply = ask(SELECT, options=[dns.edns.ECSOption(carrier, 128)])
    assert addresses(reply) == expected
    block = ip_network(f"{carrier}/{reply.options[0].scopelen}", strict=False)
    for other in (
        "::1",
        "::fffe:10.1.2.3",
        "64:ff9b::1:0:0",
        "2001:db8::1",
        "::ffff:10.2.0.0",
        "2002:a02::",
        "::ffff:11.0.0.0",
    ):
        if ip_address(other) in block:
            assert addresses(ask(SELECT, options=[dns.edns.ECSOption(other, 128)])) == expected, other


def test_beside_what_carries_an_ipv4_no_scope_reaches_into_it():
    """RFC 7871 section 7.2.1: the map knows 64 bits, and the /96 within is answered by IPv4."""
    for beside, carrier in (
        ("::1", "::ffff:0:0/96"),
        ("::1:0:0:0", "::ffff:0:0/96"),
        ("64:ff9b::1:0:0", "64:ff9b::/96"),
    ):
        scope = ask(SELECT, options=[dns.edns.ECSOption(beside, 128)]).options[0].scopelen
        assert not ip_network(f"{beside}/{scope}", strict=False).overlaps(ip_network(carrier))


def test_rfc_8482_4_2_any_gets_one_small_set():
    for name in ("mail.example.org", "example.org", SELECT):
        reply = ask(name, "ANY")
        assert [(rrset.rdtype, str(rrset[0])) for rrset in reply.answer] == [(13, '"RFC8482" ""')]
    assert ask("none.example.org", "ANY").rcode() == 3


def errors(reply: dns.message.Message) -> list[int]:
    return [int.from_bytes(option.to_wire()[:2], "big") for option in reply.options if option.otype == 15]


def test_rfc_8914_4_15_not_ready_before_there_is_a_plan():
    reply = dns.message.from_wire(not_ready(packet(opt()), PEER, wire.UDP))
    assert reply.rcode() == 2 and errors(reply) == [14]
    assert dns.message.from_wire(not_ready(packet(), PEER, wire.UDP)).edns == -1


def test_rfc_8914_4_21_not_authoritative_and_4_22_not_supported():
    assert errors(ask("example.com", options=[])) == errors(ask(".", "NS", options=[])) == [20]
    assert errors(ask("example.org", "AXFR", options=[])) == [21]
    assert errors(ask("version.bind", "TXT", options=[], rdclass="CH")) == [21]
    assert errors(ask("none.example.org", options=[])) == [] == errors(ask(SELECT, options=[]))


@pytest.mark.parametrize("name", ["version.bind", "version.server", "id.server", "hostname.bind", "authors.bind"])
def test_nobody_is_told_our_version(name):
    """RFC 4892 leaves it to the operator; who we are is NSID's to say."""
    reply = ask(name, "TXT", rdclass="CH")
    assert reply.rcode() == 5 and not reply.answer


def test_rfc_7828_3_2_1_keepalive_never_by_udp():
    query = packet(opt(option(11)))
    assert raw(query).endswith(opt()) and raw(query, transport=wire.TCP).endswith(option(11, b"\0\x64"))


def test_rfc_7830_6_padding_only_inside_tls_and_on_demand():
    query = packet(opt(option(12, bytes(30))))
    assert [len(raw(query, transport=way)) == 468 for way in (wire.UDP, wire.TCP, wire.TLS)] == [False, False, True]
    assert len(raw(packet(opt()), transport=wire.TLS)) < 100
    large = packet(opt(option(12)), name="big.example.org", rtype=16)
    assert len(raw(large, transport=wire.TLS)) == 3 * 468
    badly = packet(opt(option(12)), name="example.com")
    assert len(raw(badly, transport=wire.TLS)) == 468, "a refusal looks like anything else"


def test_rfc_7873_5_2_3_a_cookie_for_who_sends_one():
    reply = ask(SELECT, options=[dns.edns.GenericOption(10, bytes(8))])
    assert [len(option.to_wire()) for option in reply.options] == [24] and reply.answer
    assert not ask(SELECT, options=[]).options


def test_rfc_8906_3_everything_is_answered():
    """Any opcode, type, class, flag and version: silence is for answers alone."""
    for opcode in range(16):
        assert raw(packet(flags=opcode << 11))
    for rtype in range(0, 65536, 97):
        assert rcode(raw(packet(rtype=rtype, name="mail.example.org"))) in (0, 5)
    for bit in range(15):
        assert raw(packet(flags=1 << bit))
