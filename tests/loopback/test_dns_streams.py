"""TCP and TLS connections: manners on both sides, and that a thousand of them leave UDP alone."""

from __future__ import annotations

import contextlib
import os
import runpy
import shutil
import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import dns.message
import pytest
from dns_sockets import bound, client_context, exact

from mirrornet.dns.message import wire
from mirrornet.dns.message.manners import Keeper, Manners
from mirrornet.dns.serving import counters
from mirrornet.dns.serving.answer import Responder
from mirrornet.dns.serving.streams import CONNECTIONS, Limits
from mirrornet.dns.serving.transport import serve

WORLD = runpy.run_path(str(Path(__file__).parents[1] / "vectors" / "wire" / "plan.py"))
EXAMPLE = Path(__file__).parents[2] / "zones" / "example"
QUERY = dns.message.make_query("mail.example.org", "A", id=7).to_wire()
HUGE = dns.message.make_query("huge.example.org", "TXT", id=8).to_wire()
LOOPBACK = "127.0.0.1"


@dataclass
class Server:
    """`serve` in a thread on 127.0.0.1."""

    keeper: Keeper
    port: int = 0
    secure: int = 0
    counts: list[int] = field(default_factory=lambda: [0] * len(counters.NAMES))
    seen: list[tuple[int, bytes]] = field(default_factory=list)  # the transport of every query, and who asked
    going: threading.Event = field(default_factory=threading.Event)

    def connect(self, source: str = LOOPBACK, tls: bool = False) -> socket.socket:
        sock = socket.create_connection((LOOPBACK, self.secure if tls else self.port), 60, (source, 0))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client_context().wrap_socket(sock) if tls else sock

    def udp(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(60)
        sock.connect((LOOPBACK, self.port))
        return sock


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    cleanup: list[Callable[[], None]] = []
    for name in ("tls.pem", "tls.key"):
        shutil.copy(EXAMPLE / name, tmp_path)

    def begin(limits: Limits | None = None) -> Server:
        said: list[str] = []
        keeper = Keeper(Manners(certificate=str(tmp_path / "tls.pem"), key=str(tmp_path / "tls.key")), said.append)
        server = Server(keeper)
        server.going.set()
        udp, tcp = bound(LOOPBACK)
        server.port = udp.getsockname()[1]
        secure = socket.create_server((LOOPBACK, 0), backlog=1024)
        server.secure = secure.getsockname()[1]
        responder = Responder(WORLD["PLAN"], WORLD["TTLS"], counts=server.counts, gate=keeper.gate)

        def respond(data: bytes, peer: bytes, transport: int) -> bytes | None:
            server.seen.append((transport, peer))
            return responder.respond(data, peer, transport)

        def current() -> Callable[[bytes, bytes, int], bytes | None]:
            server.going.wait(60)
            keeper.look()
            return respond

        lifeline, end = os.pipe()
        how = {"wake": (lifeline,), "counts": server.counts, "secure": [secure], "tls": keeper.tls}
        how["limits"] = limits or Limits(idle=120)
        thread = threading.Thread(target=serve, args=([udp, tcp], current), kwargs=how, daemon=True)
        thread.start()

        def finish() -> None:
            os.close(end)
            thread.join(60)
            os.close(lifeline)
            for sock in (udp, tcp, secure):
                sock.close()
            assert not thread.is_alive()

        cleanup.append(finish)
        return server

    yield begin
    for finish in cleanup:
        finish()


def framed(query: bytes) -> bytes:
    return struct.pack("!H", len(query)) + query


def receive(sock: socket.socket) -> bytes:
    """One reply; no octets at the end of the connection."""
    head = exact(sock, 2)
    return exact(sock, int.from_bytes(head, "big")) if len(head) == 2 else b""


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.01)


