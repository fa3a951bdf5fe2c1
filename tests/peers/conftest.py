"""Other people's servers, as Debian ships them, beside ours: started in a folder of their own, asked, ended.

Every server listens on a loopback address and a port that was free a moment ago.  (BIND listens only on addresses that
an interface shows: of the loopback network that is 127.0.0.1.)
"""

from __future__ import annotations

import os
import random
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_network
from pathlib import Path

import dns.edns
import dns.exception
import dns.flags
import dns.message
import dns.query
import pytest

MIRRORNET = [sys.executable, "-c", "import sys; from mirrornet.cli import main; sys.exit(main())"]
_PATH = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"


def free_port(address: str = "127.0.0.1") -> int:
    """A port that nobody has, by UDP and TCP."""
    while True:
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            tcp.bind((address, 0))
            port: int = tcp.getsockname()[1]
            try:
                udp.bind((address, port))
            except OSError:
                continue
            return port


def quiet_addresses(count: int) -> list[str]:
    """Loopback addresses of which nobody has port 53; resolvers insist on it for what they find by delegation."""
    for _ in range(50):
        third, fourth = random.randrange(1, 255), random.randrange(1, 250)
        found = [f"127.53.{third}.{fourth + number}" for number in range(count)]
        try:
            for address in found:
                for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                    with socket.socket(type=kind) as sock:
                        sock.bind((address, 53))
        except OSError:
            continue
        return found
    raise OSError("no loopback addresses with port 53 free, or no right to it")


