"""Any octets in, an answer or silence out; and the quick road says what the long one says."""

from __future__ import annotations

import random
import runpy
from pathlib import Path

import dns.edns
import dns.message
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mirrornet.dns.message.cookies import Cookies
from mirrornet.dns.message.gate import Gate
from mirrornet.dns.message.rate import Limiter
from mirrornet.dns.serving import counters
from mirrornet.dns.serving.answer import Responder

WORLD = runpy.run_path(str(Path(__file__).parents[1] / "vectors" / "wire" / "plan.py"))
NOW = 1_800_000_000
COOKIES = Cookies([b"sixteen octets, "])
GATE = Gate(COOKIES, now=float(NOW))
RESPONDER = Responder(WORLD["PLAN"], WORLD["TTLS"], nsid=b"here", gate=GATE)
SLOW = Responder(WORLD["PLAN"], WORLD["TTLS"], nsid=b"here", gate=GATE)
SLOW._hot.clear()
LIMITED = Responder(WORLD["PLAN"], WORLD["TTLS"], gate=Gate(COOKIES, Limiter(1, bytes(16)), float(NOW)))

NAMES = ["select.example.org", "_http._tcp.select.example.org", "mail.example.org", "example.org", "example.net"]
NAMES += ["nothing.example.org", "www.example.org", "child.example.org", "x.wild.example.org", "big.example.org", "."]
TYPES = ["A", "AAAA", "TXT", "URI", "SOA", "NS", "MX", "DS", "CNAME", "ANY", "AXFR", "TYPE666", "HTTPS"]
PEERS = [bytes([10, 1, 2, 3]), bytes([198, 51, 100, 1]), bytes.fromhex("20010db8000100000000000000000001")]
PEERS += [bytes(10) + b"\xff\xff\x0a\x01\x00\x00", bytes.fromhex("20020a010203") + bytes(10)]


def check(data: bytes, peer: bytes, tcp: bool) -> bytes | None:
    """What must hold of the reply to any octets at all."""
    reply = RESPONDER.respond(data, peer, tcp)
    assert RESPONDER.counts[counters.SERVFAIL] == 0, "respond() met a bug of ours"
    if len(data) < 12 or data[2] & 0x80:
        assert reply is None
        return reply
    assert reply is not None
    assert reply[:2] == data[:2] and reply[2] & 0x80
    assert not reply[3] & 0xF0, "RA, Z, AD and CD are clear"
    assert len(reply) <= (65535 if tcp else 1232)
    dns.message.from_wire(reply)
    return reply


@st.composite
def queries(draw: st.DrawFn) -> bytes:
    name = draw(st.sampled_from(NAMES))
    name = "".join(c.upper() if draw(st.booleans()) else c for c in name) if draw(st.booleans()) else name
    query = dns.message.make_query(name, draw(st.sampled_from(TYPES)), flags=draw(st.sampled_from([0, 256, 32, 272])))
    if draw(st.booleans()):
        options: list[dns.edns.Option] = []
        address = draw(st.one_of(st.none(), st.ip_addresses(v=4), st.ip_addresses(v=6)))
        if address is not None:
            source = draw(st.integers(0, 32 if address.version == 4 else 128))
            options.append(dns.edns.ECSOption(str(address), source))
        if draw(st.integers(0, 3)) == 0:
            options.append(dns.edns.NSIDOption(b""))
        if draw(st.booleans()):
            client = draw(st.binary(min_size=8, max_size=8))
            age = draw(st.sampled_from([None, 0, 1000, 2000, 4000]))
            server = draw(st.binary(max_size=34).filter(lambda octets: not 0 < len(octets) < 8))
            cookie = client + server if age is None else COOKIES.make(client, draw(st.sampled_from(PEERS)), NOW - age)
            options.append(dns.edns.GenericOption(10, cookie))
        size = draw(st.sampled_from([0, 512, 600, 1232, 4096]))
        query.use_edns(0, draw(st.sampled_from([0, 0x8000])), size, options=options)
    return query.to_wire()


@given(query=queries(), peer=st.sampled_from(PEERS), tcp=st.booleans())
def test_both_roads_say_the_same(query, peer, tcp):
    assert check(query, peer, tcp) == SLOW.respond(query, peer, tcp)


@given(query=queries(), peer=st.sampled_from(PEERS))
def test_a_limited_reply_is_short_or_none(query, peer):
    """Whatever is asked; and by both roads it is no larger than an answer without records and with a cookie."""
    for _ in range(8):
        reply = LIMITED.respond(query, peer, 0)
        assert LIMITED.counts[counters.SERVFAIL] == 0
        if reply is not None and reply[2] & 2:
            assert reply[6:10] == bytes(4), "no records beside TC"


@given(data=st.binary(max_size=600), peer=st.sampled_from(PEERS), tcp=st.booleans())
@example(data=b"", peer=PEERS[0], tcp=False)
@example(data=bytes(12), peer=PEERS[0], tcp=False)
def test_any_octets(data, peer, tcp):
    check(data, peer, tcp)


@pytest.mark.parametrize("seed", range(4))
def test_mutated_queries(seed):
    dice = random.Random(seed)
    seeds = [dns.message.make_query(name, rtype).to_wire() for name in NAMES for rtype in TYPES[:6]]
    for name in NAMES:
        query = dns.message.make_query(name, "A")
        query.use_edns(0, 0, 1232, options=[dns.edns.ECSOption("10.1.2.0", 24), dns.edns.NSIDOption(b"")])
        seeds.append(query.to_wire())
        query.use_edns(0, 0, 1232, options=[dns.edns.ECSOption("2001:db8::", 56)])
        seeds.append(query.to_wire())
    answered = 0
    for _ in range(4000):
        data = bytearray(dice.choice(seeds))
        for _ in range(dice.randrange(1, 5)):
            at = dice.randrange(2, len(data))
            match dice.randrange(4):
                case 0:
                    data[at] = dice.randrange(256)
                case 1:
                    data[at] ^= 1 << dice.randrange(8)
                case 2:
                    del data[at : at + dice.randrange(1, 4)]
                case 3:
                    data[at:at] = dice.randbytes(dice.randrange(1, 4))
            if len(data) < 3:
                break
        reply = check(bytes(data), dice.choice(PEERS), False)
        assert reply == SLOW.respond(bytes(data), PEERS[0], False) or reply is None or reply[3] & 15 == 0
        answered += reply is not None
    assert answered > 2000


def test_time_is_bounded():
    """A query as long as TCP carries, of many tiny records, is refused before they are looked at."""
    header = b"\0\1\0\0\0\1\xff\xff\xff\xff\xff\xff"
    data = (header + b"\0\0\1\0\1" + b"\0\0\1\0\1\0\0\0\0\0\0" * 6000)[:65535]
    reply = check(data, PEERS[0], True)
    assert reply is not None and reply[3] & 15 == 1
    long = header[:6] + bytes(6) + b"\1a" * 127 + b"\0\0\1\0\1"
    assert check(long, PEERS[0], True) is not None
