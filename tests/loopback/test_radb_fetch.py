"""Dumps by http and ftp from servers of our own, good and bad."""

from __future__ import annotations

import contextlib
import gzip
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from mirrornet.model.errors import InputError, LimitError, Missing, PeerError, Unreachable
from mirrornet.radb.fetch import Limits, ahead, opened, public_name
from mirrornet.radb.importer import import_radb

DUMP = b"route: 8.8.8.0/24\norigin: AS15169\nsource: RADB\n\n" * 500 + b"# EOF\n"
PACKED = gzip.compress(DUMP)
FAST = Limits(connect=2, read=0.5, whole=20, wire=1 << 20, unpacked=1 << 20, pause=0)


class Handler(BaseHTTPRequestHandler):
    """What each path does."""

    released = threading.Event()

    def do_GET(self) -> None:
        if self.path == "/radb.db.gz":
            self.answer(PACKED)
        elif self.path == "/radb.db":
            self.answer(DUMP)
        elif self.path == "/encoded":
            self.answer(PACKED, ("Content-Encoding", "gzip"))
        elif self.path == "/moved":
            self.answer(b"", ("Location", "/radb.db.gz"), status=302)
        elif self.path == "/short":
            self.answer(PACKED[:100], length=len(PACKED))
        elif self.path == "/page":
            self.answer(b"<html>Sorry</html>")
        elif self.path == "/large":
            self.answer(b"remarks: x\n" * 200_000)
        elif self.path == "/silent":
            self.answer(DUMP[:100], length=len(DUMP))
            self.wfile.flush()
            self.released.wait(10)
        elif self.path == "/dripping":
            self.send_response(200)
            self.end_headers()
            with contextlib.suppress(OSError):
                while not self.released.wait(0.05):
                    self.wfile.write(b"remarks: x\n")
        else:
            self.answer(b"no", status=500 if self.path == "/broken" else 404)

    def answer(self, body: bytes, *headers: tuple[str, str], status: int = 200, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    Handler.released.clear()
    thread = threading.Thread(target=httpd.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}"
    Handler.released.set()
    httpd.shutdown()
    httpd.server_close()
    thread.join(5)


def fetch(url: str, limits: Limits = FAST) -> bytes:
    with opened(url, limits) as stream:
        return b"".join(ahead(stream))


@pytest.mark.parametrize("path", ["/radb.db.gz", "/radb.db", "/encoded", "/moved"])
def test_good_answers_are_the_dump(server: str, path: str) -> None:
    assert fetch(server + path) == DUMP


@pytest.mark.parametrize(
    ("path", "error", "what"),
    [
        ("/nothing", Missing, "404"),
        ("/broken", Unreachable, "500"),
        ("/short", PeerError, "bytes too early|broke off"),
        ("/silent", Unreachable, "broke off"),
        ("/large", LimitError, "larger than 1.0 MiB"),
    ],
)
def test_bad_answers_are_one_clear_error(server: str, path: str, error: type[Exception], what: str) -> None:
    began = time.monotonic()
    with pytest.raises(error, match=what) as caught:
        fetch(server + path)
    assert server + path in str(caught.value)
    assert "\n" not in str(caught.value)
    assert time.monotonic() - began < 30


def test_a_server_that_drips_does_not_hold_us(server: str) -> None:
    with pytest.raises(Unreachable, match="not finished after"):
        fetch(server + "/dripping", Limits(connect=2, read=2, whole=0.4))


def test_nobody_listens(free_port: Callable[[], int]) -> None:
    with pytest.raises(Unreachable, match="cannot be fetched"):
        fetch(f"http://127.0.0.1:{free_port()}/radb.db.gz")


def test_an_import_by_http_and_its_faults(server: str, tmp_path: Path) -> None:
    out = tmp_path / "world.table"
    report = import_radb([server + "/radb.db.gz", server + "/radb.db"], out, now=1.0)
    assert report.objects["RADB"]["route"] == 1000
    assert report.files[0].bytes_read == len(PACKED)
    before = out.read_bytes()
    with pytest.raises(InputError, match="web page"):
        import_radb([server + "/page"], out, now=1.0, force=True)
    with pytest.raises(PeerError):
        import_radb([server + "/radb.db", server + "/short"], out, now=1.0, force=True, limits=FAST)
    assert out.read_bytes() == before


def test_stopping_early_leaves_no_thread(server: str) -> None:
    with opened(server + "/dripping", Limits(read=2)) as stream:
        portions = ahead(stream)
        assert next(portions)
        portions.close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("read ") and thread.is_alive()]


def test_no_password_in_a_message() -> None:
    assert public_name("ftp://me:secret@ftp.example.net/a") == "ftp://ftp.example.net/a"
    assert public_name("/a@b/c") == "/a@b/c"


