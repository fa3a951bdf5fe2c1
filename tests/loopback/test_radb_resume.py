"""Transfers that break off, servers that lie about what they have, and imports that find nothing new."""

from __future__ import annotations

import contextlib
import gzip
import random
import subprocess
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from waiting import until

from mirrornet.model.errors import InputError, LimitError, MirrornetError, Missing, Unreachable
from mirrornet.model.table import WorldTable
from mirrornet.radb.fetch import Limits, ahead, opened
from mirrornet.radb.fetching.limits import Body, Broken, Changed
from mirrornet.radb.fetching.resume import ATTEMPTS, IDLE_ATTEMPTS, resumed
from mirrornet.radb.importer import import_radb

LIMITS = Limits(connect=5, read=5, whole=60, wire=16 << 20, unpacked=64 << 20, pause=0)


def dump(seed: int, count: int = 20_000) -> bytes:
    dice = random.Random(seed)
    rows = (
        f"route: 8.{i >> 8}.{i & 255}.0/24\norigin: AS{dice.randrange(1, 60000)}\nsource: RADB\n\n"
        for i in range(count)
    )
    return "".join(rows).encode() + b"# EOF\n"


PLAIN = dump(1)
PACKED = gzip.compress(PLAIN, 1)
OTHER = gzip.compress(dump(2), 1)


