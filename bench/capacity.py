"""What one name server needs, by the number of its mirrors: time to the first answer, memory, processor time.

    python bench/capacity.py --table WORLD.TABLE [--mirrors 10,50,200,500] [--seconds 30]

Mirrors are HTTP listeners on 127.1.0.0/16 (as in dns/flip.py), probed by `http` every 10 s, spread over the world; one
worker.  Memory is what the processes have for themselves (Private_* of smaps_rollup; the plan is shared by all workers
and counted once, by its file).  Processor time at rest is that of the supervisor, probes and their answers' parsing
included; a plan is made by closing one mirror, and its time and processor time are those of /status.json and /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "dns"))

import compare
import flip
import ours
import peers

INTERVAL = "10s"
SETTLE = 15.0  # seconds from the first answer until nothing is left to do but probing
TICKS = os.sysconf("SC_CLK_TCK")


def spent(pid: int) -> float:
    """Seconds of user and system time of the process `pid`, its threads included."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS


def private(pid: int) -> float:
    """Megabytes that are the process's own."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1000


def status(http: int) -> dict[str, object]:
    with urllib.request.urlopen(f"http://127.0.0.1:{http}/status.json", timeout=10) as answer:
        found: dict[str, object] = json.loads(answer.read())
    return found


def measure(table: Path, count: int, seconds: float) -> str:
    """One line of the table."""
    switch = flip.Switch(count)
    with tempfile.TemporaryDirectory(prefix="bench-capacity-") as name:
        folder = Path(name)
        port, http = peers.free_port(), peers.free_port()
        data = compare.DATA if compare.DATA.exists() else None
        path = ours.zone_file(folder, table, data, count, port, "http", f', http: "127.0.0.1:{http}"')
        path.write_text(path.read_text().replace("interval: 1s, timeout: 500ms", f"interval: {INTERVAL}, timeout: 5s"))
        command = [*ours.MAIN, "serve", str(path), "--state", str(folder / "state")]
        server = peers.Server("ours", folder, port, command, 120.0)
        try:
            supervisor, *workers = server.pids()
            ready = spent(supervisor)
            time.sleep(SETTLE)
            rest, generation = at_rest(supervisor, http, seconds)
            before = spent(supervisor)
            switch.close(0)
            while generation_of(http) == generation:
                time.sleep(0.1)
            time.sleep(1)
            flipped = spent(supervisor) - before - rest
            plan = status(http)["plan"]
            assert isinstance(plan, dict)
            size = max(file.stat().st_size for file in (folder / "state").glob("plan.*")) / 1e6
            return (
                f"| {count} | {server.started:.1f} | {ready:.1f} | {private(supervisor):.0f} | "
                f"{max(private(pid) for pid in workers):.0f} | {size:.1f} | {100 * rest:.1f} % | "
                f"{plan['build_seconds']:.2f} | {flipped:.1f} |"
            )
        finally:
            server.stop()
            for number in list(switch.sockets):
                switch.close(number)


def at_rest(supervisor: int, http: int, seconds: float) -> tuple[float, int]:
    """Processor time a second while no plan is made, and the plan's generation."""
    for _ in range(10):
        generation, before = generation_of(http), spent(supervisor)
        time.sleep(seconds)
        if generation_of(http) == generation:
            return (spent(supervisor) - before) / seconds, generation
    raise SystemExit("mirrors come and go by themselves: the machine is too busy for a figure")


def generation_of(http: int) -> int:
    plan = status(http)["plan"]
    return int(plan["generation"]) if isinstance(plan, dict) else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=os.environ.get("MIRRORNET_TABLE"))
    parser.add_argument("--mirrors", default="10,50,200,500")
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    if not options.table:
        print("name a whole world.table with --table or MIRRORNET_TABLE")
        return 2
    print("| mirrors | s to answer | CPU s | MB | MB a worker | MB of plan | CPU at rest | s a plan | CPU s a flip |")
    print("|---|---|---|---|---|---|---|---|---|")
    for count in options.mirrors.split(","):
        print(measure(Path(options.table).resolve(), int(count), options.seconds), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
