"""The stage of the demo: processes that are stopped whatever happens, mirrors, ports, and checks that are counted.

A mirror is a real HTTP server on its own loopback address: nginx where it is installed, else the small aiohttp one in
static_server.py.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
TREE = HERE.parent.parent
MIRRORNET = str(Path(sys.executable).parent / "mirrornet")

NGINX = """
daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log; worker_processes 1; {user}
events {{ worker_connections 256; }}
http {{
  access_log {folder}/access.log; client_body_temp_path {folder}/tmp; proxy_temp_path {folder}/tmp;
  fastcgi_temp_path {folder}/tmp; uwsgi_temp_path {folder}/tmp; scgi_temp_path {folder}/tmp;
  sendfile on; tcp_nopush on; keepalive_timeout 60;
  server {{ listen {address}:{port}; root {root}; default_type application/octet-stream; }}
}}
"""


class Failed(Exception):
    """The demo cannot go on; the text says why."""


@dataclass
class Stage:
    """`work` holds all files; `checks` counts what was shown; `stop` ends every process that was started."""

    work: Path
    server_kind: str
    checks: list[tuple[str, str]] = field(default_factory=list)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    undo: list[Callable[[], None]] = field(default_factory=list)

    def step(self, title: str) -> None:
        print(f"\n── {title}", flush=True)

    def check(self, what: str, truth: object, shown: str = "") -> None:
        """Counts a check; raises Failed where it does not hold."""
        if not truth:
            raise Failed(f"{what}: {shown or 'no'}")
        self.checks.append((what, shown))
        print(f"   ✓ {what}{': ' + shown if shown else ''}", flush=True)

    def run(self, *command: str, timeout: float = 300) -> str:
        """Runs a command to its end and returns what it printed.  Raises Failed with its last line of stderr."""
        print(f"   $ {' '.join(_short(word) for word in command)}", flush=True)
        done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
        if done.returncode:
            raise Failed(
                f"{_short(command[0])} ended with {done.returncode}: {(done.stderr or done.stdout).strip()[-600:]}"
            )
        return done.stdout

    def start(self, *command: str, log: str) -> subprocess.Popen[bytes]:
        """Starts a process that `stop` will end.  Its output goes to `log` in the work folder."""
        with (self.work / log).open("ab") as out:
            process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def end(self, process: subprocess.Popen[bytes], sig: int = signal.SIGTERM) -> None:
        process.send_signal(sig)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(30)
        if process in self.processes:
            self.processes.remove(process)

    def stop(self) -> None:
        """Undoes mounts and ends processes, the last one first."""
        for action in reversed(self.undo):
            with contextlib.suppress(Exception):
                action()
        self.undo.clear()
        for process in reversed(self.processes[:]):
            self.end(process)


def _short(word: str) -> str:
    return Path(word).name if word.startswith("/") and " " not in word and len(word) > 24 else word


@dataclass
class HttpMirror:
    """One mirror's server; `kill` is sudden (SIGKILL to all its processes), `start` may follow."""

    stage: Stage
    name: str
    address: str
    port: int
    root: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        if self.stage.server_kind == "nginx":
            folder = self.stage.work / f"nginx-{self.name}"
            (folder / "tmp").mkdir(parents=True, exist_ok=True)
            user = "user root;" if os.geteuid() == 0 else ""
            text = NGINX.format(folder=folder, address=self.address, port=self.port, root=self.root, user=user)
            (folder / "nginx.conf").write_text(text)
            program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin") or "nginx"
            command = [program, "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]
        else:
            command = [sys.executable, str(HERE / "static_server.py"), str(self.root), self.address, str(self.port)]
        self.process = self.stage.start(*command, log=f"{self.name}.log")
        wait_for(lambda: _answers(self.address, self.port), 60, f"{self.name} to listen on {self.address}:{self.port}")

    def kill(self) -> None:
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in [self.process.pid, *map(int, children)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.stage.end(self.process, signal.SIGKILL)
        wait_for(lambda: not _answers(self.address, self.port), 30, f"{self.name} to be dead")


def _answers(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0


def free(address: str, port: int, datagram: bool = False) -> bool:
    """Whether `port` can be bound on `address` just now."""
    with socket.socket(type=socket.SOCK_DGRAM if datagram else socket.SOCK_STREAM) as probe:
        if not datagram:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError:
            return False
    return True


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> float:
    """Polls until `condition` holds and returns the seconds that took; raises Failed after `seconds`."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > seconds:
            raise Failed(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.1)
    return time.monotonic() - begin
