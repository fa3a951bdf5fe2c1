"""Mirrors at a lab's sites: nginx in the four kinds in which cheap hosting comes, and all that can go wrong with one.

address         the repository at "/", whatever the Host: a server of one's own
virtual host    only under its own name, on a port and below a path; everything else is 404: shared hosting
https           a virtual host with a certificate of the lab's own authority
bucket          below a path, 403 for what it lacks, no listings: an object store

Each mirror has a copy of the repository of its own, so that one can be spoilt, or stay as it was while others move on,
and a record of every request.  Requests are written by nginx one JSON object a line, and read anew each time they are
asked for.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from mirrornet.lab.authority import Authority
from mirrornet.lab.disks import Disk
from mirrornet.lab.network import Network
from mirrornet.model.errors import LocalError

START_SECONDS: Final = 20.0
_PROGRAM: Final = "nginx"


class Kind(StrEnum):
    """How a mirror is reached."""

    ADDRESS = "address"
    VIRTUAL_HOST = "virtual host"
    HTTPS = "https"
    BUCKET = "bucket"


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request that a mirror answered.  `at`: Unix time of its end; `seconds` it took; `sent` body bytes."""

    at: float
    source: str
    host: str
    method: str
    path: str
    status: int
    sent: int
    seconds: float
    range: str
    agent: str


_LOG = (
    '{"at":$msec,"source":"$remote_addr","host":"$http_host","method":"$request_method","path":"$request_uri",'
    '"status":$status,"sent":$body_bytes_sent,"seconds":$request_time,"range":"$http_range",'
    '"agent":"$http_user_agent"}'
)
_CONFIG = """
user root;
daemon off;
worker_processes 1;
pid nginx.pid;
error_log error.log;
events {{ worker_connections 1024; }}
http {{
  log_format lab escape=json '{log}';
  access_log requests.json lab;
  client_body_temp_path tmp; proxy_temp_path tmp; fastcgi_temp_path tmp; uwsgi_temp_path tmp; scgi_temp_path tmp;
  sendfile on; tcp_nopush on; keepalive_timeout 30; keepalive_requests 100000;
  types {{ }} default_type application/octet-stream;
  {servers}
}}
"""
_OWN = 'server {{ {listen} server_name {host}; location "{path}" {{ alias {folder}/; {lacking} }} {more} }}\n'
_REST = "server {{ {listen} {keys} return 404; }}"


