"""docs/status.md, carried out: nginx in front of the status page, with its recipe from that page."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
from lively import SNAPSHOT, ZONE_NAME

from mirrornet.web.queries import Seen
from mirrornet.web.server import Window

PAGE = Path(__file__).resolve().parents[2] / "docs" / "status.md"
PASSWORDS = "ops:{PLAIN}open\n"
OPS = {"Authorization": "Basic " + b64encode(b"ops:open").decode()}


class Feed:
    """One query for each who listens."""

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[asyncio.Queue[tuple[Seen, ...]]]:
        queue: asyncio.Queue[tuple[Seen, ...]] = asyncio.Queue()
        queue.put_nowait((Seen(1.0, "udp", "192.0.2.0/24", False, ZONE_NAME, "A", "NOERROR"),))
        yield queue


def configuration(folder: Path, port: int, upstream: int) -> str:
    """nginx's, with the page's `location` in it."""
    found = re.search(r"```nginx\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    location = found[1].replace("127.0.0.1:8053", f"127.0.0.1:{upstream}")
    location = location.replace("/etc/nginx/mirrors.passwd", str(folder / "passwd"))
    temporary = "".join(
        f"{kind}_temp_path {folder}/t;\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return (
        f"daemon off; pid {folder}/pid; error_log stderr; {'user root;' if os.geteuid() == 0 else ''}\n"
        f"events {{}}\nhttp {{ access_log off; {temporary} gzip on;\n"
        f"server {{ listen 127.0.0.1:{port}; {location} }} }}\n"
    )


async def test_nginx_passes_the_page_and_its_events_on(
    tmp_path: Path, need: Callable[..., None], free_port: Callable[[], int]
) -> None:
    need("nginx")
    window = Window(lambda: SNAPSHOT, feed=Feed())
    await window.start("127.0.0.1", 0)
    port = free_port()
    (tmp_path / "passwd").write_text(PASSWORDS)
    (tmp_path / "conf").write_text(configuration(tmp_path, port, window.port))
    environment = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}
    command = ("nginx", "-p", str(tmp_path), "-e", "stderr", "-c", str(tmp_path / "conf"))
    nginx = await asyncio.create_subprocess_exec(*command, env=environment)
    url = f"http://127.0.0.1:{port}/mirrors/"
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as session:
            async with asyncio.timeout(20):
                while True:
                    try:
                        async with session.get(url) as answer:
                            assert answer.status == 401  # nobody without a password
                        break
                    except aiohttp.ClientConnectionError:
                        await asyncio.sleep(0.02)
            async with session.get(url, headers=OPS) as answer:
                page = await answer.text()
                assert answer.status == 200 and "default-src 'none'" in answer.headers["Content-Security-Policy"]
            for name in re.findall(r'(?:href|src|action)="([\w./]+)"', page):
                async with session.get(url + name, headers=OPS) as answer:  # relative, so it is below /mirrors/, too
                    assert answer.status == (404 if name == "explain" else 200), name
            async with session.get(url + "events", headers=OPS) as answer:  # at once, not when a buffer is full
                async for line in answer.content:
                    if line.startswith(b"data: ["):
                        assert b"192.0.2.0/24" in line
                        break
    finally:
        nginx.terminate()
        await nginx.wait()
        await window.stop()


def test_the_figures_of_the_page_are_those_of_the_program() -> None:
    """Limits that docs/status.md names."""
    from mirrornet.web.server import LIMITS, RATE
    from mirrornet.web.window.page import _REFRESH
    from mirrornet.web.window.views import _QUIET, EXPLAINED, STREAMS_EACH

    text = PAGE.read_text(encoding="utf-8")
    for said in (
        f"its {RATE:.0f} requests a second and {EXPLAINED:.0f} explanations a second",
        f"At most {LIMITS.held} readers get events at once, {STREAMS_EACH} from one address",
        f"every {_REFRESH} seconds",
        f"something every {_QUIET:.0f} seconds",
    ):
        assert said in text, said
