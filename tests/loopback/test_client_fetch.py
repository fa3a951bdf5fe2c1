"""One GET by the client: TLS by the URL's name at the mirror's address, a proxy of the environment, and blame.

What is trusted and which proxy there is are read when the process starts, so each case is a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from certificates import certificate
from client_mirrors import Mirror

CODE = """
import asyncio, sys
from mirrornet.client.fetching.fetch import Fetcher
from mirrornet.client.mirrors.source import Endpoint
from mirrornet.model.errors import MirrornetError

async def main():
    fetcher = Fetcher()
    for url in sys.argv[1:]:
        try:
            print((await fetcher.fetch(Endpoint("m", url, ("127.0.0.1",), 0, True), "file", 10)).data.decode())
        except MirrornetError as error:
            print(f"{type(error).__name__}: {error}")
    await fetcher.close()

asyncio.run(main())
"""


def fetched(*urls: str, **environment: str) -> list[str]:
    """What a client with this environment gets from each URL, dialled at 127.0.0.1: the body, or the error."""
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    done = subprocess.run(
        [sys.executable, "-c", CODE, *urls],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.fixture
def mirror(tmp_path: Path) -> Iterator[tuple[Mirror, Path]]:
    (tmp_path / "file").write_bytes(b"the file")
    pem = certificate(tmp_path / "tokyo.pem", "tokyo.example")
    server = Mirror(tmp_path, pem=pem)
    yield server, pem
    server.stop()


def test_tls_is_for_the_urls_name_at_the_mirrors_address(mirror: tuple[Mirror, Path]) -> None:
    server, pem = mirror
    tokyo, paris = (f"https://{city}.example:{server.port}" for city in ("tokyo", "paris"))
    good, other = fetched(tokyo, paris, SSL_CERT_FILE=str(pem))
    assert good == "the file"
    assert other.startswith(f"Unreachable: m ({paris}): file: its TLS certificate is not good: Hostname mismatch")
    stranger, plain = fetched(tokyo, f"http://tokyo.example:{server.port}")
    assert "its TLS certificate is not good: self-signed certificate" in stranger
    assert plain.endswith("file: the connection was closed before an answer")


def test_a_proxy_of_the_environment_is_asked_by_name() -> None:
    asked: list[str] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.path} for {self.headers['Host']}")
            self.send_response(200)
            self.send_header("Content-Length", "5")
            self.end_headers()
            self.wfile.write(b"by it")

        def log_message(self, format: str, *args: object) -> None:
            return None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        proxy = f"http://127.0.0.1:{server.server_address[1]}"
        assert fetched("http://tokyo.example/os", http_proxy=proxy) == ["by it"]
        assert asked == ["http://tokyo.example/os/file for tokyo.example"]
        (direct,) = fetched("http://127.0.0.1:9", http_proxy=proxy, no_proxy="127.0.0.1")
        assert "no connection (connection refused)" in direct
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