def ended(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except ConnectionError:
        return True


@pytest.mark.parametrize("tls", [False, True], ids=["TCP", "TLS"])
def test_a_thousand_idle_connections_do_not_harm_udp(start, tls):
    """From ten addresses, all of which have asked once; then UDP is asked, and each of them once more."""
    server = start()
    number = 100 if tls else 1000  # a handshake is a millisecond on either side
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(server.connect(f"127.0.0.{2 + n % 10}", tls)) for n in range(number)]
        for sock in idle:
            sock.sendall(framed(QUERY))
        assert all(receive(sock)[:2] == b"\0\7" for sock in idle)
        wait_for(lambda: server.counts[counters.TCP_OPEN] == number, "all connections")
        with server.udp() as udp:
            slowest = 0.0
            for _ in range(300):
                began = time.monotonic()
                udp.send(QUERY)
                assert udp.recv(512)[:2] == b"\0\7"
                slowest = max(slowest, time.monotonic() - began)
        assert slowest < 20, "no query waits for connections that do nothing"
        for sock in idle:
            sock.sendall(framed(QUERY))
        assert all(receive(sock)[:2] == b"\0\7" for sock in idle), "and all of them are alive"
        assert server.counts[counters.TCP_REFUSED] == 0


def test_busy_connections_take_turns_and_udp_comes_between(start):
    """More connections than one turn serves, each with a heap of queries, and a datagram behind all of them."""
    server, number, heap = start(), 3 * CONNECTIONS, 400
    with contextlib.ExitStack() as stack:
        busy = [stack.enter_context(server.connect(f"127.0.0.{2 + n}")) for n in range(number)]
        wait_for(lambda: server.counts[counters.TCP_OPEN] == number, "all connections")
        server.going.clear()
        for sock in busy:
            sock.sendall(framed(QUERY) * heap)
        with server.udp() as udp:
            udp.send(QUERY)
            server.going.set()
            assert udp.recv(512)
        for sock in busy:
            for _ in range(heap):
                assert receive(sock)[:2] == b"\0\7"
    peers = [peer for _, peer in server.seen]
    assert len(peers) == number * heap + 1
    assert max(peers.index(socket.inet_aton(f"127.0.0.{2 + n}")) for n in range(number)) < len(peers) / 2
    assert [transport for transport, _ in server.seen].index(wire.UDP) < len(peers) / 2


@pytest.mark.parametrize("tls", [False, True], ids=["TCP", "TLS"])
def test_any_segmentation_and_pipelining(start, tls):
    """RFC 7766 sections 6.2.1.1 and 8, RFC 7858 section 3.3: octet by octet, and a hundred in one write."""
    with start().connect(tls=tls) as sock:
        for octet in framed(QUERY):
            sock.sendall(bytes([octet]))
        assert receive(sock)[:2] == b"\0\7"
        sock.sendall((framed(QUERY) + framed(HUGE)) * 100)
        for _ in range(100):
            assert receive(sock)[:2] == b"\0\7"
            reply = receive(sock)
            assert reply[:2] == b"\0\x08" and len(reply) > 2000, "in order, and larger than any datagram"


@pytest.mark.parametrize("tls", [False, True], ids=["TCP", "TLS"])
def test_keepalive_tells_the_idle_time_to_who_asks(start, tls):
    """RFC 7828 section 3.3.2: ten seconds, in units of 100 ms; never by UDP (3.2.1)."""
    server = start()
    query = dns.message.make_query("mail.example.org", "A", use_edns=0, options=[dns.edns.GenericOption(11, b"")])
    with server.connect(tls=tls) as sock, server.udp() as udp:
        sock.sendall(framed(query.to_wire()))
        assert receive(sock).endswith(b"\0\x0b\0\2\0\x64")
        udp.send(query.to_wire())
        assert udp.recv(512).endswith(b"\x04\xd0\0\0\0\0\0\0")
        sock.sendall(framed(QUERY))
        assert b"\0\x0b\0\2" not in receive(sock)


