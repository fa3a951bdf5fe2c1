"""The compiled step says what Responder.respond() says, octet for octet, or leaves the packet to it.

Each packet goes through a responder with its own gate (the truth) and through the step with another of the same key,
so that cookies, limits and their buckets are compared as well.
"""

from __future__ import annotations

import random
import runpy
import shutil
import socket
from array import array
from dataclasses import replace
from pathlib import Path

import dns.edns
import dns.message
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrornet.dns.message.cookies import Cookies
from mirrornet.dns.message.gate import Gate
from mirrornet.dns.message.rate import Limiter
from mirrornet.dns.planning.planfile import Partition, Ranges, decode, encode
from mirrornet.dns.serving import counters, step
from mirrornet.dns.serving.answer import Responder

WORLD = runpy.run_path(str(Path(__file__).parents[1] / "vectors" / "wire" / "plan.py"))
PLAN, TTLS = WORLD["PLAN"], WORLD["TTLS"]
NOW = 1_800_000_000.5
SECRETS = [bytes(range(16)), bytes(range(16, 32))]
NAMES = ["select.example.org", "_http._tcp.select.example.org", "mail.example.org", "example.org", "example.net"]
NAMES += NAMES[:1] * 3 + [
    "nothing.example.org",
    "www.example.org",
    "x.wild.example.org",
    "big.example.org",
    "huge.example.org",
    ".",
]
NAMES += ["huge.example.org", "x.y.example.net", "empty.example.org", "b.c.example.org", "q.deep.wild.example.org"]
NAMES += ["child.example.org", "below.child.example.org", "x.mail.example.org", "x.www.example.org", "example", "com"]
TYPES = ["A", "AAAA", "TXT", "URI", "SOA", "MX", "DS", "CNAME", "ANY", "AXFR", "OPT", "TYPE0", "TYPE666"]
PEERS = [bytes([10, 1, 2, 3]), bytes([198, 51, 100, 1]), bytes.fromhex("20010db8000100000000000000000001")]
PEERS += [bytes(10) + b"\xff\xff\x0a\x01\x00\x00", bytes.fromhex("20020a010203") + bytes(10)]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler (Debian: gcc)")
    folder = tmp_path_factory.mktemp("step")
    assert step.build(folder) == ""
    return folder


def pair(
    library: Path, plan=PLAN, ttls=TTLS, cookies: bool = True, rate: float = 0, rest: list[Responder] | None = None
) -> tuple[step.Step, Responder]:
    """A step and the responder it must agree with, each with a gate of its own.  `rest`: gets the step's responder."""
    gates = [
        Gate(Cookies(SECRETS) if cookies else None, Limiter(rate, b"k" * 16) if rate else None, NOW) for _ in range(2)
    ]
    fast = step.load(library)
    assert fast is not None
    own = Responder(plan, ttls, nsid=b"here", gate=gates[0])
    if rest is not None:
        rest.append(own)
    fast.equip(own, ttls)
    fast.mind(gates[0])
    return fast, Responder(plan, ttls, nsid=b"here", gate=gates[1])