class Peers:
    """Servers in folders below `folder`, by a name of the test's own."""

    free_port = staticmethod(free_port)
    quiet_addresses = staticmethod(quiet_addresses)

    def __init__(self, folder: Path) -> None:
        self.root = folder
        self.at: dict[str, tuple[str, int]] = {}
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def folder(self, name: str) -> Path:
        folder = self.root / name
        folder.mkdir(exist_ok=True, parents=True)
        return folder

    def start(self, name: str, *command: str, probe: str = ".") -> None:
        """Starts a server, and waits until it answers for the name `probe`, whatever it says."""
        folder = self.folder(name)
        program = shutil.which(command[0], path=_PATH)
        assert program, command[0]
        with (folder / "log").open("ab") as log:
            self.processes[name] = subprocess.Popen([program, *command[1:]], cwd=folder, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while True:
            assert self.processes[name].poll() is None, f"{name} ended:\n{self.log(name)}"
            assert time.monotonic() < deadline, f"{name} does not answer:\n{self.log(name)}"
            try:
                self.ask(name, probe, "SOA", seconds=0.3)
                return
            except (OSError, dns.exception.DNSException):
                time.sleep(0.02)

    def log(self, name: str) -> str:
        return (self.folder(name) / "log").read_text(errors="replace")

    def stop(self, name: str, kill: bool = False) -> None:
        process = self.processes.pop(name)
        if kill:
            process.kill()
        else:
            process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)

    def ask(
        self,
        name: str,
        qname: str,
        rdtype: str,
        subnet: str = "",
        rd: bool = False,
        seconds: float = 30,
        tcp: bool = False,
    ) -> dns.message.Message:
        """One query; `subnet` as ADDRESS/LENGTH; with EDNS always."""
        options = []
        if subnet:
            network = ip_network(subnet)
            options.append(dns.edns.ECSOption(str(network.network_address), network.prefixlen))
        query = dns.message.make_query(qname, rdtype, use_edns=0, payload=1232, options=options)
        if not rd:
            query.flags &= ~dns.flags.RD
        address, port = self.at[name]
        if tcp:
            return dns.query.tcp(query, address, timeout=seconds, port=port)
        return dns.query.udp(query, address, timeout=seconds, port=port, ignore_unexpected=True)

    # The programs.  Each takes what the test says, and adds what keeps it in its folder and away from the system's.

    def mirrornet(
        self, name: str, zone: str, address: str = "127.0.0.1", port: int = 0, options: tuple[str, ...] = ()
    ) -> None:
        folder = self.folder(name)
        (folder / "zone.yaml").write_text(zone)
        self.at[name] = (address, port or free_port(address))
        listen = f"{address}:{self.at[name][1]}"
        self.start(
            name, *MIRRORNET, "serve", "zone.yaml", "--listen", listen, "--state", "state", "--workers", "1", *options
        )
        deadline = time.monotonic() + 60
        while "answering on" not in self.log(name):
            assert time.monotonic() < deadline, self.log(name)
            time.sleep(0.02)

    def knot(
        self,
        name: str,
        zones: dict[str, str],
        modules: str = "",
        attached: str = "",
        server: str = "",
        address: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        """`zones`: master files by name; `modules`: sections; `attached`: lines of each zone."""
        folder = self.folder(name)
        self.at[name] = (address, port or free_port(address))
        listed = []
        for zone, text in zones.items():
            (folder / f"{zone.strip('.') or 'root'}.zone").write_text(text)
            file = folder / f"{zone.strip('.') or 'root'}.zone"
            listed.append(
                f'  - domain: {zone}\n    file: "{file}"\n    zonefile-sync: -1\n    semantic-checks: off\n{attached}'
            )
        (folder / "knot.conf").write_text(
            f'server:\n    listen: {address}@{self.at[name][1]}\n    rundir: "{folder}"\n    udp-workers: 1\n'
            f"    tcp-workers: 1\n    background-workers: 1\n{server}\n"
            f'log:\n  - target: stderr\n    any: warning\ndatabase:\n    storage: "{folder}"\n'
            f"{modules}\nzone:\n" + "\n".join(listed)
        )
        probe = next(iter(zones))
        self.start(name, "knotd", "-c", str(folder / "knot.conf"), probe=probe)

    def gdnsd(self, name: str, config: str, zones: dict[str, str], address: str = "127.0.0.1", port: int = 0) -> None:
        """`config`: what follows the options section."""
        folder = self.folder(name)
        (folder / "zones").mkdir()
        (folder / "run").mkdir()
        (folder / "state").mkdir()
        self.at[name] = (address, port or free_port(address))
        for zone, text in zones.items():
            (folder / "zones" / zone.strip(".")).write_text(text)
        (folder / "config").write_text(
            f"options => {{\n listen => [ {address}:{self.at[name][1]} ]\n tcp_threads => 1\n udp_threads => 1\n"
            f' run_dir => "{folder}/run"\n state_dir => "{folder}/state"\n}}\n{config}'
        )
        self.start(name, "gdnsd", "-c", str(folder), "start", probe=next(iter(zones)))

    def unbound(self, name: str, config: str, address: str = "127.0.0.1", port: int = 0) -> None:
        """`config`: lines of the server section, then whatever else; all else is Debian's default."""
        folder = self.folder(name)
        self.at[name] = (address, port or free_port(address))
        (folder / "unbound.conf").write_text(
            f"server:\n interface: {address}\n port: {self.at[name][1]}\n do-daemonize: no\n"
            f' username: ""\n chroot: ""\n'
            f' directory: "{folder}"\n pidfile: ""\n use-syslog: no\n logfile: ""\n verbosity: 1\n'
            f" do-not-query-localhost: no\n{config}"
        )
        self.start(name, "unbound", "-d", "-c", str(folder / "unbound.conf"))

    def named(self, name: str, options: str, zones: str, address: str = "127.0.0.1", port: int = 0) -> None:
        """`options`: lines of the options block; `zones`: what follows it."""
        folder = self.folder(name)
        self.at[name] = (address, port or free_port(address))
        (folder / "named.conf").write_text(
            f'options {{\n directory "{folder}";\n pid-file none;\n'
            f" listen-on port {self.at[name][1]} {{ {address}; }};\n"
            f" listen-on-v6 {{ none; }};\n session-keyfile none;\n{options}\n}};\ncontrols {{ }};\n{zones}"
        )
        self.start(name, "named", "-g", "-c", str(folder / "named.conf"))


@pytest.fixture
def peers(tmp_path: Path, need: Callable[..., None]) -> Iterator[Peers]:
    """Everything that was started ends with the test."""
    found = Peers(tmp_path)
    yield found
    for name in reversed(list(found.processes)):
        found.stop(name)


def addresses(reply: dns.message.Message) -> list[str]:
    return sorted(str(record) for rrset in reply.answer for record in rrset)
