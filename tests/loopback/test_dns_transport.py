"""The loop in front of `respond`, on real sockets: the vectors by UDP and TCP over both families, and bad manners."""

from __future__ import annotations

import json
import os
import runpy
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

import dns.message
import dns.name
import pytest
from dns_sockets import exact

from mirrornet.app.server.answers.sockets import open_all
from mirrornet.dns.serving import batch, counters, step
from mirrornet.dns.serving.answer import Responder
from mirrornet.dns.serving.transport import Limits, serve

VECTORS = Path(__file__).parents[1] / "vectors" / "wire"
WORLD = runpy.run_path(str(VECTORS / "plan.py"))
CASES = json.loads((VECTORS / "queries.json").read_text())
QUERY = dns.message.make_query("mail.example.org", "A", id=7).to_wire()
HOSTS = ["127.0.0.1", "::1"]


@dataclass
class Server:
    """`serve` in a thread; `ports` by host, the same for UDP and TCP."""

    ports: dict[str, int] = field(default_factory=dict)
    counts: list[int] = field(default_factory=lambda: [0] * len(counters.NAMES))

    def udp(self, host: str) -> socket.socket:
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(60)
        sock.connect((host, self.ports[host]))
        return sock

    def tcp(self, host: str = "127.0.0.1") -> socket.socket:
        sock = socket.create_connection((host, self.ports[host]), timeout=60)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock


