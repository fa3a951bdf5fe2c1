"""Mutated packets against `respond()`, with cookies and a rate limit on: what must hold of any octets at all.

    python bench/fuzz_dns.py [MILLIONS [SEED]]        ten by default, on all processors, at low priority

Two packets of five are composed, sound in form and anything in content.  The others begin as the queries of
tests/vectors, and a few made to be slow: names of 127 labels, OPT records full of options, records in a row,
pointers.  Then octets are set, flipped, cut, doubled or spliced with those of another packet.  For every packet:

    nothing is raised, and no bug of ours is answered with SERVFAIL
    an answer (QR=1) or less than a header gets silence; everything else gets at most one reply, with its id and QR=1
    a reply is no longer than the asker can take: 512 octets without an OPT, 1232 with one, 65535 by TCP

The CPU time of each packet is measured; the slowest ones are tried twenty times again, and the best of those counts,
since what is left is the packet's own and not the machine's.  A failure prints the packet in hex and ends the run.
"""

from __future__ import annotations

import heapq
import json
import os
import random
import runpy
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from mirrornet.dns.message import wire
from mirrornet.dns.message.cookies import Cookies
from mirrornet.dns.message.gate import Gate
from mirrornet.dns.message.rate import Limiter
from mirrornet.dns.serving import counters
from mirrornet.dns.serving.answer import Responder

VECTORS = Path(__file__).parents[1] / "tests" / "vectors" / "wire"
SLICE = 250_000  # packets of one task
PEERS = [bytes([10, 1, 2, n]) for n in range(3)] + [bytes.fromhex("20010db8000100000000000000000001"), bytes(16)]
PEERS += [bytes([n, n, 7, 9]) for n in range(250)]
SECRET = b"sixteen octets, "


def seeds() -> list[bytes]:
    """Packets to begin with."""
    files = VECTORS / "queries.json", VECTORS.parent / "compliance" / "cases.json"
    found = [bytes.fromhex(case["query"]) for file in files for case in json.loads(file.read_text())]
    head, select = b"\x12\x34\1\0\0\1\0\0\0\0", b"\6select\7example\3org\0\0\1\0\1"
    cookie = Cookies([SECRET]).make(bytes(8), PEERS[0], 1000)

    def with_options(options: bytes) -> bytes:
        return head + b"\0\1" + select + b"\0\0\x29\x04\xd0\0\0\0\0" + len(options).to_bytes(2, "big") + options

    found += [with_options(b"\0\x0a\0\x18" + cookie), with_options(b"\0\x0a\0\x08" + cookie[:8])]
    found += [with_options(b"\0\x08\0\7\0\1\x18\0\x0a\1\2" + b"\0\x0a\0\x18" + cookie + b"\0\x0b\0\0\0\x0c\0\2\0\0")]
    found += [with_options(b"\xff\xff\0\0" * 900), with_options(b"\0\x08\0\7\0\1\x18\0\x0a\1\2" * 300)]
    found += [with_options(b"\0\x0a\0\x08" + bytes(8) + b"\0\x0a\0\x28" + bytes(40))]
    found += [head + b"\0\0" + b"\1a" * 127 + b"\0\0\1\0\1", head + b"\0\0" + b"\x3f" + b"x" * 63 + select[1:]]
    found += [head[:4] + b"\0\1\0\0\0\0\0\x08" + select + (b"\xc0\x0c" + bytes(10)) * 8]
    found += [head[:4] + b"\0\1\xff\xff\xff\xff\xff\xff" + select + (b"\1a" * 120 + b"\0" + bytes(10)) * 15]
    found += [bytes(4000), b"\xff" * 4000, head + b"\0\0" + b"\xc0\x0c" * 2000]
    return found


