"""`import-radb` at full scale, beside others who merely read the same file.

    python bench/import_radb.py [--rounds 5] [--scale] [--dump FILE] [--delegated FILE]

The dump has 1,146,274 routes in the form IRRd exports (316 MB), made by the data folder's make-irr-dump; --dump takes
another.  Without the data folder (MIRRORNET_DATA) it is made here of random prefixes, in the same form.

    ours              the whole verb, interpreter and imports included: dump and RIR statistics to a table on disk
    ours, one core    the same held to one processor, so no second process
    polars-rpsl       PyPI, Rust: reads the file into a data frame and does nothing with it; once with all attributes
                      (its default: one column of lists), once with the four columns that an import needs
    plain Python      the loop everybody writes first: a dict an object, in the dictionary of its prefix

Nobody else in Debian reads a dump without a server: bgpq3 and bgpq4 ask a whois server for one as-set at a time, and a
whois server of ours that answers from the dump would time that server; irrd needs PostgreSQL and Redis.  So neither is
in the table.

Rounds are interleaved, so that a slow moment of the machine hits everybody; ratios are of one round, and shown as the
median with the least and the greatest.  CPU is user and system time of the program and all its children.  Memory is the
greatest sum of all its processes' proportional set sizes (pages that two share count once), looked at every 20 ms in a
round of its own, since looking takes time.

--scale: 0.1, 1, 2 and 4 million routes: real prefixes, from 1.1 million on their halves under other sources and the
same prefixes again under other origins, shuffled by the thousand.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from ipaddress import ip_network
from pathlib import Path
from statistics import median
from typing import NamedTuple

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("MIRRORNET_DATA", HERE.parents[1] / "shared" / "data"))
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "mirrornet-bench"
PEER = "polars-rpsl==0.1.4"
LOOK = 0.02  # seconds
ROUTES = 1_146_274

POLARS = """
import sys
sys.path.insert(0, sys.argv[1])
import polars, polars_rpsl
schema = polars.Schema({name: polars.String for name in sys.argv[3:]}) if sys.argv[3:] else None
print(polars_rpsl.read_rpsl(sys.argv[2], schema=schema).height)
"""
PLAIN = """
import sys
found, one = {}, {}
for line in open(sys.argv[1], encoding="latin-1"):
    if line == "\\n":
        if one:
            found.setdefault(next(iter(one.values())), []).append(one)
        one = {}
    elif line[0] in " \\t+" or line[0] in "#%":
        pass
    else:
        name, _, value = line.partition(":")
        one[name] = value.partition("#")[0].strip()
