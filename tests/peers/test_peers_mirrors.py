"""docs/mirrors.md, carried out: each server's recipe from that page serves a repository; every answer is looked at."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import client_mirrors as world
import pytest
from waiting import until

from mirrornet.client.fetching.fetch import Fetcher
from mirrornet.client.mirrors.source import Endpoint
from mirrornet.client.repository import Repository

PAGE = Path(__file__).resolve().parents[2] / "docs" / "mirrors.md"
FOR_EVER = "public, max-age=31536000, immutable"
SOON = "public, max-age=30"
SERVERS = ("nginx", "apache", "caddy")


def recipe(server: str) -> str:
    """The configuration that the page gives for it."""
    found = re.search(rf"```{server}\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert found is not None
    return found[1]


@dataclass
class Site:
    """A running server."""

    port: int
    image: world.Published

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path, headers={"Host": "mirror.example", **headers})
            answer = connection.getresponse()
            return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        finally:
            connection.close()


def nginx(folder: Path, text: str, port: int) -> list[str]:
    text = text.replace("listen 80;", f"listen 127.0.0.1:{port};").replace("/srv/www", str(folder / "www"))
    temporary = "".join(
        f"{kind}_temp_path {folder}/t;\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "conf").write_text(
        f"daemon off; pid {folder}/pid; error_log stderr; {'user root;' if os.geteuid() == 0 else ''}\n"
        f"events {{}}\nhttp {{ access_log off; {temporary} {text} }}\n"
    )
    return ["nginx", "-p", str(folder), "-e", "stderr", "-c", str(folder / "conf")]


def apache(folder: Path, text: str, port: int) -> list[str]:
    modules = Path("/usr/lib/apache2/modules")
    loaded = "".join(
        f"LoadModule {name}_module {modules}/mod_{name}.so\n"
        for name in ("mpm_event", "authz_core", "alias", "headers", "env", "mime", "deflate", "filter")
        if (modules / f"mod_{name}.so").exists()
    )
    who = "User daemon\nGroup daemon\n" if os.geteuid() == 0 else ""
    (folder / "conf").write_text(
        f"{loaded}ServerRoot {folder}\nPidFile {folder}/pid\nErrorLog {folder}/log\nListen 127.0.0.1:{port}\n"
        f"ServerName mirror.example\n{who}DocumentRoot {folder}/www\nTypesConfig /dev/null\n"
        "<Directory />\nAllowOverride None\nRequire all denied\n</Directory>\n"
        f"SetOutputFilter DEFLATE\n{text.replace('/srv/www', str(folder / 'www'))}"
    )
    return ["apache2", "-X", "-f", str(folder / "conf")]


def caddy(folder: Path, text: str, port: int) -> list[str]:
    text = text.replace("http://mirror.example {", f"http://mirror.example:{port} {{\nbind 127.0.0.1")
    (folder / "conf").write_text("{\nadmin off\nauto_https off\n}\n" + text.replace("/srv/www", str(folder / "www")))
    return ["caddy", "run", "--adapter", "caddyfile", "--config", str(folder / "conf")]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> world.Published:
    return world.published(tmp_path_factory.mktemp("published"), packs=True)


@pytest.fixture(params=SERVERS)
def site(
    request: pytest.FixtureRequest,
    need: Callable[..., None],
    free_port: Callable[[], int],
    image: world.Published,
    tmp_path: Path,
) -> Iterator[Site]:
    make = {"nginx": nginx, "apache": apache, "caddy": caddy}[request.param]
    port = free_port()
    for folder in (tmp_path, *tmp_path.parents[:2]):  # the server may run as another user
        with contextlib.suppress(PermissionError):
            folder.chmod(0o755)
    shutil.copytree(image.repo, tmp_path / "www" / "os")
    (tmp_path / "www" / "os" / ".partial").mkdir()
    (tmp_path / "www" / "os" / ".partial" / "block").write_text("unfinished")
    command = make(tmp_path, recipe(request.param), port)
    need(command[0])
    environment = {**os.environ, "PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin", "HOME": str(tmp_path)}
    with (tmp_path / "output").open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environment)
    told = (tmp_path / "output").read_text

    def up() -> bool:
        assert process.poll() is None, told()
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    try:
        until(up, told, patience=30)
        yield Site(port, image)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def test_every_answer(site: Site) -> None:
    repo = site.image.repo
    everything = [path.relative_to(repo).as_posix() for path in repo.rglob("*") if path.is_file()]
    assert len(everything) > 6
    for name in everything:
        status, headers, body = site.get(f"/os/{name}", **{"Accept-Encoding": "gzip, br"})
        assert (status, body) == (200, (repo / name).read_bytes()), name
        assert headers["cache-control"] == (SOON if name == "metadata/timestamp.json" else FOR_EVER), name
        assert "content-encoding" not in headers
        assert headers["content-length"] == str(len(body))
        if name != "metadata/timestamp.json":
            assert headers["content-type"] == "application/octet-stream", name


def test_what_is_not_there(site: Site) -> None:
    for path in (
        "/os/blocks/ab/" + "ab" * 32, "/os/metadata/2.root.json", "/os/.partial/block", "/os/blocks/", "/os/metadata",
        "/os/../conf", "/os/%2e%2e/conf",
    ):  # fmt: skip
        status, headers, body = site.get(path)
        assert status in (301, 308, 400, 403, 404), (path, status)
        assert "immutable" not in headers.get("cache-control", "") or status in (301, 308), path
        assert b"unfinished" not in body and b"mirror.example:" not in body


def test_ranges(site: Site) -> None:
    largest = max((site.image.repo / "blocks").rglob("*"), key=lambda path: path.stat().st_size)
    name = largest.relative_to(site.image.repo).as_posix()
    status, headers, body = site.get(f"/os/{name}", Range="bytes=1000-1999")
    assert status == 206 and body == largest.read_bytes()[1000:2000]
    assert headers["cache-control"] == FOR_EVER


async def test_a_client_believes_it(site: Site, tmp_path: Path) -> None:
    fetcher = Fetcher()
    try:
        endpoints = [Endpoint("mirror", f"http://mirror.example:{site.port}/os", ("127.0.0.1",), allow_local=True)]
        repository = Repository(tmp_path / "state", site.image.pin, fetcher)
        trusted = await repository.open(endpoints, "disk", None, now=time.time(), require_fresh=True)
        assert trusted.image.size == len(site.image.content)
    finally:
        await fetcher.close()