class Script:
    """What the server does: `body` of `etag`, cut after `cut` bytes of each answer while `cuts` last; see respond()."""

    def __init__(self) -> None:
        self.body, self.etag, self.modified = PACKED, '"one"', "Mon, 23 Nov 2026 08:00:00 GMT"
        self.cut, self.cuts = 0, 0
        self.ranges = True
        self.on_resume: Callable[[Script], None] | None = None
        self.status = 200
        self.promised: int | None = None
        self.wrong_range = False
        self.head_works = True
        self.asked: list[tuple[str, dict[str, str]]] = []

    def respond(self, request: BaseHTTPRequestHandler) -> None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.asked.append((request.command, headers))
        if "range" in headers and self.on_resume:
            self.on_resume(self)
        if request.command == "HEAD" and not self.head_works:
            request.send_error(405)
            return
        if self.etag and headers.get("if-none-match") == self.etag:
            request.send_response(304)
            request.end_headers()
            return
        start = 0
        if self.ranges and "range" in headers and headers.get("if-range") in (self.etag, self.modified):
            start = int(headers["range"].removeprefix("bytes=").removesuffix("-"))
        part = self.body[start:]
        request.send_response(206 if start else self.status)
        if self.etag:
            request.send_header("ETag", self.etag)
        if self.modified:
            request.send_header("Last-Modified", self.modified)
        if start:
            first = start + 1 if self.wrong_range else start
            request.send_header("Content-Range", f"bytes {first}-{len(self.body) - 1}/{len(self.body)}")
        request.send_header("Content-Length", str(len(part) if self.promised is None else self.promised))
        request.end_headers()
        if request.command == "HEAD":
            return
        if self.cuts:
            self.cuts -= 1
            part = part[: self.cut]
        with contextlib.suppress(OSError):
            request.wfile.write(part)


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def url(script: Script) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            script.respond(self)

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            pass

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    thread = threading.Thread(target=httpd.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{httpd.server_port}/radb.db.gz"
    httpd.shutdown()
    httpd.server_close()
    thread.join(5)


def fetch(url: str, limits: Limits = LIMITS) -> bytes:
    with opened(url, limits) as stream:
        return b"".join(ahead(stream))


def test_a_broken_transfer_is_resumed_where_it_ended(script: Script, url: str) -> None:
    script.cut, script.cuts = 30_000, 3
    assert fetch(url) == PLAIN
    ranges = [(headers.get("range"), headers.get("if-range")) for _, headers in script.asked]
    assert ranges == [(None, None), *((f"bytes={at}-", '"one"') for at in (30_000, 60_000, 90_000))]


def test_a_date_will_do_and_a_weak_tag_will_not(script: Script, url: str) -> None:
    script.etag, script.cut, script.cuts = 'W/"one"', 30_000, 1
    assert fetch(url) == PLAIN
    assert script.asked[1][1]["if-range"] == script.modified


@pytest.mark.parametrize("tagged", [True, False])
def test_a_server_without_ranges_is_read_again_up_to_there(script: Script, url: str, tagged: bool) -> None:
    script.ranges, script.cut, script.cuts = False, 50_000, 1
    if not tagged:
        script.etag = script.modified = ""
    assert fetch(url) == PLAIN
    assert len(script.asked) == 2 and ("range" in script.asked[1][1]) == tagged


def _other(script: Script) -> None:
    script.body, script.etag = OTHER, '"two"'


def _other_of_the_same_name(script: Script) -> None:
    script.body, script.ranges = OTHER, False


def _shorter(script: Script) -> None:
    script.body = PACKED[:40_000]


def _wrong_range(script: Script) -> None:
    script.wrong_range = True


@pytest.mark.parametrize("change", [_other, _other_of_the_same_name, _shorter, _wrong_range])
def test_another_file_is_noticed(script: Script, url: str, change: Callable[[Script], None]) -> None:
    script.cut, script.cuts, script.on_resume = 50_000, 1, change
    with pytest.raises(Changed, match=r"changed while|another part|too early") as caught:
        fetch(url)
    assert url in str(caught.value) and "\n" not in str(caught.value)


def test_an_import_begins_again_once_when_the_file_changed(script: Script, url: str, tmp_path: Path) -> None:
    script.cut, script.cuts, script.on_resume = 50_000, 1, _other
    report = import_radb([url], tmp_path / "table", now=1.0, limits=LIMITS)
    assert report.warnings == [
        f"{url}: the file changed while it was fetched: fetch it again; everything was read again"
    ]
    (tmp_path / "other.gz").write_bytes(OTHER)
    import_radb([str(tmp_path / "other.gz")], tmp_path / "expected", now=1.0)
    one, two = (WorldTable((tmp_path / name).read_bytes()) for name in ("table", "expected"))
    assert bytes(one.section("ranges4")) == bytes(two.section("ranges4")) and one.place_records == two.place_records
    assert report.objects["RADB"] == {"route": 20_000}


def test_a_server_that_never_gets_further_is_given_up(script: Script, url: str) -> None:
    script.cut, script.cuts = 0, 1000
    with pytest.raises(Unreachable, match=f"{IDLE_ATTEMPTS + 1} times, so it was given up"):
        fetch(url)
    assert len(script.asked) == IDLE_ATTEMPTS + 1


def test_a_server_of_crumbs_is_given_up(script: Script, url: str) -> None:
    script.cut, script.cuts = 10, 1000
    with pytest.raises(Unreachable, match="so it was given up"):
        fetch(url)
    assert len(script.asked) == ATTEMPTS + 1


def test_a_length_that_is_a_lie(script: Script, url: str) -> None:
    script.promised = len(PACKED) - 1000
    with pytest.raises(InputError, match="cut short"):
        fetch(url)
    script.promised = len(PACKED) + 1000
    with pytest.raises((Unreachable, Changed), match=r"too early|changed|shorter"):
        fetch(url)


def test_a_server_that_fails_while_we_resume(script: Script, url: str) -> None:
    def gone(script: Script) -> None:
        script.body, script.status, script.ranges = b"", 404, False

    def ill(script: Script) -> None:
        script.status, script.ranges = (503, False) if script.status == 200 else (200, True)

    script.cut, script.cuts, script.on_resume = 50_000, 1, ill
    assert fetch(url) == PLAIN
    script.cuts, script.on_resume = 1, gone
    with pytest.raises(Missing, match="404"):
        fetch(url)


def test_a_bomb_and_an_endless_body_are_given_up(script: Script, url: str) -> None:
    script.body = gzip.compress(bytes(128 << 20))
    with pytest.raises(LimitError, match=r"unpacks to more than 64\.0 MiB"):
        fetch(url)
    script.body = bytes(17 << 20)
    with pytest.raises(LimitError, match=r"larger than 16\.0 MiB"):
        fetch(url)


# --- nothing new ---


def table(path: Path) -> bytes:
    return path.read_bytes()


def test_a_nightly_import_that_finds_nothing_new_leaves_the_table(script: Script, url: str, tmp_path: Path) -> None:
    out = tmp_path / "table"
    (tmp_path / "delegated").write_text("apnic|AU|ipv4|8.0.0.0|768|20110414|allocated\n")

    def run(now: float, **options: object) -> bool:
        return import_radb(
            [url],
            out,
            delegated=[str(tmp_path / "delegated")],
            now=now,
            limits=LIMITS,
            **options,  # type: ignore[arg-type]
        ).nothing_new

    assert not run(1.0)
    before, asked = out.stat(), len(script.asked)
    assert run(2.0)
    assert out.stat() == before and WorldTable(table(out)).created == 1.0
    assert script.asked[asked:][0][0] == "HEAD" and len(script.asked) == asked + 1
    assert script.asked[-1][1]["if-none-match"] == '"one"'
    assert not run(3.0, force=True) and WorldTable(table(out)).created == 3.0
    assert not run(4.0, bogons=True)  # made otherwise, so it is another table
    assert not run(5.0)
    (tmp_path / "delegated").write_text("apnic|AU|ipv4|8.0.0.0|1024|20110414|allocated\n")
    assert not run(6.0)  # a file of ours changed
    _other(script)
    assert not run(7.0) and run(8.0)
    out.write_bytes(table(out)[:-1] + b"?")
    assert not run(9.0)  # a damaged table remembers nothing


@pytest.mark.parametrize("tagged", [True, False])
def test_a_server_that_ignores_conditions_tells_by_its_headers(
    script: Script, url: str, tmp_path: Path, tagged: bool
) -> None:
    script.etag = "" if not tagged else 'W/"weak"'
    import_radb([url], tmp_path / "table", now=1.0, limits=LIMITS)
    assert import_radb([url], tmp_path / "table", now=2.0, limits=LIMITS).nothing_new
    script.modified, script.etag = "Tue, 24 Nov 2026 08:00:00 GMT", 'W/"new"' if tagged else ""
    assert not import_radb([url], tmp_path / "table", now=3.0, limits=LIMITS).nothing_new


def test_who_says_nothing_of_his_file_is_fetched_each_time(script: Script, url: str, tmp_path: Path) -> None:
    script.etag = script.modified = ""
    for now in (1.0, 2.0):
        assert not import_radb([url], tmp_path / "table", now=now, limits=LIMITS).nothing_new
    script.etag, script.head_works = '"one"', False
    for now in (3.0, 4.0):
        assert not import_radb([url], tmp_path / "table", now=now, limits=LIMITS).nothing_new


def test_no_password_and_no_memory_where_there_is_none(script: Script, url: str, tmp_path: Path) -> None:
    out = tmp_path / "table"
    import_radb([url.replace("//", "//me:secret@")], out, now=1.0, limits=LIMITS)
    section = bytes(WorldTable(table(out)).section("inputs"))
    assert b"secret" not in section and b"one" in section
    (tmp_path / "radb.db").write_bytes(PLAIN)
    import_radb([str(tmp_path / "radb.db")], out, now=1.0)
    assert not len(WorldTable(table(out)).section("inputs"))


# --- real servers ---


def test_nginx_resumes_and_says_that_nothing_is_new(
    tmp_path: Path, need: Callable[..., None], free_port: Callable[[], int]
) -> None:
    need("nginx")
    root, port = tmp_path / "www", free_port()
    root.mkdir()
    (root / "radb.db.gz").write_bytes(PACKED)
    (tmp_path / "nginx.conf").write_text(
        f"user root; daemon off; pid {tmp_path}/pid; error_log {tmp_path}/error.log;\nevents {{}}\n"
        f"http {{ access_log {tmp_path}/access.log; client_body_temp_path {tmp_path}/b; proxy_temp_path {tmp_path}/p;"
        f" fastcgi_temp_path {tmp_path}/f; uwsgi_temp_path {tmp_path}/u; scgi_temp_path {tmp_path}/s;\n"
        f" server {{ listen 127.0.0.1:{port}; root {root}; }} }}\n"
    )
    server = subprocess.Popen(["nginx", "-c", str(tmp_path / "nginx.conf"), "-p", str(tmp_path)])
    url = f"http://127.0.0.1:{port}/radb.db.gz"
    try:

        def answers() -> bool:
            with contextlib.suppress(MirrornetError):
                return fetch(url) == PLAIN
            return False

        until(answers, lambda: "nginx does not serve")
        from mirrornet.radb.fetching.http import HttpFile  # the parts, since nginx does not break off by itself

        file = HttpFile(url, url, LIMITS)
        whole = file.open()
        head = next(whole.portions)[:1000]
        with contextlib.closing(file):
            rest = file.reopen(len(head))
            assert rest.start == 1000 and head + b"".join(rest.portions) == PACKED
        out = tmp_path / "table"
        assert not import_radb([url], out, now=1.0, limits=LIMITS).nothing_new
        assert import_radb([url], out, now=2.0, limits=LIMITS).nothing_new
        (root / "radb.db.gz").write_bytes(OTHER + bytes(512))
        assert not import_radb([url], out, now=3.0, limits=LIMITS).nothing_new
        assert WorldTable(table(out)).created == 3.0
    finally:
        server.terminate()
        server.wait(10)


# --- the loop alone ---


def test_pauses_grow_and_the_deadline_holds() -> None:
    waited: list[float] = []

    def broken() -> Iterator[bytes]:
        raise Broken("it broke")
        yield b""

    def reopen(start: int) -> Body:
        return Body(0, broken())

    limits = Limits(pause=1.0)
    with pytest.raises(Unreachable, match="it broke, 4 times"):
        list(resumed(Body(0, broken()), reopen, "x", limits, float("inf"), waited.append))
    assert waited == [1.0, 2.0, 4.0]
    with pytest.raises(Unreachable, match="not finished after"):
        list(resumed(Body(0, broken()), reopen, "x", limits, 0.0, waited.append))
    assert len(waited) == 3
