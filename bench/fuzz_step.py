"""The compiled step under the compiler's own watchmen: mutated packets, AddressSanitizer and UBSan, octets compared.

    python bench/fuzz_step.py [MILLIONS [SEED]]        two by default, at low priority

answer.c reads what anybody sends, in a language that does not look where it reads.  So it is built with
-fsanitize=address,undefined, Python is started anew with that runtime and the C library's malloc (whose blocks have
guarded edges), and the packets of fuzz_dns.py are given to it, each in a block of its own.  The first read or write
beyond an edge ends the run.  What it answers, or leaves to Python, must be what respond() says, cookies and limits
included: each side has a gate of its own, of the same keys.
"""

from __future__ import annotations

import os
import random
import runpy
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import fuzz_dns

from mirrornet.dns.message import wire
from mirrornet.dns.message.cookies import Cookies
from mirrornet.dns.message.gate import Gate
from mirrornet.dns.message.rate import Limiter
from mirrornet.dns.serving import counters, step
from mirrornet.dns.serving.answer import Responder

WATCHED = "MIRRORNET_WATCHED"  # environment: the sanitized library, for the second start of this program


def start_watched(arguments: list[str]) -> int:
    """Builds the library and starts this program again under the sanitizers' runtime."""
    with tempfile.TemporaryDirectory() as folder:
        library = Path(folder) / "answer.so"
        flags = ["-O1", "-g", "-shared", "-fPIC", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
        subprocess.run(["cc", *flags, "-o", str(library), str(step.SOURCE)], check=True)
        runtime = subprocess.run(["cc", "-print-file-name=libasan.so"], check=True, capture_output=True, text=True)
        watch = {"LD_PRELOAD": runtime.stdout.strip(), "ASAN_OPTIONS": "detect_leaks=0", "PYTHONMALLOC": "malloc"}
        command = [sys.executable, __file__, *arguments]
        return subprocess.run(command, env=os.environ | watch | {WATCHED: str(library)}, check=False).returncode


def gate() -> Gate:
    return Gate(Cookies([fuzz_dns.SECRET, bytes(16)]), Limiter(15, fuzz_dns.SECRET), 1_800_000_000.0)


def main(millions: float = 2, seed: int = 1) -> int:
    os.nice(10)
    world: dict[str, Any] = runpy.run_path(str(fuzz_dns.VECTORS / "plan.py"))
    truth = Responder(world["PLAN"], world["TTLS"], gate=gate())
    rest = Responder(world["PLAN"], world["TTLS"], gate=gate())
    quick = step.Step(Path(os.environ[WATCHED]))
    quick.equip(rest, world["TTLS"])
    quick.mind(rest.gate)
    dice, corpus, taken = random.Random(seed), fuzz_dns.seeds(), 0
    packets, began = round(millions * 1e6), time.monotonic()
    for number in range(1, packets + 1):
        data = fuzz_dns.mutate(dice, corpus)
        peer = fuzz_dns.PEERS[int(dice.random() * len(fuzz_dns.PEERS))]
        truth.gate.now = rest.gate.now = rest.gate.now + 0.0002
        expected = truth.respond(data, peer, wire.UDP)
        found = quick.answer(data, peer, rest.gate.now)
        taken += found is not None
        if found is None:
            found = rest.respond(data, peer, wire.UDP)
        assert (found or None) == expected, f"packet {number} of seed {seed} from {peer.hex()}: {data.hex()}"
        if number % 250_000 == 0 or number == packets:
            print(f"{number:,} packets, {taken:,} by the step; {time.monotonic() - began:.0f} s", flush=True)
    assert truth.counts[counters.SERVFAIL] == rest.counts[counters.SERVFAIL] == 0
    return 0


if __name__ == "__main__":
    if WATCHED not in os.environ:
        sys.exit(start_watched(sys.argv[1:]))
    sys.exit(main(*map(float, sys.argv[1:2]), *map(int, sys.argv[2:3])))
