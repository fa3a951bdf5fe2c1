"""The answering path, question by question; each test names the section that asks for it."""

from __future__ import annotations

import runpy
from ipaddress import ip_address
from pathlib import Path

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import pytest

from mirrornet.dns.serving import counters
from mirrornet.dns.serving.answer import Responder, not_ready

WORLD = runpy.run_path(str(Path(__file__).parents[1] / "vectors" / "wire" / "plan.py"))
PLAN, TTLS = WORLD["PLAN"], WORLD["TTLS"]
PEER = bytes([203, 0, 113, 1])


def ask(
    name, rtype="A", *, peer=PEER, tcp=False, responder=None, edns=None, options=(), flags=dns.flags.RD, rdclass="IN"
):
    query = dns.message.make_query(name, rtype, rdclass=rdclass, flags=flags)
    if edns is not None or options:
        query.use_edns(0, 0, edns or 1232, options=list(options))
    octets = (responder or Responder(PLAN, TTLS, nsid=b"here")).respond(query.to_wire(), peer, tcp)
    assert octets is not None
    reply = dns.message.from_wire(octets)
    assert query.is_response(reply)
    assert reply.flags & dns.flags.RD == flags & dns.flags.RD
    assert not reply.flags & (dns.flags.RA | dns.flags.AD | dns.flags.CD)
    assert (reply.edns == 0) == (query.edns == 0)
    return reply


def texts(section):
    return [rrset.to_text() for rrset in section]


def negative(reply, apex="example.org."):
    """RFC 2308 section 3: the SOA, with the lesser of its TTL and its minimum."""
    assert not reply.answer and reply.flags & dns.flags.AA
    (soa,) = reply.authority
    assert (soa.name.to_text(), soa.rdtype, soa.ttl) == (apex, dns.rdatatype.SOA, 60)
    return reply.rcode()


@pytest.mark.parametrize(
    ("client", "host", "ttl", "scope"),
    [("10.0.0.0", 1, 21, 16), ("10.1.2.0", 2, 22, 16), ("10.64.0.0", 1, 21, 10), ("192.0.2.0", 0, 20, 1)],
)
def test_tailored_by_subnet_rfc7871_7_2_1(client, host, ttl, scope):
    reply = ask("select.example.org", options=[dns.edns.ECSOption(client, 24)])
    assert texts(reply.answer) == [
        f"select.example.org. {ttl} IN A 192.0.2.{host}\nselect.example.org. {ttl} IN A 192.0.2.{host + 100}"
    ]
    assert [(o.address, o.srclen, o.scopelen) for o in reply.options] == [(client, 24, scope)]
    assert reply.flags & dns.flags.AA


def test_tailored_by_peer_without_subnet():
    for peer, host in ((bytes([10, 0, 0, 1]), 1), (bytes([10, 1, 0, 1]), 2), (ip_address("2001:db8::1").packed, 1)):
        for edns in (None, 1232):
            reply = ask("select.example.org", peer=peer, edns=edns)
            assert reply.answer[0][0].address == f"192.0.2.{host}"
            assert not reply.options


@pytest.mark.parametrize(
    ("client", "source", "host", "scope"),
    [
        ("2001:db8::", 56, 1, 48),
        ("2001:db8:2::", 128, 1, 47),
        ("::ffff:10.1.0.0", 120, 2, 112),
        ("64:ff9b::10.1.0.0", 120, 2, 112),
        ("2002:a01::", 48, 2, 32),
        ("2001:0:1:2:3:4:f5fe:ffff", 128, 2, 128),
    ],
)
def test_scope_of_ipv6(client, source, host, scope):
    reply = ask("select.example.org", options=[dns.edns.ECSOption(client, source)])
    assert reply.answer[0][0].address == f"192.0.2.{host}"
    assert [(o.srclen, o.scopelen) for o in reply.options] == [(source, scope)]


def test_source_0_gets_the_anywhere_answer_rfc7871_7_1_2():
    for option in (dns.edns.ECSOption("10.1.0.0", 0), dns.edns.ECSOption("2001:db8::", 0)):
        reply = ask("select.example.org", peer=bytes([10, 1, 0, 1]), options=[option])
        assert reply.answer[0][0].address == "192.0.2.0"
        assert [(o.srclen, o.scopelen) for o in reply.options] == [(0, 0)]


def test_tailored_nodata_is_negative_with_scope_0():
    reply = ask("select.example.org", "AAAA", options=[dns.edns.ECSOption("2001:db8:1::", 48)])
    assert negative(reply) == dns.rcode.NOERROR
    assert reply.options[0].scopelen == 0


@pytest.mark.parametrize(
    ("name", "rtype"), [("mail.example.org", "A"), ("nothing.example.org", "A"), ("www.example.com", "A")]
)
def test_static_and_negative_answers_have_scope_0(name, rtype):
    reply = ask(name, rtype, options=[dns.edns.ECSOption("10.1.0.0", 24)])
    subnets = [o for o in reply.options if o.otype == dns.edns.ECS]
    assert [(o.address, o.srclen, o.scopelen) for o in subnets] == [("10.1.0.0", 24, 0)]


