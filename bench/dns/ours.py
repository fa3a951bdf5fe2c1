"""Our side of the comparison: a worker over a map made of prefixes, and the whole server over a world.table.

    python ours.py map STATE PORT PREFIXES      PREFIXES: a file of lines "value length mirror"

Cookies, rate limiting (at a rate nobody reaches) and counters are on in both.
"""

from __future__ import annotations

import asyncio
import csv
import signal
import sys
from array import array
from ipaddress import ip_address
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parent)]

import peers  # noqa: E402

from mirrornet.app.server.answers.workers import Workers  # noqa: E402
from mirrornet.dns.message.manners import Manners  # noqa: E402
from mirrornet.dns.message.rrset import NS, SOA, A, RRset, name_to_wire  # noqa: E402
from mirrornet.dns.planning.planfile import BETWEEN, Entry, Node, Partition, Plan, Ranges, ZoneInfo, encode  # noqa: E402

LIMIT = 1e9  # replies a second: the buckets are kept, and never empty
MAIN = [sys.executable, "-c", "import sys; from mirrornet.cli import main; sys.exit(main())"]


def flat(prefixes: peers.Prefixes) -> tuple[list[int], list[int]]:
    """Longest match as (starts, mirrors) of ranges, neighbours with one mirror joined."""
    starts, mirrors = [0], [0]

    def put(start: int, mirror: int) -> None:
        if starts[-1] == start:
            starts.pop(), mirrors.pop()
        if not mirrors or mirrors[-1] != mirror:
            starts.append(start), mirrors.append(mirror)

    open_: list[tuple[int, int]] = [(1 << 32, 0)]  # (end, mirror) of what covers the current address, outermost first
    for value, length, mirror in sorted(prefixes):
        while open_[-1][0] <= value:
            end = open_.pop()[0]
            put(end, open_[-1][1])
        put(value, mirror)
        open_.append((value + (1 << (32 - length)), mirror))
    while len(open_) > 1:
        end = open_.pop()[0]
        if end < 1 << 32:
            put(end, open_[-1][1])
    return starts, mirrors


def plan(prefixes: peers.Prefixes) -> Plan:
    """select.zone.test A: one address for each mirror, TTL slot = mirror."""
    starts, mirrors = flat(prefixes)
    four = Ranges(array("I", starts), array("I", mirrors), array("B", [BETWEEN] * len(starts)))
    six = Ranges(array("Q", [0, 1 << 63]), array("I", [0, 0]), array("B", [1, 1]))
    apex, ns = name_to_wire("zone.test"), name_to_wire("ns1.zone.test")
    soa = RRset(SOA, 3600, (ns + name_to_wire("hostmaster.zone.test") + bytes(20),))
    sets = tuple(RRset(A, 20, (bytes([192, 0, 2, n + 1]),)) for n in range(peers.MIRRORS))
    nodes = {
        apex: Node({SOA: Entry((soa,), (-1,)), NS: Entry((RRset(NS, 3600, (ns,)),), (-1,))}),
        name_to_wire("select.zone.test"): Node({A: Entry(sets, tuple(range(peers.MIRRORS)), 0)}),
    }
    zones = {apex: ZoneInfo(apex, soa, 60)}
    return Plan(1, zones, nodes, [Partition(four, six)], peers.MIRRORS)


def cookies(folder: Path) -> Path:
    secret = folder / "cookies"
    secret.write_text("000102030405060708090a0b0c0d0e0f\n")
    return secret


def server(name: str, folder: Path, prefixes: peers.Prefixes, patience: float, step: str) -> peers.Server:
    """A worker over `prefixes`.  `step`: "on" or "off" (plain Python)."""
    port = peers.free_port()
    data = folder / "plan"
    data.write_bytes(b"".join(encode(plan(prefixes))))
    command = [sys.executable, __file__, "map", str(folder), str(port), str(data)]
    return peers.Server(name, folder, port, command, patience, MIRRORNET_STEP=step)


async def _map(state: Path, port: int, data: Path) -> None:
    listen = [(ip_address("127.0.0.1"), port)]
    manners = Manners(cookies=str(cookies(state)), rate=LIMIT)
    workers = Workers(listen, state, 1, manners=manners)
    await workers.start()
    workers.publish([data.read_bytes()], 1, [20] * peers.MIRRORS)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    await stop.wait()
    await workers.stop()


def places(data: Path | None, count: int) -> list[tuple[str, float, float]]:
    """(country, latitude, longitude) of `count` mirrors: real ones where the data folder has them."""
    found = [("JP", 35.7, 139.7), ("FR", 48.9, 2.4), ("US", 32.8, -96.8), ("BR", -23.5, -46.6), ("ZA", -33.9, 18.4)]
    if data is not None and (data / "mirrors.csv").exists():
        with (data / "mirrors.csv").open() as file:
            found = [(row["country"], float(row["lat"]), float(row["lon"])) for row in csv.DictReader(file)]
    return [found[n % len(found)] for n in range(count)]


def zone_file(folder: Path, table: Path, data: Path | None, count: int, port: int, probe: str, rest: str = "") -> Path:
    """A zone of `count` mirrors over `table`; mirror n is at 127.1.0.n, port 8000 + n % 1000 (if anybody asks)."""
    lines = ["zone: zone.test", "contact: hostmaster@zone.test", "serial: 1"]
    lines += ["nameservers: {ns1.zone.test: [127.0.0.1]}", f"world: {table}"]
    lines += ['select: [{name: select, url: "http://select.zone.test:8000/", ttl: 20}]']
    lines += [f"health: {{probe: {probe}, interval: 1s, timeout: 500ms, up: 1, ok: 1, down: 1}}", "mirrors:"]
    for n, (country, latitude, longitude) in enumerate(places(data, count)):
        lines.append(
            f'  m{n}: {{url: "http://m{n}.zone.test:8000/", addresses: [127.1.{n // 250}.{n % 250 + 1}], '
            f"place: {{country: '{country}', latitude: {latitude}, longitude: {longitude}}}}}"
        )
    lines.append(f'server: {{listen: ["127.0.0.1:{port}"], workers: 1, cookies: {cookies(folder)}, rate_limit: 1000000')
    lines.append(f"  {rest}}}")
    path = folder / "zone.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def world(name: str, folder: Path, table: Path, data: Path | None, patience: float, step: str) -> peers.Server:
    """The whole server, 50 mirrors, over the world.table `table`."""
    port = peers.free_port()
    path = zone_file(folder, table, data, 50, port, "none")
    command = [*MAIN, "serve", str(path), "--state", str(folder / "state")]
    return peers.Server(name, folder, port, command, patience, MIRRORNET_STEP=step)


if __name__ == "__main__":
    asyncio.run(_map(Path(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
