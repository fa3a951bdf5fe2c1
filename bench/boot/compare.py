"""One guest, one link, cold caches: what a boot over each contestant costs beside a local file.

    python bench/boot/compare.py [--links 40:200,100:50] [--rounds 1] [--only mirrornet,rclone] [--what boot,replay]
                                 [--records FILE] [--lock FILE] [--quick]

For each link (ms : Mbit/s) three tables.  Boots: seconds to start the contestant, and from qemu's start to the guest's
marker beside a local boot of the same minute; bytes and requests on the wire; CPU of the contestant's processes; the
second boot with what the first one kept on disk.  Replays: the recorded boot's reads with its think time, with a fifth
of it, with none, each cold, and the longest read.  Reads: 64 MB in order and 60 times 4 KiB at random, cold.

An emulated CPU computes for most of a boot and hides what it waits for; the replays do not.  Bytes are all that came
to the client, with headers.  After the tables come the goals, and at the end what trouble costs (goals.py).

--quick      the first link, no boots, replays without think time: to see that all of it runs
--records    keeps every measurement, one JSON object a line, and goes on from there: tables are of all in the file
--lock       holds this file's lock during each measurement, so that two benches do not measure each other

Needs root for the lab, and the guest (guest.py); contestants.py says which programs the others are.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import goals
import guest
import measure
import tables
from contestants import ALL, Casync, Contestant, Local, Ours, OursProfiled
from link import Link
from reads import Places, full_blocks, places
from recording import Step, decode

from mirrornet.lab.namespaces import missing
from mirrornet.model.errors import MirrornetError

THINKS = (1.0, 5.0, 0.0)
SEED = 1
Lock = Callable[[], contextlib.AbstractContextManager[None]]


class Bench:
    """What is measured, and what has been."""

    def __init__(self, what: Sequence[str], thinks: Sequence[float], file: Path | None, lock: Path | None) -> None:
        self.what, self.thinks, self.file, self._lock = what, thinks, file, lock
        self.steps: list[Step] = decode(guest.recorded().read_text())
        self.where: Places = places(full_blocks(guest.image()), 400, random.Random(SEED))
        self.records: list[measure.Record] = []
        if file is not None and file.exists():
            self.records = [json.loads(line) for line in file.read_text().splitlines()]

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else who holds the lock measures meanwhile."""
        if self._lock is None:
            yield
            return
        with self._lock.open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def over(self, words: str, kinds: Sequence[type[Contestant]], rounds: int) -> None:
        """All contestants over one link."""
        rtt, rate = map(float, words.split(":"))
        with Link([rtt], rate) as link:
            if Casync in kinds and "boot" in self.what:
                Casync.publish(link)
            failed: set[type[Contestant]] = set()
            for _ in range(rounds):
                for kind in kinds:
                    for run in self._runs(link, kind):
                        if kind in failed:
                            continue
                        try:
                            with self.alone():
                                self._keep(words, run())
                        except (RuntimeError, OSError, MirrornetError) as error:
                            failed.add(kind)
                            print(f"{kind.name} is left out: {error}", flush=True)

    def _runs(self, link: Link, kind: type[Contestant]) -> Iterator[Callable[[], list[measure.Record]]]:
        if "boot" in self.what and kind is not Local:
            yield lambda: measure.boot(link, kind)
        if kind.boots_only:
            return
        if "replay" in self.what:
            for think in self.thinks:
                yield lambda think=think: measure.replays(link, kind, self.steps, think)  # type: ignore[misc]
        if "reads" in self.what:
            yield lambda: measure.reads(link, kind, self.where)

    def _keep(self, words: str, found: Sequence[measure.Record]) -> None:
        for record in found:
            record = {"link": words, **record}
            self.records.append(record)
            if self.file is not None:
                with self.file.open("a") as file:
                    file.write(json.dumps(record) + "\n")
            took = record["seconds"] if "seconds" in record else max(record["took"])
            again = ", again" if record.get("again") else ""
            print(f"  {record['who']}: {record['what']}{again} {took:.2f} s", flush=True)

    def told(self, words: str) -> str:
        """The tables and goals of one link."""
        rtt, rate = map(float, words.split(":"))
        records = [record for record in self.records if record["link"] == words]
        parts = [tables.boots(records), tables.replays(records), tables.reads(records)]
        parts.append(goals.told(goals.of_tables(records, Ours.name, OursProfiled.name, rtt, rate)))
        return "\n\n".join(part for part in parts if part.count("\n") > 1)


def contestants(only: str) -> list[type[Contestant]]:
    """The local file, and whoever is asked for and here."""
    kinds: list[type[Contestant]] = [Local]
    for kind in ALL[1:]:
        if only and not any(word in kind.name for word in only.split(",")):
            continue
        if lacking := kind.missing():
            print(f"{kind.name} is left out: there is no {lacking}")
            continue
        kinds.append(kind)
    return kinds


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--links", default="40:200,100:50", help="ms:Mbit/s, joined by commas")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", default="", help="parts of contestants' names, joined by commas")
    parser.add_argument("--what", default="boot,replay,reads,trouble")
    parser.add_argument("--records", type=Path)
    parser.add_argument("--lock", type=Path)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if why := missing():
        print(f"bench-boot: {why}", file=sys.stderr)
        return 1
    what = ["replay", "reads"] if options.quick else options.what.split(",")
    links = options.links.split(",")[: 1 if options.quick else None]
    try:
        bench = Bench(what, THINKS[-1:] if options.quick else THINKS, options.records, options.lock)
    except (RuntimeError, ValueError) as error:
        print(f"bench-boot: {error}", file=sys.stderr)
        return 1
    kinds = contestants(options.only)
    for words in links:
        print(f"\n{words.replace(':', ' ms, ')} Mbit/s", flush=True)
        bench.over(words, kinds, options.rounds)
        print("\n" + bench.told(words), flush=True)
    if "trouble" in what:
        with bench.alone():
            found = goals.with_trouble(bench.steps, bench.where)
        print("\n" + goals.told(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