def test_select_at_the_apex_of_a_second_zone():
    reply = ask("example.net", options=[dns.edns.ECSOption("10.1.0.0", 16)])
    assert reply.answer[0][0].address == "192.0.2.2"


@pytest.mark.parametrize("flags", [0x0100, 0x0000, 0x0130, 0x0140, 0x0700])
def test_flags_of_the_query_change_nothing_but_rd(flags):
    """RFC 8906 8.1.3: AD, CD, Z, AA and TC set in a query."""
    query = bytearray(dns.message.make_query("select.example.org", "A").to_wire())
    query[2:4] = flags.to_bytes(2, "big")
    reply = Responder(PLAN, TTLS).respond(bytes(query), PEER, False)
    assert reply is not None
    assert int.from_bytes(reply[2:4], "big") == 0x8400 | flags & 0x0100


def test_case_of_the_question_is_kept_rfc4343():
    for name in ("SeLeCt.ExAmPlE.oRg", "MAIL.example.ORG", "Nothing.Example.Org"):
        query = dns.message.make_query(name, "A").to_wire()
        reply = Responder(PLAN, TTLS).respond(query, PEER, False)
        assert reply is not None and reply[12 : len(query)] == query[12:]
        assert reply[3] & 15 == (3 if name.startswith("Nothing") else 0)


def test_refused_outside_our_zones():
    for name in ("www.example.com", "org", "."):
        reply = ask(name)
        assert reply.rcode() == dns.rcode.REFUSED and not reply.flags & dns.flags.AA
        assert not reply.answer and not reply.authority


@pytest.mark.parametrize("rtype", ["AXFR", "IXFR"])
def test_transfers_are_refused(rtype):
    for tcp in (False, True):
        query = dns.message.make_query("example.org", rtype).to_wire()
        reply = Responder(PLAN, TTLS).respond(query, PEER, tcp)
        assert reply is not None and reply[3] & 15 == dns.rcode.REFUSED


@pytest.mark.parametrize(("name", "rdclass"), [("version.bind", "CH"), ("example.org", "CH"), ("example.org", "ANY")])
def test_other_classes_are_refused(name, rdclass):
    assert ask(name, "TXT", rdclass=rdclass).rcode() == dns.rcode.REFUSED


def test_nxdomain_and_nodata():
    assert negative(ask("nothing.example.org")) == dns.rcode.NXDOMAIN
    assert negative(ask("below.mail.example.org")) == dns.rcode.NXDOMAIN
    assert negative(ask("mail.example.org", "TXT")) == dns.rcode.NOERROR
    assert negative(ask("mail.example.org", "TYPE666")) == dns.rcode.NOERROR  # RFC 3597: not SERVFAIL


def test_empty_non_terminals_rfc8020():
    for name in ("_tcp.select.example.org", "c.example.org", "b.c.example.org", "here.example.org"):
        expected = dns.rcode.NXDOMAIN if name.startswith("here") else dns.rcode.NOERROR
        assert negative(ask(name)) == expected, name


def test_wildcards_rfc4592():
    assert texts(ask("one.wild.example.org", "TXT").answer) == ['one.wild.example.org. 300 IN TXT "any"']
    assert texts(ask("a.b.wild.example.org", "TXT").answer) == ['a.b.wild.example.org. 300 IN TXT "any"']
    assert texts(ask("*.wild.example.org", "TXT").answer) == ['*.wild.example.org. 300 IN TXT "any"']
    assert negative(ask("one.wild.example.org", "A")) == dns.rcode.NOERROR
    assert negative(ask("deep.wild.example.org", "TXT")) == dns.rcode.NOERROR  # it exists itself
    assert negative(ask("x.deep.wild.example.org", "TXT")) == dns.rcode.NXDOMAIN  # the nearest ancestor has no `*`
    assert negative(ask("wild.example.org", "TXT")) == dns.rcode.NOERROR


@pytest.mark.parametrize(
    ("name", "rtype", "answer", "rcode"),
    [
        ("www", "A", ["300 IN CNAME mail.example.org.", "mail.example.org. 300 IN A 192.0.2.25"], 0),
        ("www", "CNAME", ["300 IN CNAME mail.example.org."], 0),
        ("www", "ANY", ["300 IN CNAME mail.example.org."], 0),
        ("chain", "A", ["300 IN CNAME www.example.org.", "www.example.org. 300 IN CNAME mail.example.org."], 0),
        ("away", "A", ["300 IN CNAME www.example.com."], 0),
        ("choose", "A", ["300 IN CNAME select.example.org."], 0),
        ("gone", "A", ["300 IN CNAME nothing.here.example.org."], 3),
        ("empty", "A", ["300 IN CNAME a.b.c.example.org."], 0),
        ("alias", "TXT", ["300 IN CNAME x.wild.example.org.", 'x.wild.example.org. 300 IN TXT "any"'], 0),
        ("x.star", "A", ["300 IN CNAME mail.example.org.", "mail.example.org. 300 IN A 192.0.2.25"], 0),
    ],
)
def test_aliases_rfc1034_4_3_2(name, rtype, answer, rcode):
    reply = ask(f"{name}.example.org", rtype)
    assert texts(reply.answer) == [f"{name}.example.org. {answer[0]}", *answer[1:]]
    assert reply.rcode() == rcode and reply.flags & dns.flags.AA
    assert bool(reply.authority) == (name in ("gone", "empty"))


