"""From a mirror's death to the answers, by one pair of eyes and by several.

    python bench/dns/eyes.py [--mirrors 20] [--flips 8] [--eyes 1,3]

Mirrors are HTTP listeners on 127.1.0.0/16, probed by `http` every second (timeout 500 ms, down 3, up 2).  One is closed
at a random moment and later opened again; the clock runs from there to the first answer without it, and with it again,
asked for every 5 ms.  By one pair of eyes a server goes by its own probes; with more it shares with so many vantages at
a Redis, and more than half of all have to agree.  All on this machine: what a network adds is its round trip to Redis.

Whoever probes does so in a rhythm of its own, so a quorum waits for the second of three to have missed its probes; what
the exchange costs is half a second at most to be read.
"""

from __future__ import annotations

import argparse
import json
import random
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import peers
from flip import Switch, asked

MAIN = [sys.executable, "-c", "import sys; from mirrornet.cli import main; sys.exit(main())"]
HEALTH = {"interval": "1s", "timeout": "500ms", "up": 2, "ok": 2, "down": 3, "probe": "http", "damping": "0s"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mirrors", type=int, default=20)
    parser.add_argument("--flips", type=int, default=8)
    parser.add_argument("--eyes", default="1,3")
    options = parser.parse_args()
    switch = Switch(options.mirrors)
    dice = random.Random(1)
    print(f"{options.mirrors} mirrors, {HEALTH}, {options.flips} deaths at random moments")
    for eyes in map(int, options.eyes.split(",")):
        with tempfile.TemporaryDirectory(prefix="bench-eyes-") as name:
            run(Path(name), eyes, switch, options, dice)
    return 0


def run(folder: Path, eyes: int, switch: Switch, options: argparse.Namespace, dice: random.Random) -> None:
    """One server with `eyes` - 1 vantages: a line of figures."""
    port, processes = tcp_port(), []
    described = zone(options.mirrors, port)
    try:
        if eyes > 1:
            processes.append(board(folder, described, eyes))
        (folder / "zone.yaml").write_text(json.dumps(described))
        server = peers.Server("ours", folder, port, [*MAIN, "serve", "zone.yaml", "--state", "state"], 60.0)
        for number in range(1, eyes):
            name = f"v{number}"
            words = ["vantage", "zone.yaml", "--name", name, "--key", f"{name}.pem", "--state", f"of-{name}"]
            with (folder / f"v{number}.log").open("wb") as log:
                processes.append(subprocess.Popen([*MAIN, *words], cwd=folder, stdout=log, stderr=log))
        try:
            while eyes > 1 and fresh(described) < eyes:
                time.sleep(0.1)
            begun, before = time.monotonic(), server.cpu()
            out, back = flips(port, switch, options.flips, dice)
            used = (server.cpu() - before) / (time.monotonic() - begun)
        finally:
            server.stop()
    finally:
        for process in processes:
            process.terminate()
            process.wait()
    print(
        f"{eyes} pairs of eyes: out after {spread(out)}, back after {spread(back)}; server {used * 100:.1f} % of a core"
    )


def spread(seconds: list[float]) -> str:
    return f"{median(seconds):.2f} s ({min(seconds):.2f}-{max(seconds):.2f})"


def zone(mirrors: int, port: int) -> dict[str, Any]:
    where = [f"127.1.{number // 250}.{number % 250 + 1}" for number in range(mirrors)]
    return {
        "zone": "zone.test",
        "contact": "hostmaster@zone.test",
        "serial": 1,
        "nameservers": {"ns1.zone.test": ["127.0.0.1"]},
        "select": [{"name": "select", "url": "http://select.zone.test:8000/", "answers": 3, "ttl": 20}],
        "health": HEALTH,
        "mirrors": {
            f"m{number}": {"url": "http://select.zone.test:8000/", "addresses": [address]}
            for number, address in enumerate(where)
        },
        "server": {"listen": [f"127.0.0.1:{port}"], "http": f"127.0.0.1:{tcp_port()}", "workers": 1},
    }


def board(folder: Path, described: dict[str, Any], eyes: int) -> subprocess.Popen[bytes]:
    """A Redis, and who shares at it: the server and v1, v2 …"""
    port, public = tcp_port(), {}
    for name in ["ns", *(f"v{number}" for number in range(1, eyes))]:
        words = [*MAIN, "keygen", "--vantage", f"{name}.pem"]
        public[name] = subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True).stdout.strip()
    described["server"]["share"] = {"url": f"redis://127.0.0.1:{port}", "key": "ns.pem"}
    described["server"]["vantages"] = {name: {"key": key} for name, key in public.items()}
    command = ["redis-server", "--bind", "127.0.0.1", "--port", str(port), "--save", ""]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    while socket.socket().connect_ex(("127.0.0.1", port)):
        time.sleep(0.02)
    return process


def tcp_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def fresh(described: dict[str, Any]) -> int:
    with urllib.request.urlopen(f"http://{described['server']['http']}/status.json", timeout=5) as answer:
        return sum(one["fresh"] for one in json.load(answer)["eyes"]["vantages"])


def flips(port: int, switch: Switch, count: int, dice: random.Random) -> tuple[list[float], list[float]]:
    """Seconds from death to another answer, and from the mirror's return to the answer as it was."""
    out: list[float] = []
    back: list[float] = []
    for number in range(count):
        subnet = bytes((133, 30, number))
        address = min(settled(port, subnet))
        victim = int.from_bytes(address, "big") - (127 << 24 | 1 << 16)
        victim = victim // 256 * 250 + victim % 256 - 1
        time.sleep(dice.random())
        switch.close(victim)
        out.append(until(lambda: address not in answered(port, subnet)))  # noqa: B023
        time.sleep(dice.random())
        switch.open(victim)
        back.append(until(lambda: address in answered(port, subnet)))  # noqa: B023
    return out, back


def answered(port: int, subnet: bytes) -> frozenset[bytes]:
    """What `subnet` gets; asked again where the reply is late."""
    while not (found := asked(port, subnet)):
        pass
    return found


def settled(port: int, subnet: bytes) -> frozenset[bytes]:
    """The answer, once it has been the same for six seconds."""
    last, since = answered(port, subnet), time.monotonic()
    while time.monotonic() - since < 6:
        time.sleep(0.05)
        now = answered(port, subnet)
        if now != last:
            last, since = now, time.monotonic()
    return last


def until(holds: Callable[[], bool]) -> float:
    begun = time.monotonic()
    while not holds():
        if time.monotonic() - begun > 60:
            raise TimeoutError("nothing changes for a minute")
        time.sleep(0.005)
    return time.monotonic() - begun


if __name__ == "__main__":
    sys.exit(main())
