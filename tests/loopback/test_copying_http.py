"""`mirrornet sync` and what it says, over real HTTP, with mirrors that misbehave."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from client_mirrors import NameServer, Published, mirrors, published
from copies import same


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Published:
    return published(tmp_path_factory.mktemp("published"))


def mirrornet(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from mirrornet.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def sync(source: str, tmp_path: Path, one: Published, *more: object) -> subprocess.CompletedProcess[str]:
    return mirrornet("sync", source, tmp_path / "copy", "--root", one.pin, "--state", tmp_path / "state", *more)


def test_sync_and_sync_again(one: Published, tmp_path: Path) -> None:
    with mirrors(one.repo, 1) as (mirror,):
        first = sync(mirror.url, tmp_path, one)
        assert first.returncode == 0, first.stderr
        assert "now at snapshot 1, timestamp 1" in first.stdout and same(tmp_path / "copy", one.repo)
        assert len(set(mirror.blocks_asked)) == len(mirror.blocks_asked)
        mirror.asked.clear()
        second = json.loads(sync(mirror.url, tmp_path, one, "--json").stdout)
        assert second["files"] == 0 and not second["new"] and not mirror.blocks_asked
        quiet = sync(mirror.url, tmp_path, one, "--quiet")
        assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")


def test_one_mirror_lies_one_dies_and_the_third_is_good(one: Published, tmp_path: Path) -> None:
    with mirrors(one.repo, 3) as (liar, dying, good):
        liar.behave, dying.behave = "lie", "die"
        done = sync(f"{liar.url},{dying.url},{good.url}", tmp_path, one)
        assert done.returncode == 0, done.stderr
        assert same(tmp_path / "copy", one.repo) and "corrupt or swapped" in done.stderr


def test_a_file_that_nobody_has_is_named(one: Published, tmp_path: Path) -> None:
    with mirrors(one.repo, 2) as (first, second):
        first.behave = second.behave = "missing"
        done = sync(f"{first.url},{second.url}", tmp_path, one)
        assert done.returncode == 1 and not (tmp_path / "copy" / "metadata" / "timestamp.json").exists()
        assert "blocks/" in done.stderr and "404" in done.stderr and "Traceback" not in done.stderr


def test_by_a_select_name(one: Published, tmp_path: Path) -> None:
    server = NameServer()
    try:
        with mirrors(one.repo, 1) as (mirror,):
            server.records[("_http._tcp.select.example.", "URI")] = [f'10 1 "{mirror.url}/#tokyo"']
            host, port = server.address
            done = sync("select.example", tmp_path, one, "--resolver", f"{host}:{port}")
            assert done.returncode == 0, done.stderr
            assert same(tmp_path / "copy", one.repo)
    finally:
        server.stop()


class Busy:
    """A server that says 503 with Retry-After to every other request for a block, and remembers who asked."""

    def __init__(self, folder: Path) -> None:
        self.agents: set[str] = set()
        self.connections: set[int] = set()
        self.requests = self.refused = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.requests += 1
                outer.agents.add(self.headers["User-Agent"])
                outer.connections.add(self.client_address[1])
                path = folder / self.path.lstrip("/")
                if self.path.startswith("/blocks/") and outer.refused < 2 and outer.requests % 2:
                    outer.refused += 1
                    self.send_response(503)
                    self.send_header("Retry-After", "1")
                    body = b""
                elif path.is_file():
                    self.send_response(200)
                    body = path.read_bytes()
                else:
                    self.send_response(403)
                    body = b"no"
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                return None

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()


@pytest.fixture
def busy(one: Published) -> Iterator[Busy]:
    server = Busy(one.repo)
    yield server
    server.server.shutdown()
    server.server.server_close()


def test_a_busy_mirror_is_waited_for_politely(busy: Busy, one: Published, tmp_path: Path) -> None:
    done = sync(busy.url, tmp_path, one, "--jobs", 2)
    assert done.returncode == 0, done.stderr
    assert same(tmp_path / "copy", one.repo) and busy.refused == 2
    assert all(agent.startswith("mirrornet/") for agent in busy.agents)
    assert len(busy.connections) < busy.requests / 2  # kept alive


def test_what_is_wrong_on_the_command_line_is_told(one: Published, tmp_path: Path) -> None:
    for more in (("--limit-rate", "fast"), ("--limit-rate", "3"), ("--jobs", "0"), ("--grace", "soon")):
        done = sync(one.repo.as_uri(), tmp_path, one, *more)
        assert done.returncode == 2 and len(done.stderr.splitlines()) == 1, done.stderr
    assert mirrornet("sync", one.repo.as_uri(), one.repo, "--root", one.pin).returncode == 2
    done = mirrornet("sync", "htp://x/y", tmp_path / "copy", "--root", one.pin)
    assert done.returncode == 2 and "http://" in done.stderr