print(len(found))
"""


class Cost(NamedTuple):
    """Seconds, and bytes of proportional set size where they were looked at."""

    wall: float
    cpu: float
    memory: int = 0


class Program(NamedTuple):
    name: str
    command: Sequence[str]
    core: int | None = None


def run(program: Program, look: bool = False) -> Cost:
    """Runs it once.  Raises RuntimeError with its last words where it fails."""
    with tempfile.TemporaryFile() as words:
        began = time.monotonic()
        command = program.command
        if program.core is not None:
            command = ["taskset", "--cpu-list", str(program.core), *command]
        process = subprocess.Popen(command, stdout=words, stderr=words)
        peak = 0
        while look and os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            peak = max(peak, sum(map(proportional, family(process.pid))))
            time.sleep(LOOK)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            words.seek(0)
            raise RuntimeError(f"{program.name}: {words.read()[-500:].decode(errors='replace')}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, peak)


def family(process: int) -> Iterator[int]:
    """`process` and all its descendants."""
    yield process
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text()
    except OSError:
        return
    for child in children.split():
        yield from family(int(child))


def proportional(process: int) -> int:
    try:
        for line in Path(f"/proc/{process}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except OSError:  # it has just ended
        pass
    return 0


def peer() -> Path | None:
    """Where polars-rpsl is installed, with what it needs; None where it cannot be."""
    folder = CACHE / PEER.replace("==", "-")
    if not (folder / "polars_rpsl").is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "install", "-q", "--target", str(folder), PEER]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{PEER} is left out: {' '.join(command)}: {done.stderr.strip().splitlines()[-1:]}")
            return None
    return folder


def real_routes() -> list[tuple[str, str]]:
    """(prefix, ASN) of all routed prefixes; random ones without the data folder."""
    table = DATA / "prefix-origin.csv.gz"
    if table.exists():
        with gzip.open(table, "rt") as file:
            return [(row[0], row[1]) for row in csv.reader(file) if "/" in row[0]]
    dice = random.Random(1)
    found = {}
    while len(found) < ROUTES:
        length = dice.choice((16, 19, 20, 21, 22, 22, 23, 24, 24, 24, 24, 24))
        value = dice.randrange(11 << 24, 100 << 24) >> (32 - length) << (32 - length)
        found[f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}/{length}"] = str(
            dice.randrange(1, 60000)
        )
    return sorted(found.items())


def many_routes(real: list[tuple[str, str]], count: int) -> Iterator[tuple[str, str, str]]:
    """(prefix, ASN, source): the real ones, their halves, and themselves under other origins, `count` in all."""

    def halves(which: int, source: str) -> Iterator[tuple[str, str, str]]:
        for prefix, asn in real:
            network = ip_network(prefix)
            if network.prefixlen < (28 if network.version == 4 else 60):
                yield str(list(network.subnets(1))[which]), asn, source

    def others(source: str) -> Iterator[tuple[str, str, str]]:
        return ((prefix, str(int(asn) + 1), source) for prefix, asn in real)

    def everything() -> Iterator[tuple[str, str, str]]:
        yield from ((prefix, asn, "RADB") for prefix, asn in real)
        yield from halves(0, "NTTCOM")
        yield from halves(1, "RIPE")
        yield from others("ALTDB")

    left = count
    for one in everything():
        if not left:
            return
        left -= 1
        yield one


def write_dump(path: Path, routes: Iterator[tuple[str, str, str]]) -> int:
    """Writes them as IRRd exports them, shuffled a thousand at a time; how many they are."""
    dice = random.Random(1)
    count = 0
    with path.open("w", encoding="ascii") as out:
        held: list[str] = []

        def let_go() -> None:
            dice.shuffle(held)
            out.writelines(held)
            held.clear()

        for prefix, asn, source in routes:
            count += 1
            name = "route6:" if ":" in prefix else "route:"
            text = f"{name:<16}{prefix}\ndescr:          Network of AS{asn}\norigin:         AS{asn}\n"
            if dice.random() < 0.3:
                text += "remarks:        registered for customers  # see the web page\n"
            text += f"mnt-by:         MAINT-AS{asn}\nchanged:        noc@as{asn}.example {20000101 + count % 230000}\n"
            held.append(f"{text}source:         {source}\nlast-modified:  2023-11-13T15:41:43Z\n\n")
            if len(held) == 1000:
                let_go()
        let_go()
        out.write("# EOF\n")
    return count


def standard_dump(folder: Path) -> Path:
    path, tool = folder / "full.db", DATA.parent / "tools" / "make-irr-dump"
    if tool.exists():
        subprocess.run([sys.executable, str(tool), str(path)], check=True, stdout=subprocess.DEVNULL)
    else:
        write_dump(path, ((prefix, asn, "RADB") for prefix, asn in real_routes()))
    return path


def ours(name: str, dump: Path, delegated: Path | None, folder: Path, core: int | None = None) -> Program:
    statistics = ["--delegated", str(delegated)] if delegated else []
    start = "from mirrornet.cli import main; main()"
    table = folder / "world.table"
    command = [sys.executable, "-c", start, "import-radb", str(dump), *statistics, "--out", str(table), "--force"]
    return Program(name, command, core)


def spread(values: list[float]) -> str:
    return f"{median(values):6.2f} ({min(values):.2f}-{max(values):.2f})"


def compare(dump: Path, delegated: Path | None, folder: Path, rounds: int) -> None:
    packed = folder / "full.db.gz"
    with dump.open("rb") as plain, gzip.GzipFile(packed, "wb", 4, mtime=0) as out:
        while portion := plain.read(1 << 20):
            out.write(portion)
    size = f"{dump.stat().st_size / 1e6:.0f} MB, gz {packed.stat().st_size / 1e6:.0f} MB"
    print(
        f"{size}, statistics: {delegated.name if delegated else 'none'}, {os.cpu_count()} processors, {rounds} rounds"
    )
    programs = [
        ours("ours", dump, delegated, folder),
        ours("ours, gz", packed, delegated, folder),
        ours("ours, one core", dump, delegated, folder, min(os.sched_getaffinity(0))),
    ]
    bases = []
    home = peer()
    if home:
        python = [sys.executable, "-c", POLARS, str(home)]
        four = ["route", "route6", "origin", "source"]
        programs += [
            Program("polars-rpsl, 4 columns", [*python, str(dump), *four]),
            Program("polars-rpsl, 4 columns, gz", [*python, str(packed), *four]),
            Program("polars-rpsl, all", [*python, str(dump)]),
            Program("polars-rpsl, all, gz", [*python, str(packed)]),
        ]
        bases = [("4 columns", 3, 4), ("all", 5, 6)]
    programs.append(Program("plain Python", [sys.executable, "-c", PLAIN, str(dump)]))
    memory = [run(program, look=True).memory for program in programs]  # and all files are in the page cache
    costs: list[list[Cost]] = [[] for _ in programs]
    for _ in range(rounds):
        for number, program in enumerate(programs):
            costs[number].append(run(program))
    header = "".join(f"{f'wall ÷ polars, {name}':>30}" for name, _, _ in bases)
    print(f"\n{'':<28}{'wall s':>20}{'CPU s':>20}{'MB':>6}{header}")
    for number, program in enumerate(programs):
        walls = [cost.wall for cost in costs[number]]
        line = f"{program.name:<28}{spread(walls):>20}{spread([cost.cpu for cost in costs[number]]):>20}"
        line += f"{memory[number] / 1e6:6.0f}"
        for _, plain, gz in bases:
            base = gz if program.name.endswith("gz") else plain
            ratios = [wall / cost.wall for wall, cost in zip(walls, costs[base], strict=True)]
            line += f"{spread(ratios):>30}"
        print(line)


def scale(delegated: Path | None, folder: Path, rounds: int) -> None:
    real = real_routes()
    print(f"\n{'routes':>12}{'MB':>8}{'wall s':>20}{'CPU s':>20}{'CPU µs a route':>16}{'peak MB':>9}")
    for wanted in (100_000, 1_000_000, 2_000_000, 4_000_000):
        dump = folder / "scale.db"
        count = write_dump(dump, many_routes(real, wanted))
        program = ours("ours", dump, delegated, folder)
        memory = run(program, look=True).memory
        costs = [run(program) for _ in range(rounds)]
        cpu = [cost.cpu for cost in costs]
        figures = f"{spread([cost.wall for cost in costs]):>20}{spread(cpu):>20}{1e6 * median(cpu) / count:16.2f}"
        print(f"{count:>12,}{dump.stat().st_size / 1e6:8.0f}{figures}{memory / 1e6:9.0f}", flush=True)
        dump.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scale", action="store_true")
    parser.add_argument("--dump", type=Path)
    parser.add_argument("--delegated", type=Path)
    options = parser.parse_args()
    statistics = DATA / "delegated-extended.txt.gz"
    delegated = options.delegated or (statistics if statistics.exists() else None)
    with tempfile.TemporaryDirectory(prefix="mirrornet-bench-") as name:
        folder = Path(name)
        if options.scale:
            scale(delegated, folder, options.rounds)
        else:
            compare(options.dump or standard_dump(folder), delegated, folder, options.rounds)


if __name__ == "__main__":
    main()