def test_tls_is_what_rfc_7858_and_bcp_195_want(start):
    server = start()
    with server.connect(tls=True) as sock:
        assert isinstance(sock, ssl.SSLSocket)
        assert sock.selected_alpn_protocol() == "dot" and sock.version() == "TLSv1.3"
        sock.sendall(framed(QUERY))
        assert receive(sock)[:2] == b"\0\7"
    assert server.seen == [(wire.TLS, socket.inet_aton(LOOPBACK))]
    old = client_context()
    with pytest.warns(DeprecationWarning):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with contextlib.suppress(ssl.SSLError):
        old.set_ciphers("ALL:@SECLEVEL=0")
    wanted = pytest.raises((ssl.SSLError, ConnectionError))
    with socket.create_connection((LOOPBACK, server.secure), 60) as sock, wanted:
        old.wrap_socket(sock)


def test_padding_only_inside_tls_and_only_where_the_query_was_padded(start):
    """RFC 7830 section 6, RFC 8467 section 4.1."""
    server = start()
    padded = dns.message.make_query(
        "mail.example.org", "A", use_edns=0, options=[dns.edns.GenericOption(12, bytes(40))]
    )
    plain = dns.message.make_query("mail.example.org", "A", use_edns=0)
    sizes = {}
    for tls in (False, True):
        with server.connect(tls=tls) as sock:
            for name, query in (("padded", padded), ("plain", plain)):
                sock.sendall(framed(query.to_wire()))
                sizes[name, tls] = len(receive(sock))
    assert sizes["padded", True] == 468
    assert sizes["plain", True] == sizes["plain", False] == sizes["padded", False] < 100


def test_who_does_not_speak_tls_or_never_finishes_is_let_go(start):
    server = start(Limits(idle=0.3))
    with socket.create_connection((LOOPBACK, server.secure), 60) as plain:
        plain.sendall(framed(QUERY))
        with contextlib.suppress(ConnectionResetError):
            while (found := plain.recv(100)) != b"":
                assert found[0] == 21, "at most a TLS alert"
    with socket.create_connection((LOOPBACK, server.secure), 60) as silent:
        assert ended(silent), "a handshake that does not begin is idle"
    with server.connect(tls=True) as late:
        late.sendall(framed(QUERY))
        assert receive(late)
        assert ended(late), "TLS is told that it ends"
    wait_for(lambda: server.counts[counters.TCP_OPEN] == 0, "their connections to be gone")


def test_caps_count_tls_as_well(start):
    server = start(Limits(per_client=3))
    with contextlib.ExitStack() as stack:
        for tls in (False, True, True):
            sock = stack.enter_context(server.connect(tls=tls))
            sock.sendall(framed(QUERY))
            assert receive(sock)
        with pytest.raises((ConnectionError, ssl.SSLError)):
            stack.enter_context(server.connect(tls=True))
    assert server.counts[counters.TCP_REFUSED] == 1


def certificate_of(server: Server) -> bytes | None:
    with server.connect(tls=True) as sock:
        assert isinstance(sock, ssl.SSLSocket)
        return sock.getpeercert(binary_form=True)


def test_a_renewed_certificate_is_used_without_a_restart(need, start, tmp_path):
    """And half a renewal, where the key is not the certificate's yet, changes nothing."""
    need("openssl")
    server = start()
    before = certificate_of(server)
    own = ["-keyout", str(tmp_path / "new.key"), "-out", str(tmp_path / "new.pem"), "-subj", "/CN=new"]
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", *own]
    subprocess.run(made, check=True, capture_output=True)
    seen = server.keeper._seen.copy()
    shutil.move(tmp_path / "new.pem", tmp_path / "tls.pem")
    wait_for(lambda: server.keeper._seen != seen, "the server to look")
    assert certificate_of(server) == before
    shutil.move(tmp_path / "new.key", tmp_path / "tls.key")
    wait_for(lambda: certificate_of(server) != before, "the new certificate")
