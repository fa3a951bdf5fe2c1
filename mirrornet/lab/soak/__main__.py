"""`python -m mirrornet.lab.soak [--seconds 600] [--seed N] [--records FILE]`: needs root, as every lab.

Two clients read for the whole of it, a third mounts, reads for a while and unmounts, again and again; the name servers
are asked RATE times a second each; every STEP seconds a fault begins.  It ends with a report, and with 1 where a
promise was broken (judge.py), which names the seed and what was done when.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from mirrornet.lab.nameserver import COMMAND, ZONE
from mirrornet.lab.network import Network
from mirrornet.lab.soak import asker, memory, reader
from mirrornet.lab.soak.judge import Asked, Memory, Reads, judge, told
from mirrornet.lab.soak.schedule import OF_SERVERS, Fault, Kind, schedule
from mirrornet.lab.soak.stage import HOME, IMAGE, MIRRORS, SERVERS, SMALL, WORLD, Sizes, Stage
from mirrornet.model.errors import LocalError, MirrornetError

RATE: Final = 250.0  # queries a second, to each name server
DEADLINE: Final = 30.0  # seconds: the mount's own, after which a read fails
SLACK: Final = 2.0  # seconds: our clock starts before the mount's
CACHE: Final = "64M"  # less than the image, so that there is always something to fetch
VISIT: Final = 12.0  # seconds that the third client stays
COMING: Final = 6.0  # seconds it may need to mount and unmount
LOOK: Final = 5.0  # seconds between two looks at memory
STEADY: Final = 2  # clients that stay


class Soak:
    """One run.  `tell` hears what is done."""

    def __init__(self, stage: Stage, seconds: float, seed: int, tell: Callable[[str], None]) -> None:
        self._stage, self._network = stage, stage.network
        self._seconds, self._seed, self._tell = seconds, seed, tell
        self._broken: list[BaseException] = []
        self._over = threading.Event()
        self.faults = schedule(random.Random(seed).random, seconds, MIRRORS, SERVERS, SMALL)
        self.reads: list[Reads] = []
        self.asked: list[Asked] = []
        self.memory: dict[tuple[int, str], Memory] = {}
        self.hands: dict[str, list[tuple[float, float]]] = {}

    def run(self) -> None:
        """All of it.  Raises LocalError where the stage broke."""
        self._stage.start()
        clients = [_Client(self._stage, f"client {number}") for number in range(1, STEADY + 1)]
        for client in clients:
            client.mount()
        self._began, self._unix = time.monotonic(), time.time()
        ask = self._asker()
        readers = [client.read(self._seed + number) for number, client in enumerate(clients)]
        beside = [
            threading.Thread(target=self._guarded, args=(one,)) for one in (self._faults, self._look, self._visit)
        ]
        for thread in beside:
            thread.start()
        self._over.wait(self._seconds)
        self._over.set()
        for thread in beside:
            thread.join()
        for client, process in zip(clients, readers, strict=True):
            self.reads.append(self._done(client.name, process))
        for server, at, sent, lost, wrong in json.loads(_ended(ask, 3 * asker.PATIENCE)):
            if at + asker.PATIENCE < self._unix + self._seconds:  # the last ones were not waited for
                self.asked.append(Asked(server, at - self._unix, sent, lost, wrong))
        self._stage.counts["probes' verdicts changed"] = self._stage.flips()
        for client in clients:
            client.unmount()
        if self._broken:
            raise self._broken[0]

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._broken.append(error)
            self._over.set()

    @property
    def _now(self) -> float:
        return time.monotonic() - self._began

    def _faults(self) -> None:
        """Strikes and relents as the schedule says; what takes long does not hold up the next."""
        steps = [step for f in self.faults for step in ((f.at, True, f), (f.until, False, f))]
        busy: list[threading.Thread] = []
        before: dict[Fault, threading.Thread] = {}
        for at, begins, fault in sorted(steps, key=lambda step: step[:2]):
            if self._over.wait(max(0.0, at - self._now)) and begins:
                break
            if begins:
                self._tell(f"{self._now:6.1f} s  {fault.target or '-':10} {fault.kind}")
            thread = threading.Thread(target=self._guarded, args=(self._step(fault, begins, before.get(fault)),))
            before[fault] = thread
            thread.start()
            busy.append(thread)
        for thread in busy:
            thread.join()

    def _step(self, fault: Fault, begins: bool, after: threading.Thread | None) -> Callable[[], None]:
        def work() -> None:
            if after is not None:
                after.join()
            (self._stage.strike if begins else self._stage.relent)(fault)
            if fault.kind in OF_SERVERS and not begins:
                since = fault.until if fault.kind is Kind.SERVER_KILL else fault.at  # its workers answer on
                self.hands.setdefault(fault.target, []).append((since, self._now))

        return work

    def _look(self) -> None:
        """Memory, by process."""
        while not self._over.wait(LOOK):
            for (pid, kind), size in memory.look(self._network.inodes).items():
                one = self.memory.setdefault((pid, kind), Memory(f"{kind} {pid}"))
                one.samples.append((self._now, size))

    def _visit(self) -> None:
        """The client that comes and goes: each time it mounts the newest version that it is offered."""
        guest = _Client(self._stage, "visitor")
        visits = 0
        found: list[Reads] = []
        while self._now + VISIT + COMING < self._seconds or not visits:
            visits += 1
            guest.mount()
            process = guest.read(self._seed + 100 + visits)
            self._over.wait(VISIT)
            found.append(self._done(guest.name, process))
            guest.unmount()
        self._stage.counts["visits"] = visits
        self.reads.append(
            Reads(
                f"visitor, {visits} times",
                sum(one.count for one in found),
                sum(one.bytes for one in found),
                max(one.slowest for one in found),
                max(one.p99 for one in found),
                DEADLINE + SLACK,
                [trouble for one in found for trouble in one.troubled],
            )
        )

    def _asker(self) -> subprocess.Popen[bytes]:
        networks = [prefix for site in WORLD.sites for prefix in WORLD.prefixes(site.name)]
        servers = [f"{name}={WORLD.address(name)}" for name in SERVERS]
        words = [f"select.{ZONE}", RATE, self._seed, ",".join(networks), *servers]
        return _program(self._network, asker.__file__, *words)

    def _done(self, name: str, process: subprocess.Popen[bytes]) -> Reads:
        said = json.loads(_ended(process, DEADLINE + 10))
        troubled = [(at - self._unix, what) for at, what in said["troubled"]]
        return Reads(name, said["count"], said["bytes"], said["slowest"], said["p99"], DEADLINE + SLACK, troubled)


class _Client:
    """A mount in Tokyo."""

    def __init__(self, stage: Stage, name: str) -> None:
        self.name = name
        self._stage, self._network = stage, stage.network
        self._home = stage.network.folder / name.replace(" ", "-")
        self._point = self._home / "mount"
        self._point.mkdir(parents=True)
        self._version = 0

    def mount(self) -> None:
        """Raises LocalError with what it said."""
        options = ["--root", self._stage.publisher.root, "--resolver", f"{self._stage.resolver.addresses[0]}:53"]
        options += ["--state", self._home / "state", "--cache", self._home / "cache", "--cache-size", CACHE]
        options += ["--read-deadline", f"{DEADLINE:.0f}s"]
        self._command("mount", f"select.{ZONE}", IMAGE, self._point, *options)
        (status,) = json.loads(self._command("status", self._point, "--json"))
        self._version = status["version"]

    def read(self, seed: int) -> subprocess.Popen[bytes]:
        """A reader of it, at work."""
        mounted, original = self._point / f"{IMAGE}.raw", self._stage.publisher.original(self._version)
        process = _program(self._network, reader.__file__, mounted, original, seed, DEADLINE + SLACK)
        assert process.stdin is not None
        process.stdin.write(b"\n")
        process.stdin.flush()
        return process

    def unmount(self) -> None:
        """Raises LocalError with what it said."""
        self._command("umount", "--force", self._point)

    def _command(self, verb: str, *words: object) -> str:
        command = [*COMMAND, verb, *map(str, words)]
        environment = {**os.environ, **self._stage.trusting, "HOME": str(self._home)}
        done = self._network.run(HOME, command, 3 * DEADLINE, env=environment)
        if done.returncode:
            raise LocalError(f"soak: {self.name}: {verb}: {done.stderr.strip().rpartition(chr(10))[2]}")
        return str(done.stdout)


def _program(network: Network, path: str, *words: object) -> subprocess.Popen[bytes]:
    return network.start(HOME, [sys.executable, path, *map(str, words)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)


def _ended(process: subprocess.Popen[bytes], patience: float) -> bytes:
    """Tells it to end; what it said.  Raises LocalError where it does not."""
    try:
        said, _ = process.communicate(b"\n", timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        raise LocalError("soak: a program of ours does not end: a read hangs") from None
    if process.returncode:
        raise LocalError(f"soak: a program of ours ended with {process.returncode}")
    return said


def main(arguments: list[str] | None = None) -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m mirrornet.lab.soak", description=__doc__.split("\n\n")[1])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=None, help="the same seed is the same day; default: any")
    parser.add_argument("--image", type=int, default=Sizes().image >> 20, help="MiB of the image", metavar="MIB")
    parser.add_argument("--records", type=Path, help="keeps what was seen, as JSON", metavar="FILE")
    given = parser.parse_args(arguments)
    seed = random.randrange(1 << 31) if given.seed is None else given.seed
    print(f"seed {seed}, {given.seconds:.0f} s", flush=True)
    try:
        with Network(WORLD.addresses()) as network:
            stage = Stage(network, Sizes(given.image << 20), seed)
            soak = Soak(stage, given.seconds, seed, lambda text: print(text, flush=True))
            soak.run()
    except MirrornetError as error:
        print(f"soak: {error}".replace("soak: soak:", "soak:"), file=sys.stderr)
        return error.exit_code
    watched = list(soak.memory.values())
    findings = judge(soak.reads, soak.asked, watched, soak.hands)
    if given.records:
        given.records.write_text(json.dumps(_kept(seed, soak)))
    print(told(findings, soak.faults, stage.counts))
    return 0 if all(one.kept for one in findings) else 1


def _kept(seed: int, soak: Soak) -> dict[str, Any]:
    return {
        "seed": seed,
        "faults": list(map(str, soak.faults)),
        "reads": [[one.name, one.count, one.bytes, one.slowest, one.p99, list(one.troubled)] for one in soak.reads],
        "asked": [[one.server, one.at, one.sent, one.lost, one.wrong] for one in soak.asked],
        "memory": [[one.name, one.samples] for one in soak.memory.values()],
    }


if __name__ == "__main__":
    sys.exit(main())
