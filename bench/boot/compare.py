"""One guest, one link, cold caches: what a boot over each contestant costs beside a local file.

    python bench/boot/compare.py [--links 40:200,100:50] [--rounds 1] [--only mirrornet,rclone] [--no-boots] [--quick]

For each link (ms : Mbit/s) three tables.  Boots: seconds to start the contestant and from qemu's start to the guest's
marker, beside the local file in the same round, bytes and requests on the wire, CPU of the contestant's processes, and
the second boot with what the first one kept on disk.  Replays: the recorded boot's reads with its think time, with a
fifth of it, with none, each cold, and the longest read.  Reads: 64 MB in order and 60 times 4 KiB at random, cold.

An emulated CPU computes for most of a boot and hides what it waits for; the replays do not.  Bytes are all that came
to the client, with headers; a contestant's row holds medians of the rounds, ratios are taken within a round.  After
the tables: the goals (goals.py).  The page cache forgets with the mount; each run has a mount and folders of its own.

--quick: the first link only, no boots, replays without think time, to see that all of it runs.  Needs root for the
lab, and the guest (guest.py); contestants.py says which programs the others are.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent))

import goals
import guest
from contestants import ALL, Casync, Contestant, Ours
from figures import number, percentile, table
from link import PROFILED, Link, Wire
from reads import STRETCH, Places, at_random, full_blocks, in_order, places
from recording import Step, decode
from replay import Replay, replay

from mirrornet.lab.namespaces import missing
from mirrornet.model.errors import MirrornetError

THINKS = (1.0, 5.0, 0.0)
RANDOM = 60
SEED = 1


class Row:
    """What one contestant did over one link, a value for each round."""

    def __init__(self, kind: type[Contestant]) -> None:
        self.kind, self.name = kind, kind.name
        self.boots: list[tuple[float, guest.Boot, Wire, float]] = []  # seconds to start; the boot; the wire; CPU
        self.warm: list[guest.Boot] = []
        self.replays: dict[float, list[tuple[Replay, Wire, float]]] = {think: [] for think in THINKS}
        self.warm_replays: list[Replay] = []
        self.order: list[tuple[float, Wire]] = []
        self.random: list[float] = []
        self.random_wire: list[float] = []
        self.failed = ""


class Comparison:
    """All contestants over one link."""

    def __init__(self, link: Link, kinds: Sequence[type[Contestant]], steps: Sequence[Step], where: Places) -> None:
        self.link, self.steps, self.where = link, steps, where
        self.rows = [Row(kind) for kind in kinds]
        if Casync in kinds:
            Casync.publish(link)

    def round(self, boots: bool, thinks: Sequence[float]) -> None:
        """Every contestant once.  One that fails is out from then on."""
        for row in self.rows:
            if row.failed:
                continue
            try:
                if boots:
                    self._boots(row)
                if row.kind is Casync and boots:
                    continue  # from here on it is a local file
                self._replays(row, thinks)
                self._reads(row)
            except (RuntimeError, OSError, MirrornetError) as error:
                row.failed = str(error)
                print(f"{row.name} is left out: {error}", flush=True)

    def _boots(self, row: Row) -> None:
        folder = self.link.fresh()
        for warm in (False, True) if row.kind.keeps else (False,):
            before = self.link.wire()
            one = row.kind(self.link, folder)
            try:
                done = guest.boot(one.drive, folder / "overlay.qcow2", one.prefix)
                if warm:
                    row.warm.append(done)
                else:
                    row.boots.append((one.seconds, done, self.link.wire() - before, one.cpu()))
            finally:
                one.close()
        print(f"  {row.name}: boot {done.seconds:.1f} s{' (warm)' if row.kind.keeps else ''}", flush=True)

    def _replays(self, row: Row, thinks: Sequence[float]) -> None:
        for think in thinks:
            folder = self.link.fresh()
            for warm in (False, True) if row.kind.keeps and not think else (False,):
                before = self.link.wire()
                one = row.kind(self.link, folder)
                try:
                    done = replay(one.file, self.steps, think, guest.image())
                    if done.wrong:
                        raise RuntimeError(f"{done.wrong} reads gave wrong bytes")
                    if warm:
                        row.warm_replays.append(done)
                    else:
                        row.replays[think].append((done, self.link.wire() - before, one.cpu()))
                finally:
                    one.close()
        print(f"  {row.name}: replayed in {done.seconds:.1f} s", flush=True)

    def _reads(self, row: Row) -> None:
        one = row.kind(self.link, self.link.fresh())
        try:
            before = self.link.wire()
            row.order.append((in_order(one.file, self.where.start), self.link.wire() - before))
            before = self.link.wire()
            row.random += at_random(one.file, self.where.offsets[:RANDOM])
            row.random_wire.append((self.link.wire() - before).received / RANDOM)
        finally:
            one.close()

    def boots(self) -> str:
        """The table of boots."""
        local = [boot.seconds for _, boot, _, _ in self.rows[0].boots]
        rows = []
        for row in self.rows:
            if not row.boots:
                continue
            pairs = list(zip(row.boots, local, strict=False))
            warm = [boot.seconds / mine for boot, mine in zip(row.warm, local, strict=False)]
            rows.append(
                [
                    row.name,
                    number(median(start for start, *_ in row.boots)),
                    number(median(boot.seconds for _, boot, _, _ in row.boots)),
                    number(median(one[1].seconds / mine for one, mine in pairs), 2),
                    number(median(one[1].seconds - mine for one, mine in pairs)),
                    number(median(wire.received for _, _, wire, _ in row.boots) / 1e6),
                    number(median(wire.requests for _, _, wire, _ in row.boots), 0),
                    number(median(cpu for _, _, _, cpu in row.boots)),
                    number(median(warm) if warm else None, 2),
                ]
            )
        head = ["boot", "start s", "boot s", "÷ local", "s added", "MB", "requests", "CPU s", "again ÷ local"]
        return table(head, rows)

    def replays(self, thinks: Sequence[float]) -> str:
        """The table of replays."""
        head = ["replay"]
        for think in thinks:
            what = {1.0: "think", 0.0: "none"}.get(think, f"think ÷ {think:.0f}")
            head += [f"s, {what}", "longest"]
        rows = []
        for row in self.rows:
            cells = [row.name]
            for think in thinks:
                done = [replayed for replayed, _, _ in row.replays[think]]
                cells.append(number(median(one.seconds for one in done) if done else None, 2))
                cells.append(number(median(one.longest for one in done) if done else None, 3))
            without = row.replays[0.0]
            cells.append(number(median(wire.received for _, wire, _ in without) / 1e6 if without else None))
            cells.append(number(median(wire.requests for _, wire, _ in without) if without else None, 0))
            cells.append(number(median(cpu for _, _, cpu in without) if without else None))
            cells.append(number(median(one.seconds for one in row.warm_replays) if row.warm_replays else None, 2))
            rows.append(cells)
        return table([*head, "MB", "requests", "CPU s", "s, again"], [row for row in rows if any(row[1:])])

    def reads(self) -> str:
        """The table of plain reads."""
        rows = []
        for row in self.rows:
            if row.order:
                seconds = median(seconds for seconds, _ in row.order)
                wire = median(wire.received / seconds for seconds, wire in row.order)
                cells = [row.name, number(STRETCH / seconds / 1e6), number(wire * 8 / 1e6)]
                cells += [number(1000 * percentile(row.random, share)) for share in (0.5, 0.95)]
                rows.append([*cells, number(max(row.random) * 1000), number(median(row.random_wire) / 1e3, 0)])
        return table(["read", "MB/s in order", "Mbit/s then", "4 KiB p50 ms", "p95", "longest", "KB each"], rows)

    def goals(self) -> list[goals.Goal]:
        """What the tables say of mirrornet's goals."""
        found = []
        rtt, rate = self.link.round_trips[0], self.link.rate
        local = [boot.seconds for _, boot, _, _ in self.rows[0].boots]
        for row in self.rows:
            if not issubclass(row.kind, Ours):
                continue
            profiled = row.kind.kind == PROFILED
            pairs = list(zip([boot for _, boot, _, _ in row.boots], local, strict=False))
            if pairs:
                wanted = (1.10 if rtt < 100 else 1.40) if profiled else 1.5
                ratio = median(boot.seconds / mine for boot, mine in pairs)
                found.append(goals.Goal(f"{row.name}: cold boot beside local", ratio, wanted, "times"))
            if pairs and profiled:
                added = median(boot.seconds - mine for boot, mine in pairs)
                found.append(goals.Goal(f"{row.name}: added to a cold boot", added, 1.5, "s"))
                received = median(wire.received for _, _, wire, _ in row.boots) / 1e6
                found.append(goals.Goal(f"{row.name}: received in a cold boot", received, 25, "MB"))
            if row.warm and local:
                again = median(boot.seconds / mine for boot, mine in zip(row.warm, local, strict=False))
                found.append(goals.Goal(f"{row.name}: warm boot beside local", again, 1.05, "times"))
            if profiled and row.replays[0.0]:
                seconds = median(done.seconds for done, _, _ in row.replays[0.0])
                received = median(wire.received for _, wire, _ in row.replays[0.0])
                found.append(goals.last_block(rtt, rate, seconds, int(received)))
            if not profiled and row.order:
                got = median(wire.received / seconds for seconds, wire in row.order) * 8 / 1e6
                found += goals.plain_reads(rtt, rate, got, row.random, median(row.random_wire))
        return found


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--links", default="40:200,100:50", help="ms:Mbit/s, joined by commas")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--only", default="", help="parts of contestants' names, joined by commas")
    parser.add_argument("--no-boots", action="store_true")
    parser.add_argument("--no-trouble", action="store_true", help="leave out the mirrors that die or turn slow")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    if why := missing():
        print(f"bench-boot: {why}", file=sys.stderr)
        return 1
    try:
        steps = decode(guest.recorded().read_text())
    except RuntimeError as error:
        print(f"bench-boot: {error}", file=sys.stderr)
        return 1
    where = places(full_blocks(guest.image()), 400, random.Random(SEED))
    kinds = [ALL[0]]
    for kind in ALL[1:]:
        if options.only and not any(word in kind.name for word in options.only.split(",")):
            continue
        if lacking := kind.missing():
            print(f"{kind.name} is left out: there is no {lacking}")
            continue
        kinds.append(kind)
    thinks = THINKS[-1:] if options.quick else THINKS
    for words in options.links.split(",")[: 1 if options.quick else None]:
        rtt, rate = map(float, words.split(":"))
        print(f"\n{rtt:.0f} ms, {rate:.0f} Mbit/s", flush=True)
        with Link([rtt], rate) as link:
            comparison = Comparison(link, kinds, steps, where)
            for _ in range(options.rounds):
                comparison.round(not (options.quick or options.no_boots), thinks)
        if not (options.quick or options.no_boots):
            print("\n" + comparison.boots())
        print("\n" + comparison.replays(thinks) + "\n\n" + comparison.reads())
        print("\n" + goals.told(comparison.goals()), flush=True)
    if not (options.quick or options.no_trouble):
        print("\n" + goals.told(goals.with_trouble(steps, where)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
