"""Our name server beside gdnsd, Knot and PowerDNS, on one machine, in one run.

    python bench/dns/compare.py [--table WORLD.TABLE] [--rounds 5] [--seconds 2] [--full]

Every server has one worker on core 0; the load (load.c) is on core 1.  All have the same map of 100,000 prefixes to 20
mirrors; with --full, all routed IPv4 prefixes of the data folder (968,428).  With --table, ours has besides a whole
world.table and 50 mirrors.  Rounds are interleaved, so that a slow moment of the machine hits everybody; a ratio is the
median of the rounds' own ratios, with the least and the greatest.  CPU is user and system time of the server and all
its processes, divided by the queries answered.  The data folder is MIRRORNET_DATA; without it the prefixes are random.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from ipaddress import IPv4Network
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import ours
import peers

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get("MIRRORNET_DATA", HERE.parents[2] / "shared" / "data"))
PACKAGES = ("gdnsd", "knot", "knot-module-geoip", "pdns-server", "pdns-backend-geoip")
Run = dict[str, float]


def install() -> None:
    """The peers, from Debian; what cannot be installed is left out of the table."""
    wanted = [p for p in PACKAGES if subprocess.run(["dpkg", "-s", p], check=False, capture_output=True).returncode]
    if not wanted or os.geteuid() != 0 or shutil.which("apt-get") is None:
        return
    policy = Path("/usr/sbin/policy-rc.d")  # keeps the packages' services from starting
    ours_ = not policy.exists()
    if ours_:
        policy.write_text("#!/bin/sh\nexit 101\n")
        policy.chmod(0o755)
    try:
        apt = ["apt-get", "-o", "DPkg::Lock::Timeout=300", "install", "-y", "-qq", "--no-install-recommends", *wanted]
        subprocess.run(apt, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"}, capture_output=True, check=False)
    finally:
        if ours_:
            policy.unlink()


def build(folder: Path) -> None:
    for name in ("load", "echo"):
        subprocess.run(["cc", "-O2", "-o", str(folder / name), str(HERE / f"{name}.c")], check=True)
    os.environ["BENCH_TOOLS"] = str(folder)


def prefixes(count: int | None) -> list[tuple[int, int, int]]:
    """Routed IPv4 prefixes (all, or a sample) with a mirror for each country; random ones without the data folder."""
    dice = random.Random(1)
    table = DATA / "prefix-origin.csv.gz"
    found: dict[tuple[int, int], int] = {}
    if table.exists():
        with gzip.open(table, "rt") as file:
            for row in csv.DictReader(file):
                if ":" not in row["prefix"]:
                    net = IPv4Network(row["prefix"])
                    mirror = sum(map(ord, row["country"])) % peers.MIRRORS
                    found[int(net.network_address), net.prefixlen] = mirror
    while len(found) < (count or 0):
        length = dice.choice([16, 19, 20, 21, 22, 23, 24, 24, 24, 24])
        found[dice.randrange(1 << 24, 224 << 24) >> (32 - length) << (32 - length), length] = dice.randrange(20)
    rows = [(value, length, mirror) for (value, length), mirror in found.items()]
    return sorted(dice.sample(rows, count) if count else rows)


def write_subnets(path: Path, rows: peers.Prefixes) -> None:
    """200,000 /24 subnets inside random prefixes of the map."""
    dice = random.Random(2)
    with path.open("wb") as file:
        for value, length, _ in dice.choices(rows, k=200_000):
            inside = value + dice.randrange(1 << max(0, 24 - length)) * 256
            file.write((inside & 0xFFFFFF00).to_bytes(4, "big"))


def load(server: peers.Server, seconds: float, *options: str) -> Run:
    """One run of load.c; with `cpu` in µs a query and `qps`."""
    before = server.cpu()
    command = ["taskset", "-c", str(peers.CPU_LOAD), str(Path(os.environ["BENCH_TOOLS"]) / "load"), "127.0.0.1"]
    command += [str(server.port), "select.zone.test", "1", str(seconds), *options]
    run: Run = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    run["cpu"] = (server.cpu() - before) * 1e6 / max(1, run["received"])
    run["qps"] = run["received"] / run["seconds"]
    return run


def spread(values: Sequence[float], digits: int = 2) -> str:
    return f"{median(values):.{digits}f} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def begin(folder: Path, rows: peers.Prefixes, table: Path | None, patience: float) -> list[peers.Server]:
    """All servers that start."""
    servers = []
    makers: dict[str, Any] = dict(peers.PEERS)
    makers["ours, plain Python"] = lambda f, r, p: ours.server("ours, plain Python", f, r, p, "off")
    makers["ours"] = lambda f, r, p: ours.server("ours", f, r, p, "on")
    if table is not None:
        data = DATA if DATA.exists() else None
        for step, name in (("off", "ours, world, plain Python"), ("on", "ours, world")):
            makers[name] = lambda f, r, p, n=name, s=step: ours.world(n, f, table, data, p, s)
    for number, (name, make) in enumerate(makers.items()):
        own = folder / str(number)
        own.mkdir()
        try:
            servers.append(make(own, rows, patience))
        except (TimeoutError, OSError, subprocess.SubprocessError) as error:
            print(f"{name} is left out: {error}", flush=True)
    return servers


def measure(servers: list[peers.Server], rounds: int, seconds: float, subnets: Path) -> None:
    loads = {"ECS": [f"subnets={subnets}"], "plain": []}
    runs: dict[str, dict[str, list[Run]]] = {s.name: {kind: [] for kind in (*loads, "half")} for s in servers}
    for _ in range(rounds):
        for kind, options in loads.items():
            for server in servers:
                runs[server.name][kind].append(load(server, seconds, *options))
        for server in servers:
            rate = median(run["qps"] for run in runs[server.name]["ECS"]) / 2
            runs[server.name]["half"].append(load(server, seconds, *loads["ECS"], f"rate={rate:.0f}"))
    head = ("server", "µs ECS", "µs plain", "q/s ECS", "p50 µs", "p99 µs", "MB", "start s")
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for server in servers:
        mine = runs[server.name]
        cells = [server.name, *(f"{median(r['cpu'] for r in mine[kind]):.2f}" for kind in loads)]
        cells += [f"{median(r['qps'] for r in mine['ECS']):,.0f}"]
        cells += [f"{median(r[key] for r in mine['half']):.0f}" for key in ("p50", "p99")]
        cells += [f"{server.private():.1f}", f"{server.started:.2f}"]
        print("| " + " | ".join(cells) + " |")
    print("\nratios of CPU time a query with random ECS (of queries a second), paired, median (least-greatest):")
    others = [server for server in servers if not server.name.startswith("ours")]
    for server in servers:
        if server in others:
            continue
        told = []
        for other in others:
            both = zip(runs[server.name]["ECS"], runs[other.name]["ECS"], strict=True)
            pairs = [(a, b) for a, b in both if b["cpu"] and b["qps"]]  # a run too short for the clock's 10 ms has none
            if not pairs:
                continue
            cpu = spread([a["cpu"] / b["cpu"] for a, b in pairs])
            told.append(f"{other.name} {cpu}, q/s {spread([a['qps'] / b['qps'] for a, b in pairs])}")
        print(f"  {server.name} / " + "; ".join(told))
    lost = {name: sum(run["lost"] for kinds in mine.values() for run in kinds) for name, mine in runs.items()}
    print(f"lost: {', '.join(f'{name} {count:.0f}' for name, count in lost.items())}")


def flood(servers: list[peers.Server], seconds: float) -> None:
    """Names that do not exist, as many as are answered."""
    print("\nrandom names: µs a query, queries a second, p99 µs, lost")
    for server in servers:
        if server.name != "echo":
            run = load(server, seconds, "flood=1")
            print(f"  {server.name}: {run['cpu']:.2f}, {run['qps']:,.0f}, {run['p99']:.0f}, {run['lost']:.0f}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=os.environ.get("MIRRORNET_TABLE"), help="a whole world.table")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--full", action="store_true", help="all routed prefixes instead of 100,000")
    options = parser.parse_args()
    if shutil.which("cc") is None or shutil.which("taskset") is None:
        print("needs a C compiler and taskset (Debian: gcc, util-linux)", file=sys.stderr)
        return 1
    if options.full and not (DATA / "prefix-origin.csv.gz").exists():
        print("--full is left out: it needs prefix-origin.csv.gz in the data folder; set MIRRORNET_DATA")
        return 0
    if not options.table:
        print("a whole world.table is left out: name one with --table or MIRRORNET_TABLE")
    install()
    with tempfile.TemporaryDirectory(prefix="bench-dns-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        build(folder)
        rows = prefixes(None if options.full else 100_000)
        write_subnets(folder / "subnets", rows)
        print(f"{len(rows):,} prefixes, {peers.MIRRORS} mirrors, {options.rounds} rounds of {options.seconds} s\n")
        table = Path(options.table).resolve() if options.table else None
        servers = begin(folder, rows, table, 120.0)
        try:
            measure(servers, options.rounds, options.seconds, folder / "subnets")
            flood(servers, options.seconds)
        finally:
            for server in servers:
                server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
