"""A Redis of a test's own on loopback: Debian's redis-server, nothing on the disk, ended with the test."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from waiting import until


class Board:
    """`url` stays the same while it is stopped and started; start() returns when it answers."""

    def __init__(self, folder: Path, port: int, address: str = "127.0.0.1") -> None:
        self.folder, self.port, self.address = folder, port, address
        self.url = f"redis://{address}:{port}/0"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *more: str) -> None:
        """`more`: further options of redis-server."""
        command = ["redis-server", "--bind", self.address, "--port", str(self.port), "--save", "", "--appendonly", "no"]
        command += more
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log)
        until(lambda: self.ask("PING") == "PONG", lambda: (self.folder / "redis.log").read_text()[-500:])

    def ask(self, *words: str) -> str:
        """What redis-cli prints."""
        command = ["redis-cli", "-h", self.address, "-p", str(self.port), *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.strip()

    def put(self, key: str, value: bytes) -> None:
        command = ["redis-cli", "-h", self.address, "-p", str(self.port), "-x", "SET", key]
        subprocess.run(command, input=value, capture_output=True, timeout=60, check=True)

    def freeze(self) -> None:
        """It takes connections and never answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
