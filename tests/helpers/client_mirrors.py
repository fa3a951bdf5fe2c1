"""Mirrors that behave and misbehave on command, and something real for them to serve.

Each mirror is a threaded HTTP/1.1 server on a loopback
address of its own; `stop` also cuts the connections that are open, as a power cut does.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from mirrornet.image.publishing.publish import publish
from mirrornet.image.trust.keys import keygen


class Mirror:
    """`behave`: good, missing, lie, truncate, hang, die, gzip, redirect, moved, circle (moved to where it was), long,

    stall (half of it, then nothing), lie-stall (the same with a wrong byte) or trickle (2 KB every 30 ms); metadata
    stays good.
    """

    def __init__(self, folder: Path, address: str = "127.0.0.1", pem: Path | None = None) -> None:
        """`pem`: a key and its certificate, for TLS."""
        self.folder = folder
        self.behave = "good"
        self.delay = 0.0  # seconds before the first byte
        self.ranges = True  # it answers a request for a part with that part
        self.parts: list[str] = []  # what was asked for in Range
        self.spare: set[str] = set()  # paths served well whatever `behave` says
        self.asked: list[str] = []
        self._open: set[socket.socket] = set()
        self._over = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                outer._open.add(self.connection)

            def finish(self) -> None:
                outer._open.discard(self.connection)
                with contextlib.suppress(OSError):
                    super().finish()

            def do_GET(self) -> None:
                outer.serve(self)

            def log_message(self, format: str, *args: object) -> None:
                return None

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request: object, client_address: object) -> None:
                return None  # a connection that was cut

        self._server = Server((address, 0), Handler)
        if pem is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(pem)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.address, self.port = address, self._server.server_address[1]
        self.url = f"http://{address}:{self.port}"
        self.name = f"{address}:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def blocks_asked(self) -> list[str]:
        return [path for path in self.asked if path.startswith("/blocks/")]

    def serve(self, request: BaseHTTPRequestHandler) -> None:
        path, moved, _ = request.path.partition("?moved")
        self.asked.append(path)
        block = path.startswith("/blocks/") and path not in self.spare
        behave = self.behave if block and not moved else "good"
        if self.delay and block:
            self._over.wait(self.delay)
        try:
            body = (self.folder / path.lstrip("/")).read_bytes()
        except OSError:
            behave = "missing"
        if behave == "missing":
            self._reply(request, 404, b"not here")
        elif behave == "good" and self.ranges and request.headers.get("Range", "").startswith("bytes="):
            self.parts.append(request.headers["Range"])
            first, last = (int(word) for word in self.parts[-1].removeprefix("bytes=").split("-"))
            part = body[first : last + 1]
            self._reply(request, 206, part, **{"Content-Range": f"bytes {first}-{last}/{len(body)}"})
        elif behave == "lie":
            self._reply(request, 200, body[:-1] + bytes([body[-1] ^ 1]))
        elif behave == "long":
            self._reply(request, 200, body + b"x")
        elif behave == "gzip":
            self._reply(request, 200, body, **{"Content-Encoding": "gzip"})
        elif behave == "redirect":
            self._reply(request, 302, b"", Location=f"http://127.0.0.99:{self.port}{path}")
        elif behave == "moved":
            self._reply(request, 307, b"", Location=f"http://{self.name}{path}?moved")
        elif behave == "circle":
            self._reply(request, 302, b"", Location=f"http://{self.name}{path}")
        elif behave == "hang":
            self._over.wait(60)
            request.close_connection = True
        elif behave == "truncate":
            self._reply(request, 200, body[: len(body) // 2])
        elif behave in ("stall", "lie-stall", "trickle"):
            first = int((request.headers.get("Range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
            body = body[first:]
            request.send_response(206 if request.headers.get("Range") else 200)
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            if behave == "trickle":
                for start in range(0, len(body), 2048):
                    request.wfile.write(body[start : start + 2048])
                    if self._over.wait(0.03):
                        break
            else:
                wrong = body[:1] if behave == "stall" else bytes([body[0] ^ 1])
                request.wfile.write(wrong + body[1 : len(body) // 2])
                self._over.wait(60)
            request.close_connection = True
        elif behave == "die":
            request.send_response(200)
            request.send_header("Content-Length", str(len(body)))
            request.end_headers()
            request.wfile.write(body[: len(body) // 2])
            request.wfile.flush()
            request.connection.shutdown(socket.SHUT_RDWR)
            request.close_connection = True
        else:
            self._reply(request, 200, body)

    def _reply(self, request: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
        request.send_response(status)
        request.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body)

    def stop(self) -> None:
        if self._over.is_set():
            return
        self._over.set()
        self._server.shutdown()
        self._server.server_close()
        for connection in tuple(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class NameServer:
    """A name server over UDP: `records` by (name, type); `silent` types get no answer at all."""

    def __init__(self) -> None:
        self.records: dict[tuple[str, str], list[str]] = {}
        self.silent: set[str] = set()
        self.ttl = 7
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 0))
        self.address: tuple[str, int] = self._socket.getsockname()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                data, peer = self._socket.recvfrom(4096)
                if not data:
                    return
                query = dns.message.from_wire(data)
                question = query.question[0]
                kind = dns.rdatatype.to_text(question.rdtype)
                if kind in self.silent:
                    continue
                answer = dns.message.make_response(query)
                found = self.records.get((question.name.to_text(), kind))
                if found:
                    answer.answer.append(dns.rrset.from_text(question.name, self.ttl, "IN", kind, *found))
                elif not any(name == question.name.to_text() for name, _ in self.records):
                    answer.set_rcode(dns.rcode.NXDOMAIN)
                self._socket.sendto(answer.to_wire(), peer)

    def stop(self) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
            last.sendto(b"", self.address)
        self._thread.join(5)
        self._socket.close()


@dataclass(frozen=True)
class Published:
    """A real repository with one image, "disk"."""

    folder: Path
    image: Path
    repo: Path
    keys: Path
    pin: str

    @property
    def content(self) -> bytes:
        return self.image.read_bytes()


def published(folder: Path, blocks: int = 24, **options: Any) -> Published:
    """An image of `blocks` blocks and a bit: noise, a hole of 4 blocks, a block that comes twice.

    `options` are those of `publish`.
    """
    dice = random.Random(1)
    unit = 262144
    noise = [dice.randbytes(unit) for _ in range(blocks - 5)]
    image = folder / "disk.img"
    half = len(noise) // 2
    image.write_bytes(b"".join([*noise[:half], bytes(4 * unit), *noise[half:], noise[0], b"the end"]))
    keys, repo = folder / "keys", folder / "repo"
    pin = keygen(keys, passphrase=None)
    publish(image, "disk", repo, keys, now=time.time(), **options)
    return Published(folder, image, repo, keys, pin)


@contextlib.contextmanager
def mirrors(repo: Path, count: int, first: int = 2) -> Iterator[list[Mirror]]:
    """`count` mirrors of one repository on 127.0.0.`first` and up."""
    servers = [Mirror(repo, f"127.0.0.{first + number}") for number in range(count)]
    try:
        yield servers
    finally:
        for server in servers:
            server.stop()


def copy_of(repo: Path, to: Path) -> Path:
    """A copy that may be spoiled without spoiling the others'."""
    shutil.copytree(repo, to)
    return to