NAMES = ["select.example.org", "_http._tcp.select.example.org", "mail.example.org", "www.example.org", "example.org"]
NAMES += ["x.wild.example.org", "big.example.org", "huge.example.org", "none.example.org", "x.child.example.org", "a.b"]
WIRES = [b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0" for name in NAMES]
TYPES = [1, 28, 16, 256, 33, 6, 2, 5, 15, 43, 252, 255, 13, 41, 250, 65, 666]
OPTIONS = [8, 8, 8, 10, 10, 3, 11, 12, 15, 9, 65001]


def compose(dice: random.Random) -> bytearray:
    """A packet whose frame is sound and whose contents are not, or just so."""
    options = b""
    for _ in range(int(dice.random() * 4)):
        code = dice.choice(OPTIONS)
        data = dice.randbytes(dice.choice((0, 2, 4, 6, 7, 8, 11, 12, 16, 24, 40)))
        if code == 8 and dice.random() < 0.8:
            family, octets = dice.choice(((1, 4), (2, 16), (0, 0), (3, 2)))
            source = int(dice.random() * (octets * 8 + 2))
            data = family.to_bytes(2, "big") + bytes((source, 0)) + dice.randbytes(octets)[: (source + 7) // 8]
            if source % 8 and dice.random() < 0.9:
                data = data[:-1] + bytes((data[-1] & 0xFF00 >> source % 8,)) if len(data) > 4 else data
        options += code.to_bytes(2, "big") + len(data).to_bytes(2, "big") + data
    version = dice.choice((0, 0, 0, 0, 0, 1))
    size, do = dice.choice((0, 512, 700, 1232, 4096)), dice.choice((0, 0x80))
    opt = b"\0\0\x29" + size.to_bytes(2, "big") + bytes((0, version, do, 0)) + len(options).to_bytes(2, "big") + options
    flags = dice.choice((0, 0, 1, 1, 4, 2, 0x10))
    head = dice.randbytes(2) + bytes((flags, dice.choice((0, 0x10, 0x20, 0x40)))) + b"\0\1\0\0\0\0"
    name = dice.choice(WIRES).upper() if dice.random() < 0.1 else dice.choice(WIRES)
    question = name + dice.choice(TYPES).to_bytes(2, "big") + dice.choice((b"\0\1", b"\0\1", b"\0\1", b"\0\3"))
    if dice.random() < 0.1:
        return bytearray(head + b"\0\0" + question)
    return bytearray(head + b"\0\1" + question + opt)


def mutate(dice: random.Random, corpus: list[bytes]) -> bytes:
    """One packet."""
    if dice.random() < 0.4:
        data = compose(dice)
        changes = max(0, int(dice.random() * 4) - 2)
    else:
        data = bytearray(dice.choice(corpus))
        changes = int(dice.random() * 4)
    for _ in range(changes):
        at = int(dice.random() * len(data)) if data else 0
        match int(dice.random() * 7):
            case 0 if data:
                data[at] = int(dice.random() * 256)
            case 1 if data:
                data[at] ^= 1 << int(dice.random() * 8)
            case 2:
                del data[at : at + 1 + int(dice.random() * 8)]
            case 3:
                data[at:at] = dice.randbytes(1 + int(dice.random() * 8))
            case 4 if data:
                data[at] = dice.choice((0, 1, 0x3F, 0x40, 0xC0, 0xFF, 41, 8, 10))
            case 5:
                data += data[at:][:600]
            case 6:
                other = dice.choice(corpus)
                data[at:] = other[int(dice.random() * len(other)) :]
    return bytes(data)


def check(data: bytes, reply: bytes | None, transport: int, limited: bool) -> None:
    if len(data) < 12 or data[2] & 0x80:
        assert reply is None, "an answer, or less than a header, was answered"
        return
    if reply is None:
        assert limited, "a query got silence"
        return
    assert reply[:2] == data[:2] and reply[2] & 0x80 and len(reply) >= 12
    assert not reply[3] & 0xF0, "RA, Z, AD or CD"
    room = 65535 if transport else 1232 if reply[11] or reply[10] else 512
    assert len(reply) <= room, f"{len(reply)} octets"


def run(seed: int, packets: int) -> tuple[dict[str, int], list[tuple[float, str, int]]]:
    """(what was counted, the slowest: CPU seconds, packet in hex, transport)"""
    world: dict[str, Any] = runpy.run_path(str(VECTORS / "plan.py"))
    dice, corpus = random.Random(seed), seeds()
    gate = Gate(Cookies([SECRET]), Limiter(15, SECRET), 1000.0)
    responder = Responder(world["PLAN"], world["TTLS"], nsid=b"fuzz", gate=gate)
    slowest: list[tuple[float, bytes, int]] = []
    clock, silent = time.process_time, 0
    for number in range(packets):
        data = mutate(dice, corpus)
        transport = (wire.UDP, wire.UDP, wire.TCP, wire.TLS)[number & 3]
        peer = PEERS[int(dice.random() * len(PEERS))]
        gate.now += 0.0001
        before = responder.counts[counters.LIMITED]
        began = clock()
        try:
            reply = responder.respond(data, peer, transport)
            spent = clock() - began
            check(data, reply, transport, responder.counts[counters.LIMITED] > before)
            assert responder.counts[counters.SERVFAIL] == 0, "respond() met a bug of ours"
        except Exception:
            print(f"seed {seed}, packet {number}, transport {transport}: {data.hex()}", flush=True)
            raise
        silent += reply is None
        if len(slowest) < 50 or spent > slowest[0][0]:
            heapq.heappush(slowest, (spent, data, transport))
            if len(slowest) > 50:
                heapq.heappop(slowest)
    again = []
    for _, data, transport in slowest:
        times = []
        for _ in range(20):
            began = clock()
            responder.respond(data, PEERS[0], transport)
            times.append(clock() - began)
        again.append((min(times), data.hex(), transport))
    counted = dict(zip(counters.NAMES, responder.counts, strict=True)) | {"packets": packets, "silent": silent}
    return counted, sorted(again, reverse=True)[:3]


def task(seed: int) -> tuple[dict[str, int], list[tuple[float, str, int]]]:
    return run(seed, SLICE)


def main(millions: float = 10, seed: int = 1) -> int:
    os.nice(10)
    tasks = max(1, round(millions * 1e6 / SLICE))
    total: dict[str, int] = {}
    slowest: list[tuple[float, str, int]] = []
    began = time.monotonic()
    with ProcessPoolExecutor() as pool:
        for number, (counted, slow) in enumerate(pool.map(task, range(seed * 1000, seed * 1000 + tasks)), 1):
            for name, count in counted.items():
                total[name] = total.get(name, 0) + count
            slowest = sorted(slowest + slow, reverse=True)[:3]
            if number % 4 == 0 or number == tasks:
                print(f"{total['packets']:,} packets, {time.monotonic() - began:.0f} s", flush=True)
    print(", ".join(f"{name} {count:,}" for name, count in total.items() if count))
    for spent, data, transport in slowest:
        print(
            f"{spent * 1e6:.0f} µs of CPU: {len(data) // 2} octets by {('UDP', 'TCP', 'TLS')[transport]}: {data[:80]}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:2]), *map(int, sys.argv[2:3])))
