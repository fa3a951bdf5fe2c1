"""`mirrornet doctor` against a server that runs: all well behind a stub of unbound's, and with faults planted."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset
import pytest
from dns_sockets import bound, exact

from mirrornet.app.doctor import delegation, examination, resolver
from mirrornet.app.doctor.resolver import ask
from mirrornet.cli.doctor import _counted as counted
from mirrornet.config.load import load_zones
from mirrornet.dns.asking import Reply

UNBOUND = """
server:
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  logfile: "{folder}/unbound.log"
  do-daemonize: no
  interface: 127.0.0.1@{port}
  access-control: 127.0.0.0/8 allow
  do-not-query-localhost: no
  module-config: "{modules}iterator"
  {more}
  local-zone: "." static
  local-zone: "serve.test." transparent
  auto-trust-anchor-file: ""
remote-control:
  control-enable: no
stub-zone:
  name: "serve.test"
  stub-addr: 127.0.0.1@{server}
"""
SENDS_ECS = "send-client-subnet: 127.0.0.1\n  client-subnet-always-forward: yes"


@contextlib.contextmanager
def unbound(folder: Path, port: int, server: int, ecs: bool) -> Iterator[None]:
    # no Internet: all but the stub is local and empty
    modules, more = ("subnetcache ", SENDS_ECS) if ecs else ("", "")
    text = UNBOUND.format(folder=folder, port=port, server=server, modules=modules, more=more)
    (folder / "unbound.conf").write_text(text)
    process = subprocess.Popen(["/usr/sbin/unbound", "-c", str(folder / "unbound.conf")])
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


def answers(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.2)
        sock.connect(("127.0.0.1", port))
        try:
            sock.send(b"\0\1\1\0\0\1\0\0\0\0\0\0\5serve\4test\0\0\2\0\1")
            return len(sock.recv(4096)) > 12
        except OSError:
            return False


@pytest.mark.parametrize("ecs", [True, False])
def test_all_is_well_behind_a_stub(
    steady: Any, tmp_path: Path, free_port: Callable[[], int], need: Callable[..., None], ecs: bool
) -> None:
    need("unbound")
    port, dns = free_port(), steady.ports["dns"]
    with unbound(tmp_path, port, dns, ecs):
        steady.wait_for(lambda: answers(port), "unbound")
        options = ("--resolver", f"127.0.0.1:{port}", "--port", str(dns), "--state", "state")
        told = steady.run("doctor", "zone.yaml", *options)
    assert "fault " not in told
    for part in (
        "serve.test through the resolver 127.0.0.1: found, with name servers ns1.serve.test",
        f"ns1.serve.test at 127.0.0.1 port {dns}: answers by UDP and TCP, serial 7",
        "takes client subnets (ECS): ",
        "tokyo at 127.0.0.41: serves what is signed",
        ", also under the select url",
        "the repository's metadata: is good for ",
        "clock: agrees with that of 2 mirrors",
        "state: a server is running with it",
    ):
        assert part in told
    assert ("the resolver 127.0.0.1: passes client subnets (ECS) on" in told) == ecs
    assert ("passes no client subnets (ECS) on" in told) != ecs


def test_faults_are_found_and_said_in_one_line_each(steady: Any, free_port: Callable[[], int]) -> None:
    dns, nobody = steady.ports["dns"], free_port()
    text = steady.zone.read_text().replace("serial: 7", "serial: 8").replace("world: world.table", "world: none.table")
    text = text.replace("[127.0.0.1]}", "[127.0.0.1], ns2.serve.test: [127.0.0.3]}")
    (steady.folder / "other.yaml").write_text(text)
    steady.kill("tokyo")
    options = ("--resolver", f"127.0.0.1:{nobody}", "--port", str(dns), "--state", "elsewhere")
    told = json.loads(steady.run("doctor", "other.yaml", "--json", *options, code=1))
    found = {(one["level"], one["check"]): f"{one['about']}: {one['what']}" for one in told["findings"]}
    faults = [one for one in told["findings"] if one["level"] == "fault"]
    assert told["faults"] == len(faults) == 4 and all(one["mend"] for one in faults)
    assert found["fault", "delegation"] == "serve.test through the resolver 127.0.0.1: connection refused"
    refused = f"ns2.serve.test at 127.0.0.3 port {dns}: connection refused, neither by UDP nor by TCP"
    assert found["fault", "nameserver"] == refused
    assert found["fault", "mirror"] == "tokyo at 127.0.0.41: connection refused"
    assert found["fault", "world.table"].endswith("none.table: is not there, so nobody's place is known")
    assert found["warning", "nameserver"] == "serve.test: the servers have serial 7, and this file has 8"
    assert found["warning", "disk"] == "elsewhere: is not there: no server has run here with it"
    assert found["ok", "mirror"].startswith("paris at 127.0.0.42: serves what is signed")
    plain = steady.run("doctor", "other.yaml", *options, code=1)
    assert plain.splitlines()[-1].startswith("4 faults, ")


def test_the_last_line_counts_as_people_do() -> None:
    assert counted(1, 1, 1) == "1 fault, 1 warning, 1 check is ok"
    assert counted(0, 2, 9) == "0 faults, 2 warnings, 9 checks are ok"


def test_a_zone_file_that_is_unsound_and_options_that_are(place: Any) -> None:
    place.write_zone(place.ZONE.replace("serial: 7", "serial: seven"))
    assert "zone.yaml:4" in place.run("doctor", "zone.yaml", "--resolver", "127.0.0.1:1", code=2)
    assert "--resolver" in place.run("doctor", "zone.yaml", "--resolver", "here", code=2)


class Odd:
    """A name server of which each test says what it does with a query by UDP and by TCP (None: nothing)."""

    def __init__(self, udp: Callable[[bytes], list[bytes]], tcp: Callable[[bytes], bytes]) -> None:
        self.sockets = bound("127.0.0.1")
        self.where = (IPv4Address("127.0.0.1"), self.sockets[0].getsockname()[1])
        self._do = udp, tcp
        for work in (self._udp, self._tcp):
            threading.Thread(target=work, daemon=True).start()

    def _udp(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                query, peer = self.sockets[0].recvfrom(4096)
                if not query:
                    return  # closed
                for reply in self._do[0](query):
                    self.sockets[0].sendto(reply, peer)

    def _tcp(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.sockets[1].accept()
                with connection:
                    query = exact(connection, int.from_bytes(exact(connection, 2), "big"))
                    reply = self._do[1](query)
                    connection.sendall(len(reply).to_bytes(2, "big") + reply)

    def close(self) -> None:
        for one in self.sockets:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@pytest.fixture
def odd() -> Iterator[Callable[..., Odd]]:
    made: list[Odd] = []

    def make(udp: Callable[[bytes], list[bytes]], tcp: Callable[[bytes], bytes] = lambda _: b"") -> Odd:
        made.append(Odd(udp, tcp))
        return made[-1]

    yield make
    for one in made:
        one.close()


def empty(query: bytes, flags: int = 0x8400) -> bytes:
    """A reply without records."""
    return query[:2] + flags.to_bytes(2, "big") + b"\0\1\0\0\0\0\0\0" + query[12 : query.index(b"\0", 12) + 5]


def speaks(records: dict[tuple[str, str], list[str]], section: str = "answer") -> Callable[[bytes], list[bytes]]:
    """Replies with these records, by name and type; NXDOMAIN for what is not there."""

    def reply(query: bytes) -> list[bytes]:
        asked = dns.message.from_wire(query)
        (question,) = asked.question
        answer = dns.message.make_response(asked)
        found = records.get((question.name.to_text(True), dns.rdatatype.to_text(question.rdtype)))
        if found is None:
            answer.set_rcode(dns.rcode.NXDOMAIN)
        else:
            rrset = dns.rrset.from_text_list(question.name, 60, "IN", dns.rdatatype.to_text(question.rdtype), found)
            getattr(answer, section).append(rrset)
        return [answer.to_wire()]

    return reply


async def test_the_parent_is_found_through_the_resolver_and_asked_itself(
    odd: Callable[..., Odd], monkeypatch: pytest.MonkeyPatch, steady: Any
) -> None:
    (zone,) = load_zones([steady.zone])
    parent = odd(speaks({("serve.test", "NS"): ["ns1.serve.test.", "ns9.serve.test."]}, "authority"))
    monkeypatch.setattr(examination, "PORT", parent.where[1])
    above = {("test", "NS"): ["ns.above.test."], ("ns.above.test", "A"): ["127.0.0.1"], ("ns.above.test", "AAAA"): []}
    found = await examination._parent(zone, odd(speaks(above)).where)
    assert (found.name, found.server) == ("test", "ns.above.test")
    told = [str(one) for one in delegation.judge(zone, "r", "does not answer", found)]
    assert "ns.above.test names ns9.serve.test, which `nameservers` does not" in told[1]
    nothing = await examination._parent(zone, odd(speaks({})).where)
    assert nothing == delegation.Parent()


async def test_what_is_cut_short_is_asked_again_by_tcp(odd: Callable[..., Odd]) -> None:
    server = odd(lambda query: [empty(query, 0x8600)], empty)
    found = await ask(server.where, "zone.test", "SOA")
    assert isinstance(found, Reply) and not found.truncated and found.authoritative


async def test_what_somebody_else_sent_is_passed_over(odd: Callable[..., Odd]) -> None:
    server = odd(lambda query: [bytes([query[0] ^ 1]) + empty(query)[1:], empty(query)])
    assert isinstance(await ask(server.where, "zone.test", "SOA"), Reply)


async def test_servers_that_are_silent_or_speak_nonsense(
    odd: Callable[..., Odd], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver, "WAIT", 0.05)
    assert await ask(odd(lambda _: []).where, "zone.test", "SOA") == "does not answer"
    nonsense = odd(lambda query: [query[:2] + b"\x84\0\0\1\0\1\0\0\0\0\xc0\x0c"], lambda _: b"")
    said = await ask(nonsense.where, "zone.test", "SOA")
    assert isinstance(said, str) and "cannot be read" in said
    said = await ask(nonsense.where, "zone.test", "SOA", tcp=True)
    assert isinstance(said, str) and "no reply" in said