class MirrorServer:
    """A mirror of `repository` at `site`, not yet started.

    `url` is where it serves.  Its own copy is in `folder`; `authority` signs its certificate where it is HTTPS.
    `disk`: its copy is on a disk of that many bytes, which can be filled; 0: on this machine's.  `url`: where it is to
    serve, whatever its kind is; only how it answers for what it lacks is left to that.  `linked`: its copy are links to
    the repository's files, for many mirrors that only read.
    """

    def __init__(
        self,
        network: Network,
        site: str,
        repository: Path,
        kind: Kind = Kind.ADDRESS,
        authority: Authority | None = None,
        *,
        disk: int = 0,
        url: str = "",
        linked: bool = False,
    ) -> None:
        self.network, self.site, self.kind = network, site, kind
        self.addresses = network.addresses[site]
        self.home = network.folder / f"mirror-{site}"
        self.folder = self.home / "disk" / "copy"
        self._held: Path | None = None
        self._holds = False
        (self.home / "disk").mkdir(parents=True)
        (self.home / "tmp").mkdir()
        self.disk = Disk(network, self.home / "disk", disk) if disk else None
        self._copy_file = os.link if linked else shutil.copy2
        shutil.copytree(repository, self.folder, copy_function=self._copy_file)
        self.url = url or self._usual_url()
        parts = urlsplit(self.url)
        self.host, self.path = parts.hostname or "", unquote(parts.path).rstrip("/") + "/"
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        self._process: subprocess.Popen[bytes] | None = None
        keys = ""
        if parts.scheme == "https":
            if authority is None:
                raise LocalError("lab: a mirror by HTTPS needs an authority")
            certificate, key = authority.issue(self.host, self.home)
            keys = f"ssl_certificate {certificate}; ssl_certificate_key {key};"
        (self.home / "nginx.conf").write_text(self._config(keys))

    def _usual_url(self) -> str:
        host = f"{self.site}.mirrors.example"
        return {
            Kind.ADDRESS: f"http://{self.addresses[0]}/",
            Kind.VIRTUAL_HOST: f"http://{host}:8080/pub/os/",
            Kind.HTTPS: f"https://{host}/",
            Kind.BUCKET: f"http://{host}/images/",
        }[self.kind]

    def _config(self, keys: str) -> str:
        secure = " ssl" if keys else ""

        def listen(default: bool) -> str:
            ends = [f"[{one}]" if ":" in one else one for one in self.addresses]
            return " ".join(f"listen {end}:{self.port}{secure}{' default_server' if default else ''};" for end in ends)

        bucket = self.kind is Kind.BUCKET
        anybody = self.host in self.addresses
        own = {
            "host": "_" if anybody else self.host,
            "folder": self.folder,
            "path": self.path.replace("\\", "\\\\").replace('"', '\\"'),
            "lacking": "error_page 404 = @lacking;" if bucket else "",
            "more": "location @lacking { return 403; }" if bucket else "",
        }
        if anybody:
            servers = _OWN.format(listen=f"{listen(True)} {keys}", **own)
        else:
            servers = _OWN.format(listen=f"{listen(False)} {keys}", **own)
            servers += _REST.format(listen=listen(True), keys=keys)
        return _CONFIG.format(log=_LOG, servers=servers)

    def start(self) -> None:
        """Starts it and waits until it answers.  Raises LocalError with what nginx said."""
        command = [_PROGRAM, "-p", str(self.home), "-c", "nginx.conf", "-e", "error.log"]
        with (self.home / "output").open("ab") as out:
            process = self.network.start(self.site, command, stdout=out, stderr=out, start_new_session=True)
        self._process = process
        pid = self.home / "nginx.pid"
        wait_for(lambda: (pid.exists() and pid.read_text().strip()) or process.poll() is not None)
        if process.poll() is not None or not pid.exists():
            said = (self.home / "output").read_text() + (self.home / "error.log").read_text()
            raise LocalError(f"lab: {self.site}: nginx does not start: {said.strip().splitlines()[-1]}")

    def stop(self, number: int = signal.SIGKILL) -> None:
        """Ends it as a power cut would; nothing is said to whoever is reading."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            self._process.wait()
            self._process = None
            (self.home / "nginx.pid").unlink(missing_ok=True)

    def freeze(self) -> None:
        """It accepts connections and says nothing more (SIGSTOP), until thaw()."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on where it stood."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: int) -> None:
        if self._process is None:
            raise LocalError(f"lab: the mirror at {self.site} is not running")
        os.killpg(self._process.pid, number)

    def cut(self, cut: bool = True) -> None:
        """Nothing reaches it any more, and nothing comes back."""
        self.network.site(self.site, cut=cut)

    def slow(self, kilobytes: float) -> None:
        """Every path to it carries this many kilobytes a second, each way."""
        self.network.site(self.site, rate=kilobytes * 8 / 1000)

    def lose(self, percent: float) -> None:
        """Every path to it loses this share of its packets, each way."""
        self.network.site(self.site, loss=percent)

    def corrupt(self, dice: random.Random, share: float = 1.0) -> list[str]:
        """Changes one byte in this share of its blocks on disk, and returns their paths in the repository."""
        blocks = sorted(path for path in (self.folder / "blocks").rglob("*") if path.is_file())
        chosen = dice.sample(blocks, max(1, round(share * len(blocks))))
        for path in chosen:
            data = bytearray(path.read_bytes())
            data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
            self._replace(path, bytes(data))
        return [str(path.relative_to(self.folder)) for path in chosen]

    def take(self, repository: Path) -> None:
        """From now on it serves a copy of this repository: an old one, a half-copied one, another one.

        While it is held, the copy waits.  Raises LocalError where its disk is full; it serves what it served, then.
        """
        if self._holds:
            self._held = repository
            return
        fresh, before = self.home / "disk" / "fresh", self.home / "disk" / "before"
        try:
            shutil.copytree(repository, fresh, copy_function=self._copy_file)
        except OSError as error:
            shutil.rmtree(fresh, ignore_errors=True)
            why = error.args[0][0][2] if isinstance(error, shutil.Error) else error.strerror
            raise LocalError(f"lab: {self.site}: {why}") from None
        self.folder.rename(before)
        fresh.rename(self.folder)
        shutil.rmtree(before)

    def hold(self) -> None:
        """It stays as it is, while others move on: what take() brings waits for catch_up()."""
        self._holds = True

    def catch_up(self) -> None:
        """It is held no longer, and has what it was last given meanwhile."""
        self._holds, waiting, self._held = False, self._held, None
        if waiting is not None:
            self.take(waiting)

    @property
    def requests(self) -> list[Request]:
        """Every request it has answered so far, in order."""
        try:
            lines = (self.home / "requests.json").read_text("utf-8", "replace").splitlines()
        except FileNotFoundError:
            return []
        return [Request(**json.loads(line)) for line in lines]

    @staticmethod
    def _replace(path: Path, data: bytes) -> None:
        beside = path.with_name(path.name + ".new")
        beside.write_bytes(data)
        beside.rename(path)


def wait_for(holds: Callable[[], object], seconds: float = START_SECONDS, every: float = 0.01) -> bool:
    """Returns when `holds()`, asked `every` so many seconds, or after `seconds`; whether it held."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(every)
    return True