@pytest.fixture(params=["step", "batch", "datagrams"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """UDP by the compiled step, by recvmmsg, and by what is left without it."""
    assert batch.supported(), "the machine of the tests has recvmmsg"
    if request.param == "datagrams":
        monkeypatch.setattr(batch, "supported", lambda: False)
    if request.param == "step":
        assert step.build(tmp_path) == ""
        STEPS.append(tmp_path)
        request.addfinalizer(STEPS.clear)


STEPS: list[Path] = []  # where a compiled step lies, if one is to be used


@pytest.fixture
def start() -> Iterator[Callable[..., Server]]:
    cleanup: list[Callable[[], None]] = []

    def begin(hosts: list[str] = HOSTS, limits: Limits | None = None) -> Server:
        server = Server()
        opened = open_all([(ip_address(host), 0) for host in hosts])
        sockets, bound = opened.slots[0], opened.addresses
        server.ports.update((str(address), port) for address, port in bound)
        responder = Responder(WORLD["PLAN"], WORLD["TTLS"], nsid=b"test", counts=server.counts)
        compiled = step.load(STEPS[0]) if STEPS else None
        if compiled is not None:
            compiled.equip(responder, WORLD["TTLS"])
        lifeline, end = os.pipe()
        how = {"wake": (lifeline,), "counts": server.counts, "limits": limits or Limits(idle=120), "step": compiled}
        thread = threading.Thread(
            target=serve,
            args=(sockets, lambda: responder.respond),
            daemon=True,
            kwargs=how,
        )
        thread.start()

        def finish() -> None:
            os.close(end)
            thread.join(60)
            os.close(lifeline)
            for sock in sockets:
                sock.close()
            assert not thread.is_alive(), "the end of the lifeline must end the loop"

        cleanup.append(finish)
        return server

    yield begin
    for finish in cleanup:
        finish()


def receive(sock: socket.socket) -> bytes:
    head = exact(sock, 2)
    return exact(sock, int.from_bytes(head, "big")) if len(head) == 2 else b""


def framed(query: bytes) -> bytes:
    return struct.pack("!H", len(query)) + query


def check(case: dict, reply: bytes, tcp: bool) -> None:
    """Octet by octet, since dnspython does not know the ECS of family 0."""
    query = bytes.fromhex(case["query"])
    flags = int.from_bytes(reply[2:4], "big")
    truncated = case["tc"] and not tcp
    assert reply[:2] == query[:2]
    assert flags & 0x8000 and flags & 0x7800 == int.from_bytes(query[2:4], "big") & 0x7800
    assert not flags & 0x00F0, "RA, Z, AD, CD"
    assert flags & 0x0100 == query[2] << 8 & 0x0100, "RD"
    assert bool(flags & 0x0400) == case["aa"]
    assert bool(flags & 0x0200) == truncated
    questions, answers, authorities, additionals = struct.unpack("!4H", reply[4:12])
    assert questions == case["question"]
    if case["question"]:
        end = dns.name.from_wire(query, 12)[1] + 16
        assert reply[12:end] == query[12:end], "the question as sent"
    assert truncated == (answers == 0) if case["tc"] else answers == case["answer"]
    assert authorities == case["authority"]
    rcode = flags & 15
    if case["opt"]:
        options = bytes.fromhex(case["options"])
        opt = reply[len(reply) - 11 - len(options) :]
        assert opt[:5] == b"\0\0\x29\x04\xd0" and opt[6] == 0, "owner, type, size, version"
        assert opt[7:9] in (b"\0\0", b"\x80\0") and opt[9:] == struct.pack("!H", len(options)) + options
        rcode |= opt[5] << 4
    assert rcode == case["rcode"]
    assert additionals == case["opt"] + (case["what"] == "delegation")


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("host", HOSTS)
def test_vectors_by_udp(start, host):
    with start().udp(host) as sock:
        for case in CASES:
            sock.send(bytes.fromhex(case["query"]))
            if case.get("silence"):
                sock.send(QUERY)  # the next answer is this one's
                assert sock.recv(4096)[:2] == b"\0\x07", case["what"]
                continue
            try:
                check(case, sock.recv(4096), False)
            except AssertionError as error:
                raise AssertionError(f"{case['what']} ({case['source']})") from error


@pytest.mark.parametrize("host", HOSTS)
def test_vectors_by_tcp_on_one_connection(start, host):
    server = start()
    with server.tcp(host) as sock:
        loud = [case for case in CASES if not case.get("silence")]
        sock.sendall(b"".join(framed(bytes.fromhex(case["query"])) for case in loud))
        for case in loud:
            try:
                check(case, receive(sock), True)
            except AssertionError as error:
                raise AssertionError(f"{case['what']} ({case['source']})") from error
    for case in CASES:
        if case.get("silence"):
            with server.tcp(host) as sock:
                sock.sendall(framed(bytes.fromhex(case["query"])))
                assert receive(sock) == b"", case["what"]


def test_one_octet_at_a_time(start):
    with start().tcp() as sock:
        for octet in framed(QUERY) * 3:
            sock.sendall(bytes([octet]))
        for _ in range(3):
            assert receive(sock)[:2] == b"\0\x07"


def test_many_at_once_and_a_half_closed_connection(start):
    with start().tcp() as sock:
        sock.sendall(framed(QUERY) * 1000)
        sock.shutdown(socket.SHUT_WR)
        for _ in range(1000):
            assert receive(sock)[:2] == b"\0\x07"
        assert sock.recv(1) == b""


def test_a_client_that_never_reads_does_not_delay_udp(start):
    server = start()
    greedy = server.tcp()
    greedy.setblocking(False)
    query = framed(dns.message.make_query("huge.example.org", "TXT").to_wire()) * 500
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:  # until our replies fill its window and the server reads no more
        try:
            greedy.send(query)
        except BlockingIOError:
            break
    else:
        pytest.fail("the server never stopped reading")
    with server.udp("127.0.0.1") as sock:
        for _ in range(50):
            began = time.monotonic()
            sock.send(QUERY)
            assert sock.recv(4096)[:2] == b"\0\x07"
            assert time.monotonic() - began < 20, "the connection stays open for longer than that"
    greedy.close()


def test_idle_connections_are_closed_however_busy_they_look(start):
    server = start(limits=Limits(idle=2.0))  # of which this test, on a busy machine, may miss some
    with server.tcp() as idle, server.tcp() as dripping, server.tcp() as busy:
        began = time.monotonic()
        dripping.settimeout(0.02)
        ended = None
        while ended is None and time.monotonic() - began < 60:
            busy.sendall(framed(QUERY))
            assert receive(busy)[:2] == b"\0\x07"
            try:
                dripping.send(b"\x7f")  # of a query that never ends
                if dripping.recv(1) == b"":
                    ended = time.monotonic()
            except TimeoutError:
                continue
            except ConnectionError:
                ended = time.monotonic()
        assert ended is not None and ended - began >= 1.9
        assert idle.recv(1) == b""
        busy.sendall(framed(QUERY))
        assert receive(busy)[:2] == b"\0\x07"


def test_caps_on_connections(start):
    server = start(limits=Limits(connections=20, per_client=10))
    own = [server.tcp() for _ in range(10)]
    for sock in own:
        sock.sendall(framed(QUERY))
        assert receive(sock)
    with server.tcp() as refused:
        assert refused.recv(1) == b""
    others = []
    for number in range(2, 13):  # one more than there is room for: the idlest leaves
        sock = socket.socket()
        sock.settimeout(60)
        sock.bind((f"127.0.0.{number}", 0))
        sock.connect(("127.0.0.1", server.ports["127.0.0.1"]))
        sock.sendall(framed(QUERY))
        assert receive(sock)
        others.append(sock)
    assert own[0].recv(1) == b""
    own[1].sendall(framed(QUERY))
    assert receive(own[1])
    for sock in own + others:
        sock.close()
    assert server.counts[counters.TCP_REFUSED] == 2


@pytest.mark.usefixtures("way")
def test_reply_leaves_from_the_address_that_was_asked(start):
    """RFC 2181 section 4, on a socket bound to all addresses."""
    server = start(["0.0.0.0", "::"])
    for host in ("127.0.0.9", "127.3.2.1"):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(60)
            sock.sendto(QUERY, (host, server.ports["0.0.0.0"]))
            assert sock.recvfrom(4096)[1] == (host, server.ports["0.0.0.0"])
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sock:
        sock.settimeout(60)
        sock.sendto(QUERY, ("::1", server.ports["::"]))
        assert sock.recvfrom(4096)[1][0] == "::1"


def test_current_can_change_the_answers_and_end_the_loop():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        answers: list[bytes | None] = [b"one"]

        def current():
            answer = answers[-1]
            return None if answer is None else lambda *_: answer

        thread = threading.Thread(target=serve, args=([server], current), daemon=True)
        thread.start()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.settimeout(60)
            sock.connect(server.getsockname())
            for expected in (b"one", b"two"):
                answers.append(expected)
                found, deadline = b"", time.monotonic() + 60  # what is left of the last turn has its answers still
                while found != expected and time.monotonic() < deadline:
                    sock.send(b"?")
                    found = sock.recv(10)
                assert found == expected
        answers.append(None)
        thread.join(60)
        assert not thread.is_alive()