class Ftp:
    """A server of one file, by passive mode (RFC 959, 2428), for one client at a time; it may know RFC 3659."""

    def __init__(self, body: bytes, promised: int, *, modified: str = "", rest: bool = True, cut: int = 0) -> None:
        self.body, self.promised, self.modified, self.rest = body, promised, modified, rest
        self.cut = cut  # bytes after which the first transfer breaks off; 0 never
        self.commands: list[str] = []
        self.control = socket.create_server(("127.0.0.1", 0))
        self.port = self.control.getsockname()[1]
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"ftp://127.0.0.1:{self.port}"

    def serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.control.accept()
                with client, client.makefile("rwb") as lines, contextlib.suppress(OSError):
                    self.talk(lines)  # type: ignore[arg-type]

    def talk(self, lines: socket.SocketIO) -> None:
        def say(text: str) -> None:
            lines.write(text.encode() + b"\r\n")
            lines.flush()

        say("220 ready")
        data: socket.socket | None = None
        start = 0
        while command := lines.readline().decode().strip():
            self.commands.append(command)
            verb, _, argument = command.partition(" ")
            if verb in ("EPSV", "PASV"):
                data = socket.create_server(("127.0.0.1", 0))
                port = data.getsockname()[1]
                passive = f"227 passive (127,0,0,1,{port >> 8},{port & 255})"
                say(f"229 passive (|||{port}|)" if verb == "EPSV" else passive)
            elif verb == "RETR" and data and argument == "radb.db.gz":
                say(f"150 here it comes ({self.promised - start} bytes)")
                connection, _ = data.accept()
                body = self.body[start : self.cut or None]
                start = self.cut = 0
                with data, connection:
                    connection.sendall(body)
                say("226 done")
            elif verb in ("SIZE", "MDTM") and self.modified and argument == "radb.db.gz":
                say(f"213 {self.promised if verb == 'SIZE' else self.modified}")
            elif verb == "REST" and self.rest:
                start = int(argument)
                say("350 go on")
            elif verb == "QUIT":
                say("221 bye")
                return
            else:
                say(
                    {"USER": "331 password", "PASS": "230 in", "CWD": "250 there", "TYPE": "200 yes"}.get(
                        verb, "550 no" if verb in ("RETR", "SIZE", "MDTM") else "502 unknown"
                    )
                )

    def close(self) -> None:
        self.control.shutdown(socket.SHUT_RDWR)
        self.control.close()
        self.thread.join(5)


@pytest.fixture
def ftp() -> Iterator[Callable[..., Ftp]]:
    servers: list[Ftp] = []

    def start(body: bytes, promised: int, **options: object) -> Ftp:
        servers.append(Ftp(body, promised, **options))  # type: ignore[arg-type]
        return servers[-1]

    yield start
    for each in servers:
        each.close()


def test_ftp(ftp: Callable[..., Ftp]) -> None:
    server = ftp(PACKED, len(PACKED))
    assert fetch(server.url + "/radb/dbase/radb.db.gz") == DUMP
    assert "CWD radb" in server.commands and "CWD dbase" in server.commands
    assert fetch(server.url.replace("//", "//me:p%40ss@") + "/radb.db.gz") == DUMP
    assert "USER me" in server.commands and "PASS p@ss" in server.commands


def test_ftp_cut_short_or_missing(ftp: Callable[..., Ftp]) -> None:
    with pytest.raises(PeerError, match="too early"):
        fetch(ftp(PACKED[:100], len(PACKED)).url + "/radb.db.gz")
    with pytest.raises(Missing, match="does not have this"):
        fetch(ftp(PACKED, len(PACKED)).url + "/nothing.db.gz")


@pytest.mark.parametrize(("modified", "rest"), [("20261123080000", True), ("20261123080000", False), ("", True)])
def test_ftp_goes_on_where_it_broke_off(ftp: Callable[..., Ftp], modified: str, rest: bool) -> None:
    server = ftp(PACKED, len(PACKED), modified=modified, rest=rest, cut=100)
    assert fetch(server.url + "/radb.db.gz") == DUMP
    assert ("REST 100" in server.commands) == bool(modified)  # who names no edition is read again from the start


def test_ftp_another_file_is_noticed(ftp: Callable[..., Ftp]) -> None:
    server = ftp(PACKED, len(PACKED), cut=100)
    with opened(server.url + "/radb.db.gz", FAST) as stream:
        server.body = bytes(reversed(PACKED))
        with pytest.raises(PeerError, match="changed while it was fetched"):
            b"".join(stream)


def test_ftp_nothing_new(ftp: Callable[..., Ftp], tmp_path: Path) -> None:
    server = ftp(PACKED, len(PACKED), modified="20261123080000")
    names, out = [server.url + "/radb.db.gz"], tmp_path / "world.table"
    assert not import_radb(names, out, now=1.0, limits=FAST).nothing_new
    assert import_radb(names, out, now=2.0, limits=FAST).nothing_new
    server.modified = "20261124080000"
    assert not import_radb(names, out, now=3.0, limits=FAST).nothing_new


@pytest.mark.parametrize("url", ["ftp:///radb.db", "ftp://host/", "ftp://host:x/a", "ftp://host/a%0d%0aDELE%20b"])
def test_ftp_urls_that_are_none(url: str) -> None:
    with pytest.raises(InputError, match="not a URL"):
        fetch(url)


def test_ftp_nobody_listens(free_port: Callable[[], int]) -> None:
    with pytest.raises(Unreachable, match="cannot be fetched"):
        fetch(f"ftp://127.0.0.1:{free_port()}/radb.db.gz")
