"""Response rate limiting: buckets by network, every second limited reply short, cookies and TCP exempt."""

from __future__ import annotations

import random
import runpy
from collections import Counter
from ipaddress import ip_address
from pathlib import Path

import pytest

from mirrornet.dns.message import rate, wire
from mirrornet.dns.message.cookies import Cookies
from mirrornet.dns.message.gate import Gate
from mirrornet.dns.message.rate import ANSWER, SHORT, SILENCE, Limiter
from mirrornet.dns.serving import counters
from mirrornet.dns.serving.answer import Responder

WORLD = runpy.run_path(str(Path(__file__).parents[1] / "vectors" / "wire" / "plan.py"))
KEY = bytes(range(16))
PEER = ip_address("198.51.100.1").packed
HEAD = b"\x12\x34\0\0\0\1\0\0\0\0\0"
SELECT = b"\6select\7example\3org\0\0\1\0\1"
OPT = b"\0\0\x29\x04\xd0\0\0\0\0"
BARE = HEAD + b"\0" + SELECT
ASKED = HEAD + b"\1" + SELECT + OPT + b"\0\x0c\0\x0a\0\x08" + bytes(range(8))
ECS = HEAD + b"\1" + SELECT + OPT + b"\0\x0b\0\x08\0\7\0\1\x18\0\x0a\1\2"


def test_a_network_gets_its_rate_and_its_burst():
    limiter = Limiter(10, KEY)
    assert [limiter.admit(PEER, 1000.0) for _ in range(20)] == [ANSWER] * 20
    assert [limiter.admit(PEER, 1000.0) for _ in range(4)] == [SILENCE, SHORT, SILENCE, SHORT]
    assert limiter.admit(PEER, 1000.09) != ANSWER and limiter.admit(PEER, 1000.1) == ANSWER
    answered = sum(limiter.admit(PEER, 1001 + n / 100) == ANSWER for n in range(1000))
    assert 100 <= answered <= 110, "ten seconds at ten a second, and what was saved up in the one before"
    assert limiter.admit(PEER, 2000.0) == ANSWER


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        ("198.51.100.1", "198.51.100.254", True),
        ("198.51.100.1", "198.51.101.1", False),
        ("2001:db8:0:100::1", "2001:db8:0:1ff:ffff::", True),
        ("2001:db8:0:100::1", "2001:db8:0:200::1", False),
    ],
)
def test_networks_are_of_24_and_56_bits(one, other, together):
    limiter = Limiter(1, KEY)
    while limiter.admit(ip_address(one).packed, 0.0) == ANSWER:
        pass
    assert (limiter.admit(ip_address(other).packed, 0.0) != ANSWER) is together


def test_memory_is_bounded_and_neighbours_are_safe():
    """A flood in a hundred names, then one query each from ten thousand others."""
    limiter, dice = Limiter(5, KEY), random.Random(1)
    for network in range(100):
        for _ in range(50):
            limiter.admit(bytes([10, 0, network, 1]), 0.0)
    limited = sum(limiter.admit(dice.randbytes(4), 0.0) != ANSWER for _ in range(10_000))
    assert limited <= 40, "expected: 10,000 * 100 / 131,072 = 8"
    assert len(limiter.full) == rate.PLACES


def test_a_clock_that_goes_back_locks_nobody_out():
    limiter = Limiter(10, KEY)
    for _ in range(100):
        limiter.admit(PEER, 1e6)
    limiter.admit(PEER, 100.0)
    assert limiter.admit(PEER, 103.0) == ANSWER


def replies(query: bytes, transport: int = wire.UDP, number: int = 200, road: str = "quick") -> Counter[str]:
    """What becomes of `number` copies at a limit of ten, by kind of reply."""
    gate = Gate(Cookies([KEY]), Limiter(10, KEY), 1000.0)
    responder = Responder(WORLD["PLAN"], WORLD["TTLS"], gate=gate)
    if road == "slow":
        responder._hot.clear()
    found: Counter[str] = Counter()
    for _ in range(number):
        reply = responder.respond(query, PEER, transport)
        if reply is None:
            found["silence"] += 1
            continue
        rcode = reply[3] & 15 | (reply[len(BARE) + 5] << 4 if len(reply) > len(BARE) + 11 and reply[11] else 0)
        found["BADCOOKIE" if rcode == 23 else "TC" if reply[2] & 2 else "answer"] += 1
        if reply[2] & 2:
            assert len(reply) <= len(query), "who is flooded in a forged name gets no more than was sent"
    assert responder.counts[counters.LIMITED] == number - found["answer"]
    assert responder.counts[counters.SERVFAIL] == 0
    return found


@pytest.mark.parametrize("road", ["quick", "slow"])
@pytest.mark.parametrize(("query", "short"), [(BARE, "TC"), (ECS, "TC"), (ASKED, "BADCOOKIE")])
def test_limited_replies(query, short, road):
    assert replies(query, road=road) == {"answer": 20, "silence": 90, short: 90}


def test_a_valid_cookie_and_tcp_are_exempt():
    valid = HEAD + b"\1" + SELECT + OPT + b"\0\x1c\0\x0a\0\x18" + Cookies([KEY]).make(bytes(range(8)), PEER, 1000)
    assert replies(valid) == {"answer": 200} == replies(valid, road="slow")
    assert replies(BARE, wire.TCP) == {"answer": 200} == replies(BARE, wire.TLS)


def test_ecs_is_never_the_key():
    """Anybody may write any: a flood with changing ECS is one flood, and nobody is limited for what others wrote."""
    gate = Gate(None, Limiter(10, KEY), 1000.0)
    responder = Responder(WORLD["PLAN"], WORLD["TTLS"], gate=gate)
    for number in range(256):
        responder.respond(ECS[:-3] + bytes([number, number, 9]), PEER, wire.UDP)
    assert responder.counts[counters.LIMITED] == 236
    assert responder.respond(ECS, ip_address("10.1.9.1").packed, wire.UDP) is not None


def test_errors_are_limited_too():
    assert replies(BARE[:-2])["silence"] == 90


def test_the_limit_is_positive():
    for wrong in (0, -1):
        with pytest.raises(ValueError, match="positive"):
            Limiter(wrong, KEY)
