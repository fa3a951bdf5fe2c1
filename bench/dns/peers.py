"""The servers of the comparison, each with the same map from prefixes to mirrors, each with one worker on one core.

A map is a list of (IPv4 prefix as value and length, mirror number); what it leaves out gets mirror 0.  Everybody serves
select.zone.test A with one address and TTL 20.  A server is a folder with its files, a command, and the processes whose
time counts.  All listen on a loopback port of their own and end by their process id.
"""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from ipaddress import IPv4Address
from pathlib import Path

Prefixes = Sequence[tuple[int, int, int]]  # value, length, mirror

MIRRORS = 20
CPU_SERVER, CPU_LOAD = (0, 1) if (os.cpu_count() or 1) > 1 else (0, 0)
QUERY = b"\0\1\0\0\0\1\0\0\0\0\0\0\x06select\x04zone\x04test\0\0\1\0\1"
SOA = "ns1.zone.test. hostmaster.zone.test. 1 3600 600 86400 60"


def net(value: int, length: int) -> str:
    return f"{IPv4Address(value)}/{length}"


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A running server.  `name`; `port`; `started`: seconds from its start to its first answer."""

    def __init__(self, name: str, folder: Path, port: int, command: Sequence[str], patience: float, **env: str) -> None:
        """Starts `command`.  Raises TimeoutError where it has not answered after `patience` seconds."""
        self.name, self.port, self.folder = name, port, folder
        begin = time.monotonic()
        self.log = folder / "log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                ["taskset", "-c", str(CPU_SERVER), *command],
                cwd=folder,
                stdout=log,
                stderr=log,
                env={**os.environ, **env},
            )
        try:
            while not answers(port):
                if self.process.poll() is not None or time.monotonic() - begin > patience:
                    raise TimeoutError(f"{name} does not answer: {self._last()}")
        except BaseException:
            self.stop()
            raise
        self.started = time.monotonic() - begin

    def _last(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else f"silence, and exit code {self.process.poll()}"

    def pids(self) -> list[int]:
        """The server and all processes below it."""
        found, parents = [self.process.pid], [self.process.pid]
        while parents:
            try:
                text = Path(f"/proc/{parents[0]}/task/{parents[0]}/children").read_text()
            except OSError:
                text = ""
            children = [int(word) for word in text.split()]
            parents = parents[1:] + children
            found += children
        return found

    def cpu(self) -> float:
        """Seconds of user and system time so far."""
        return sum(cpu(pid) for pid in self.pids())

    def private(self) -> float:
        """MB that no other process shares, of the process that answers (the last one started)."""
        total = 0
        for line in Path(f"/proc/{self.pids()[-1]}/smaps_rollup").read_text().splitlines():
            if line.startswith("Private_"):
                total += int(line.split()[1])
        return total / 1024

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def cpu(pid: int) -> float:
    """Seconds of user and system time of one process, all its threads."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def answers(port: int) -> bool:
    """Whether the server on `port` gives an address now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.02)
        try:
            sock.connect(("127.0.0.1", port))
            sock.send(QUERY)
            reply = sock.recv(4096)
        except OSError:
            time.sleep(0.005)
            return False
        return reply[3] & 15 == 0 and reply[7] > 0


def echo(folder: Path, prefixes: Prefixes, patience: float) -> Server:
    port = free_port()
    command = [str(Path(os.environ["BENCH_TOOLS"]) / "echo"), "127.0.0.1", str(port)]
    process = Server.__new__(Server)  # it answers nothing, so nobody waits for an answer
    process.name, process.port, process.folder, process.started = "echo", port, folder, 0.0
    process.log = folder / "log"
    process.process = subprocess.Popen(["taskset", "-c", str(CPU_SERVER), *command])
    time.sleep(0.2)
    return process


def gdnsd(folder: Path, prefixes: Prefixes, patience: float) -> Server:
    port = free_port()
    (folder / "zones").mkdir()
    (folder / "geoip").mkdir()
    names = ", ".join(f"m{n}" for n in range(MIRRORS))
    dcmap = ", ".join(f"m{n} => 192.0.2.{n + 1}" for n in range(MIRRORS))
    (folder / "config").write_text(
        f'options => {{ listen => ["127.0.0.1:{port}"], udp_threads => 1, tcp_threads => 1, run_dir => "{folder}/run",'
        f' state_dir => "{folder}/state" }}\n'
        f"plugins => {{ geoip => {{ maps => {{ map => {{ datacenters => [{names}], nets => nets }} }},\n"
        f"  resources => {{ select => {{ map => map, dcmap => {{ {dcmap} }} }} }} }} }}\n"
    )
    with (folder / "geoip" / "nets").open("w") as file:
        for value, length, mirror in prefixes:
            file.write(f"{net(value, length)} => [ m{mirror} ]\n")
    (folder / "zones" / "zone.test").write_text(
        f"@ 3600 SOA {SOA}\n@ 3600 NS ns1\nns1 A 192.0.2.53\nselect 20 DYNA geoip!select\n"
    )
    return Server("gdnsd", folder, port, ["/usr/sbin/gdnsd", "-c", str(folder), "start"], patience)


def knot(folder: Path, prefixes: Prefixes, patience: float) -> Server:
    port = free_port()
    (folder / "knot.conf").write_text(
        f"server:\n  rundir: {folder}\n  listen: 127.0.0.1@{port}\n  udp-workers: 1\n  tcp-workers: 1\n"
        f"  background-workers: 1\n  edns-client-subnet: on\ndatabase:\n  storage: {folder}\n"
        f"log:\n  - target: stderr\n    any: warning\n"
        f"mod-geoip:\n  - id: geo\n    config-file: {folder}/geo.conf\n    ttl: 20\n    mode: subnet\n"
        f"zone:\n  - domain: zone.test\n    file: {folder}/zone.test\n    module: mod-geoip/geo\n"
    )
    (folder / "zone.test").write_text(
        f"$ORIGIN zone.test.\n@ 3600 SOA {SOA}\n@ 3600 NS ns1\nns1 A 192.0.2.53\nselect 20 A 192.0.2.1\n"
    )
    with (folder / "geo.conf").open("w") as file:
        file.write("select.zone.test:\n")
        for value, length, mirror in prefixes:
            file.write(f"  - net: {net(value, length)}\n    A: 192.0.2.{mirror + 1}\n")
    return Server("Knot", folder, port, ["/usr/sbin/knotd", "-c", str(folder / "knot.conf")], patience)


def powerdns(folder: Path, prefixes: Prefixes, patience: float) -> Server:
    port = free_port()
    with (folder / "zones.yaml").open("w") as file:
        file.write(f"domains:\n- domain: zone.test\n  ttl: 20\n  records:\n    zone.test:\n      - soa: {SOA}\n")
        file.write("      - ns: ns1.zone.test\n")
        for n in range(MIRRORS):
            file.write(f"    m{n}.zone.test:\n      - a: 192.0.2.{n + 1}\n")
        file.write("  services:\n    select.zone.test:\n      default: m0.zone.test\n")
        for value, length, mirror in prefixes:
            file.write(f"      {net(value, length)}: m{mirror}.zone.test\n")
    options = {
        "config-dir": folder,
        "socket-dir": folder,
        "launch": "geoip",
        "geoip-zones-file": folder / "zones.yaml",
        "geoip-database-files": "",
        "edns-subnet-processing": "yes",
        "local-address": "127.0.0.1",
        "local-port": port,
        "receiver-threads": 1,
        "distributor-threads": 1,
        "guardian": "no",
        "daemon": "no",
        "setuid": "",
        "setgid": "",
        "loglevel": 3,
    }
    command = ["/usr/sbin/pdns_server", *(f"--{key}={value}" for key, value in options.items())]
    return Server("PowerDNS", folder, port, command, patience)


PEERS: dict[str, Callable[[Path, Prefixes, float], Server]] = {
    "echo": echo,
    "gdnsd": gdnsd,
    "Knot": knot,
    "PowerDNS": powerdns,
}