@st.composite
def queries(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """(packet, peer)."""
    peer = draw(st.sampled_from(PEERS))
    name = draw(st.sampled_from(NAMES))
    name = "".join(c.upper() if draw(st.booleans()) else c for c in name) if draw(st.booleans()) else name
    flags = draw(st.sampled_from([0, 256, 256, 32, 272]))
    query = dns.message.make_query(name, draw(st.sampled_from(["A"] * 5 + TYPES)), flags=flags)
    if draw(st.booleans()):
        options: list[dns.edns.Option] = []
        address = draw(st.one_of(st.none(), st.ip_addresses(v=4), st.ip_addresses(v=6)))
        if address is not None:
            source = draw(st.integers(0, 32 if address.version == 4 else 128))
            options.append(dns.edns.ECSOption(str(address), source))
        if draw(st.integers(0, 9)) == 0:
            options.append(dns.edns.NSIDOption(b""))
        match draw(st.integers(0, 4)):
            case 0:
                options.append(dns.edns.GenericOption(10, draw(st.binary(min_size=8, max_size=8))))
            case 1:
                secret, age = draw(st.sampled_from(SECRETS)), draw(st.sampled_from([-400, -299, 0, 5, 1900, 4000]))
                good = Cookies([secret]).make(b"clientck", peer, int(NOW) - age)
                options.append(dns.edns.GenericOption(10, good))
            case 2:
                options.append(dns.edns.GenericOption(10, draw(st.binary(max_size=41))))
        options = draw(st.permutations(options))
        size = draw(st.sampled_from([0, 512, 600, 1232, 4096]))
        query.use_edns(0, draw(st.sampled_from([0, 0, 0x8000])), size, options=options)
    return query.to_wire(), peer


def test_equal_to_python(library: Path) -> None:
    known = answered = 0
    for cookies in (True, False):
        fast, truth = pair(library, cookies=cookies)

        @settings(max_examples=400, deadline=None)
        @given(queries())
        def compare(case: tuple[bytes, bytes]) -> None:
            nonlocal known, answered
            known += 1
            said = fast.answer(*case, NOW)  # noqa: B023
            if said is not None:
                answered += 1
                assert said == truth.respond(*case, 0)  # noqa: B023

        compare()
    assert answered > known / 20, "it answers what is common"


def test_equal_on_what_has_been_damaged(library: Path) -> None:
    dice = random.Random(3)
    fast, truth = pair(library)
    seeds = []
    for name in [*NAMES[:5], "nothing.example.org"]:
        for options in ([], [dns.edns.ECSOption("10.1.2.0", 24)], [dns.edns.GenericOption(10, b"clientck")]):
            query = dns.message.make_query(name, "A")
            query.use_edns(0, 0, 1232, options=options + [dns.edns.ECSOption("2001:db8::", 56)] * (not options))
            seeds.append(query.to_wire())
    answered = 0
    for _ in range(40_000):
        data = bytearray(dice.choice(seeds))
        for _ in range(dice.randrange(1, 4)):
            at = dice.randrange(2, len(data))
            match dice.randrange(3):
                case 0:
                    data[at] = dice.randrange(256)
                case 1:
                    data[at] ^= 1 << dice.randrange(8)
                case 2:
                    del data[at : at + dice.randrange(1, 4)]
            if len(data) < 13:
                break
        peer = dice.choice(PEERS)
        said = fast.answer(bytes(data), peer, NOW)
        if said is not None:
            answered += 1
            assert said == truth.respond(bytes(data), peer, 0), data.hex()
    assert answered > 1000


def test_the_common_packet_is_answered_here_and_not_left(library: Path) -> None:
    fast, _ = pair(library)
    query = dns.message.make_query("select.example.org", "A", flags=0)
    assert fast.answer(query.to_wire(), PEERS[0], NOW) is not None
    cookie = dns.edns.GenericOption(10, b"clientck")
    for options in ([], [cookie], [dns.edns.ECSOption("10.1.2.0", 24)], [dns.edns.ECSOption("2001:db8::", 56), cookie]):
        query.use_edns(0, 0, 1232, options=options)
        assert fast.answer(query.to_wire(), PEERS[0], NOW) is not None


def test_both_count_alike(library: Path) -> None:
    """What the step answers and what it leaves are together counted as if Python had answered all of it."""
    for rate in (0.0, 3.0):
        rest: list[Responder] = []
        fast, truth = pair(library, rate=rate, rest=rest)
        answered = 0

        @settings(max_examples=400, deadline=None)
        @given(queries())
        def ask(case: tuple[bytes, bytes]) -> None:
            nonlocal answered
            said = fast.answer(*case, NOW)  # noqa: B023
            answered += said is not None
            if said is None:
                said = rest[0].respond(*case, 0)  # noqa: B023
            assert said == truth.respond(*case, 0)  # noqa: B023

        ask()
        truth.settle()
        rest[0].settle()
        together = [mine + its for mine, its in zip(rest[0].counts, fast.row, strict=True)]
        assert dict(zip(counters.NAMES, together, strict=True)) == dict(zip(counters.NAMES, truth.counts, strict=True))
        assert rest[0].hits.tolist() == truth.hits.tolist(), "answers by class: one array for both"
        assert answered and sum(truth.hits)


def test_random_maps(library: Path) -> None:
    """Ranges whose scopes are reckoned (255), of both families, read in place from the encoded plan."""
    dice = random.Random(5)
    for _ in range(10):
        families = []
        for bits, code in ((32, "I"), (64, "Q")):
            starts = sorted({0, *(dice.randrange(1 << bits) for _ in range(300)), 5 << (bits - 16), 1 << (bits - 1)})
            answers = [dice.randrange(3) for _ in starts]
            families.append(Ranges(array(code, starts), array("I", answers), array("B", [255] * len(starts))))
        plan = decode(bytearray(b"".join(encode(replace(PLAN, partitions=[Partition(*families)])))))
        fast, truth = pair(library, plan)
        for _ in range(600):
            old = dice.random() < 0.5
            ranges = plan.partitions[0].ranges4 if old else plan.partitions[0].ranges6
            near = dice.choice(ranges.starts) + dice.choice([-1, 0, 1, dice.randrange(1 << 16)])
            value = near % (1 << (32 if old else 64))
            source = dice.choice([24, 32, 32] if old else [56, 64, 64])
            address = value.to_bytes(4, "big") if old else value.to_bytes(8, "big") + bytes(8)
            text = socket.inet_ntop(socket.AF_INET if old else socket.AF_INET6, address)
            query = dns.message.make_query("select.example.org", "A", use_edns=0)
            query.use_edns(0, 0, 1232, options=[dns.edns.ECSOption(text, source)])
            said = fast.answer(query.to_wire(), PEERS[1], NOW)
            assert said is None or said == truth.respond(query.to_wire(), PEERS[1], 0)
            assert said is not None or not old


def test_limits_are_shared_and_equal(library: Path) -> None:
    fast, truth = pair(library, rate=5)
    query = dns.message.make_query("mail.example.org", "A").to_wire()
    plain = dns.message.make_query("mail.example.org", "A", use_edns=0)
    plain.use_edns(
        0, 0, 1232, options=[dns.edns.GenericOption(10, Cookies(SECRETS).make(b"c" * 8, PEERS[0], int(NOW)))]
    )
    said = []
    for number in range(30):
        answer = fast.answer(query, PEERS[0], NOW + number / 100)
        truth.gate.now = NOW + number / 100
        expected = truth.respond(query, PEERS[0], 0)
        said.append(answer is not None)
        assert answer in (None, expected)
        assert (answer is None) == (expected is None or bool(expected[2] & 2))
        assert fast.answer(plain.to_wire(), PEERS[0], NOW) is not None, "who has a good cookie is not limited"
    assert said.count(True) == 11, "two seconds' worth and what came in 0.3 s"


def test_ttls_change_without_a_new_plan(library: Path) -> None:
    fast, truth = pair(library)
    query = dns.message.make_query("select.example.org", "A").to_wire()
    for ttls in ([3, 4, 5], [60, 70, 80]):
        fast.retime(ttls)
        truth.retime(ttls)
        assert fast.answer(query, PEERS[0], NOW) == truth.respond(query, PEERS[0], 0)


def test_a_library_that_others_may_write_is_not_loaded(library: Path, tmp_path: Path) -> None:
    for path in library.glob("answer-*.so"):
        shutil.copy(path, tmp_path)
    assert step.load(tmp_path) is not None
    for path in tmp_path.glob("answer-*.so"):
        path.chmod(0o666)
    assert step.load(tmp_path) is None


def test_no_compiler_is_told_and_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    assert "no C compiler" in step.build(tmp_path)
    monkeypatch.setenv("CC", "false")
    assert "failed" in step.build(tmp_path)
    assert step.load(tmp_path) is None
    monkeypatch.setenv(step.SWITCH, "off")
    assert "switched off" in step.build(tmp_path)
    assert list(tmp_path.iterdir()) == []
