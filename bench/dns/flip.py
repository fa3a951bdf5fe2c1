"""From a verdict that flips to the answers, through the running server, with a load on it that counts what is lost.

    python bench/dns/flip.py [--table WORLD.TABLE] [--mirrors 50] [--flips 6]

Mirrors are HTTP listeners on 127.1.0.0/16, probed by `http` every second; one is closed and opened again.  The clock
starts with the verdict, whose moment /status.json tells, and stops with the first answer without that mirror, asked for
every 2 ms.  What a probe needs to find out is health's affair and is not in it.

Meanwhile load.c asks at a steady 20,000 queries a second with random subnets.  Then the worker is killed, and the time
until it answers again is taken, with the queries that were lost.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent))

import compare
import ours
import peers

RATE = 20_000  # queries a second during the flips


class Switch:
    """The HTTP listeners of the mirrors, one thread; each can be closed and opened."""

    def __init__(self, count: int) -> None:
        self.sockets: dict[int, socket.socket] = {}
        self.lock = threading.Lock()
        for number in range(count):
            self.open(number)
        threading.Thread(target=self._serve, daemon=True).start()

    def open(self, number: int) -> None:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((f"127.1.{number // 250}.{number % 250 + 1}", 8000))
        sock.listen(64)
        sock.setblocking(False)
        with self.lock:
            self.sockets[number] = sock

    def close(self, number: int) -> None:
        with self.lock:
            self.sockets.pop(number).close()

    def _serve(self) -> None:
        reply = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok"
        while True:
            with self.lock:
                waiting = list(self.sockets.values())
            for sock in waiting:
                try:
                    connection, _ = sock.accept()
                except OSError:
                    continue
                with connection:
                    connection.settimeout(0.2)
                    try:
                        connection.recv(4096)
                        connection.sendall(reply)
                    except OSError:
                        continue
            time.sleep(0.005)


def query(subnet: bytes) -> bytes:
    option = b"\0\x08\0\x07\0\x01\x18\0" + subnet
    return peers.QUERY[:11] + b"\1" + peers.QUERY[12:] + b"\0\0\x29\x04\xd0\0\0\0\0\0\x0b" + option


def asked(port: int, subnet: bytes) -> frozenset[bytes]:
    """The addresses that `subnet` gets; none where there was no answer in time."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.2)
        sock.connect(("127.0.0.1", port))
        try:
            sock.send(query(subnet))
            reply = sock.recv(4096)
        except OSError:
            return frozenset()
    at = len(peers.QUERY)
    return frozenset(reply[at + 16 * n + 12 : at + 16 * n + 16] for n in range(reply[7]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", type=Path, default=os.environ.get("MIRRORNET_TABLE"))
    parser.add_argument("--mirrors", type=int, default=50)
    parser.add_argument("--flips", type=int, default=6)
    options = parser.parse_args()
    if not options.table:
        print("flips are left out: name a whole world.table with --table or MIRRORNET_TABLE")
        return 0
    with tempfile.TemporaryDirectory(prefix="bench-dns-") as name:
        folder = Path(name)
        compare.build(folder)
        run(folder, options)
    return 0


def run(folder: Path, options: argparse.Namespace) -> None:
    rows = compare.prefixes(100_000)
    compare.write_subnets(folder / "subnets", rows)
    switch = Switch(options.mirrors)
    port, http = peers.free_port(), peers.free_port()
    data = compare.DATA if compare.DATA.exists() else None
    table = Path(options.table).resolve()
    path = ours.zone_file(folder, table, data, options.mirrors, port, "http", f', http: "127.0.0.1:{http}"')
    command = [*ours.MAIN, "serve", str(path), "--state", str(folder / "state")]
    server = peers.Server("ours", folder, port, command, 60.0)
    try:
        print(f"{options.mirrors} mirrors: start to first answer {server.started:.2f} s", flush=True)
        flips(server, switch, folder, options.flips)
        kill(server, folder)
    finally:
        server.stop()


def flips(server: peers.Server, switch: Switch, folder: Path, count: int) -> None:
    subnet = b"\x85\x1e\x00"
    swaps = []
    seconds = count * 4 + 2
    command = [str(folder / "load"), "127.0.0.1", str(server.port), "select.zone.test", "1", str(seconds)]
    loading = subprocess.Popen(
        [*command, f"rate={RATE}", f"subnets={folder / 'subnets'}"], stdout=subprocess.PIPE, text=True
    )
    for _ in range(count):
        before = asked(server.port, subnet)
        victim = next(int.from_bytes(one, "big") - (127 << 24 | 1 << 16) for one in before)
        number = victim // 256 * 250 + victim % 256 - 1
        switch.close(number)
        took = _flipped(server, subnet, before)
        if took is not None:
            swaps.append(took)
        switch.open(number)
        end = time.monotonic() + 6
        while asked(server.port, subnet) != before and time.monotonic() < end:
            time.sleep(0.002)
    told = json.loads(loading.communicate()[0])
    if swaps:
        print(f"verdict to answer: median {median(swaps):.2f} s, most {max(swaps):.2f} s, {len(swaps)} flips")
    print(f"during them: {told['sent']} queries, {told['lost']} lost, p50 {told['p50']} µs, p99 {told['p99']} µs")


def _flipped(server: peers.Server, subnet: bytes, before: frozenset[bytes]) -> float | None:
    """Seconds from the verdict to another answer than `before`; None where there was none in eight seconds."""
    end = time.monotonic() + 8
    while time.monotonic() < end:
        now = asked(server.port, subnet)
        if now and now != before:
            seen = time.time()
            return seen - _youngest(server)
        time.sleep(0.002)
    return None


def _youngest(server: peers.Server) -> float:
    """The Unix time of the youngest verdict, by /status.json."""
    zone = (server.folder / "zone.yaml").read_text()
    http = zone.rpartition('http: "')[2].partition('"')[0]
    with urllib.request.urlopen(f"http://{http}/status.json", timeout=5) as answer:
        status = json.loads(answer.read())
    stamps: list[float] = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                if key == "since" and isinstance(inner, int | float):
                    stamps.append(float(inner))
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(status)
    return max(stamps)


def kill(server: peers.Server, folder: Path) -> None:
    """The worker is killed under load; its successor answers what has queued."""
    command = [str(folder / "load"), "127.0.0.1", str(server.port), "select.zone.test", "1", "3"]
    loading = subprocess.Popen(
        [*command, f"rate={RATE}", f"subnets={folder / 'subnets'}"], stdout=subprocess.PIPE, text=True
    )
    time.sleep(1)
    os.kill(server.pids()[-1], signal.SIGKILL)
    killed = time.monotonic()
    while not peers.answers(server.port):
        pass
    took = time.monotonic() - killed
    told = json.loads(loading.communicate()[0])
    print(f"worker killed: answers after {took * 1000:.0f} ms; {told['sent']} queries, {told['lost']} lost")


if __name__ == "__main__":
    sys.exit(main())