def test_delegation_with_glue():
    for name in ("child.example.org", "deep.below.child.example.org", "ns.child.example.org"):
        reply = ask(name)
        assert reply.rcode() == 0 and not reply.flags & dns.flags.AA and not reply.answer
        assert texts(reply.authority) == [
            "child.example.org. 300 IN NS ns.child.example.org.\nchild.example.org. 300 IN NS ns.elsewhere.example."
        ]
        assert texts(reply.additional) == ["ns.child.example.org. 300 IN A 192.0.2.99"]


def test_ds_is_answered_by_the_parent_rfc4035_3_1_4_1():
    reply = ask("child.example.org", "DS")
    assert reply.flags & dns.flags.AA and len(reply.answer) == 1 and not reply.authority


def test_any_rfc8482():
    assert texts(ask("mail.example.org", "ANY").answer) == ['mail.example.org. 3600 IN HINFO "RFC8482" ""']
    assert negative(ask("_tcp.select.example.org", "ANY")) == dns.rcode.NOERROR


def test_truncation():
    big = ask("big.example.org", "TXT", edns=1232)
    assert not big.flags & dns.flags.TC and len(big.answer) == 1
    for reply in (ask("big.example.org", "TXT"), ask("huge.example.org", "TXT", edns=4096)):
        assert reply.flags & dns.flags.TC and not reply.answer and not reply.authority
    for name in ("big", "huge"):
        reply = ask(f"{name}.example.org", "TXT", tcp=True)
        assert not reply.flags & dns.flags.TC and len(reply.answer) == 1


def test_nsid_rfc5001():
    (option,) = ask("mail.example.org", options=[dns.edns.NSIDOption(b"")]).options
    assert option.nsid == b"here"
    assert not ask("mail.example.org", options=[dns.edns.NSIDOption(b"")], responder=Responder(PLAN, TTLS)).options
    with pytest.raises(ValueError, match="128"):
        Responder(PLAN, TTLS, nsid=bytes(129))


def test_retime_changes_ttls_of_answers_already_written():
    responder = Responder(PLAN, TTLS)
    assert ask("select.example.org", responder=responder).answer[0].ttl == 20
    responder.retime([1, 2, 3])
    assert ask("select.example.org", responder=responder).answer[0].ttl == 1


def test_not_ready_is_said_at_once_rfc8914():
    query = dns.message.make_query("select.example.org", "A", use_edns=0)
    octets = not_ready(query.to_wire(), PEER, False)
    assert octets is not None
    reply = dns.message.from_wire(octets)
    assert reply.rcode() == dns.rcode.SERVFAIL
    assert [option.code for option in reply.options] == [14]
    assert not_ready(octets, PEER, False) is None


def test_a_bug_of_ours_is_servfail_and_counted():
    responder = Responder(PLAN, [])  # TTLs are missing: a broken promise of the caller
    assert ask("select.example.org", responder=responder).rcode() == dns.rcode.SERVFAIL
    assert responder.counts[counters.SERVFAIL] == 1


def test_counts():
    responder = Responder(PLAN, TTLS)
    for name in ("mail.example.org", "nothing.example.org", "www.example.com", "child.example.org"):
        ask(name, responder=responder)
    ask("mail.example.org", "TXT", responder=responder)
    ask("select.example.org", responder=responder, options=[dns.edns.ECSOption("10.1.0.0", 16)])
    ask("mail.example.org", responder=responder)
    ask("select.example.org", responder=responder, options=[dns.edns.ECSOption("0.0.0.0", 0)])
    ask("_http._tcp.select.example.org", "URI", responder=responder)
    responder.settle()
    named = dict(zip(counters.NAMES, responder.counts, strict=True))
    assert {name: count for name, count in named.items() if count} == {
        "nxdomain": 1,
        "nodata": 1,
        "referral": 1,
        "refused": 1,
        "ecs": 2,
        "type_a": 7,
        "type_txt": 1,
        "type_uri": 1,
    } | {kind: named[kind] for kind in ("static", "tailored", "anywhere")}
    assert (named["static"], named["tailored"], named["anywhere"]) == (2, 3, 2)
    assert sum(responder.hits) == named["tailored"]
