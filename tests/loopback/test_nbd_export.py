"""`mirrornet nbd` over real sockets: read by QEMU's and libnbd's own tools, by many at once, and by hostile ones."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import client_mirrors as world
import nbd_client as c
import pytest
from waiting import until

from mirrornet.app.client.mounts import statuses, umount
from mirrornet.app.client.telling import text
from mirrornet.model.errors import InputError, LocalError, MirrornetError

UNIT = 262144


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> world.Published:
    return world.published(tmp_path_factory.mktemp("published"), blocks=40)


class Machine:
    """Runs `mirrornet nbd` as its user would."""

    def __init__(self, folder: Path, image: world.Published, servers: list[world.Mirror]) -> None:
        self.folder, self.image, self.servers = folder, image, servers
        self.path = folder / "n.sock"
        self.log = folder / "log"
        self.place = self.path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from mirrornet.cli import main; main()", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)

    def nbd(self, *words: str) -> subprocess.CompletedProcess[str]:
        where = [] if "--listen" in words or "--socket" in words else ["--socket", str(self.path)]
        return self.run(
            "nbd", ",".join(server.url for server in self.servers), "disk", "--root", self.image.pin,
            "--state", str(self.folder / "state"), "--cache", str(self.folder / "cache"), "--log", str(self.log),
            "--read-deadline", "60s", *where, *words,
        )  # fmt: skip

    def export(self, *words: str) -> str:
        done = self.nbd(*words)
        assert done.returncode == 0, done.stderr
        uri = done.stdout.strip()
        if uri.startswith("nbd://"):
            self.place = Path("nbd://" + uri.removeprefix("nbd://").partition("/")[0])
        return uri

    def status(self) -> dict[str, Any]:
        return statuses(self.place)[0]

    def end(self) -> None:
        with contextlib.suppress(InputError):
            umount(self.place, force=True)
        assert not self.log.exists() or "Traceback" not in self.log.read_text()


@pytest.fixture
def machine(image: world.Published, tmp_path: Path) -> Iterator[Machine]:
    with world.mirrors(image.repo, 3, first=110) as servers:
        made = Machine(tmp_path, image, servers)
        yield made
        made.end()


def _tool(*words: object) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_qemu_and_libnbd_read_the_image(need: Callable[..., None], machine: Machine) -> None:
    need("qemu-img", "qemu-io", "nbdinfo", "nbdcopy")
    uri = machine.export()
    told = json.loads(_tool("nbdinfo", "--json", "--no-content", uri))
    export = told["exports"][0]
    assert told["protocol"] == "newstyle-fixed" and told["structured"] is True
    assert export["export-size"] == len(machine.image.content) and export["description"] == "disk version 1"
    assert export["is_read_only"] and export["can_multi_conn"] and export["can_df"] and export["can_cache"]
    assert export["block_size_preferred"] == UNIT and export["block_size_maximum"] == 32 << 20
    assert "disk" in _tool("nbdinfo", "--list", uri)
    rows = json.loads(_tool("nbdinfo", "--map", "--json", uri))
    assert [row["type"] for row in rows] == [0, 3, 0] and rows[1]["length"] == 4 * UNIT
    assert rows[1]["offset"] == machine.image.content.index(bytes(4 * UNIT))
    copied = machine.folder / "copied"
    _tool("nbdcopy", uri, copied)
    assert copied.read_bytes() == machine.image.content
    assert "identical" in _tool("qemu-img", "compare", "-f", "raw", "-F", "raw", uri, machine.image.image)
    converted = machine.folder / "converted"
    _tool("qemu-img", "convert", "-n" if converted.exists() else "-q", "-f", "raw", "-O", "raw", uri, converted)
    assert converted.read_bytes()[: len(machine.image.content)] == machine.image.content
    _tool("qemu-io", "-r", "-f", "raw", "-c", f"read -P 0x{machine.image.content[0]:x} 0 1", uri)
    assert "verification failed" in subprocess.run(
        ["qemu-io", "-r", "-f", "raw", "-c", f"read -P 0x{machine.image.content[0] ^ 1:x} 0 1", uri],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip


def test_status_and_umount_know_it_and_the_socket_is_the_users_alone(machine: Machine) -> None:
    machine.export()
    assert stat.S_IMODE(machine.path.stat().st_mode) == 0o600
    status = machine.status()
    assert status["image"] == "disk" and status["open_handles"] == 0 and status["nbd"].endswith(f"={machine.path}")
    assert text(status, time.time()).startswith(f"{machine.path}: disk version 1 from ")
    assert "% of the image is here" in text(status, time.time())
    with c.Client(machine.path) as client:
        client.connect(b"disk")
        assert machine.status()["open_handles"] == 1
        with pytest.raises(LocalError, match="is held by 1 NBD client: end that first, or use --force"):
            umount(machine.path, force=False)
        assert client.read(5, 100) == machine.image.content[5:105]
        done = machine.nbd()
        assert done.returncode == 1 and f"{machine.path} has an export already: mirrornet umount" in done.stderr
        done = machine.run("umount", str(machine.path), "--force")
        assert done.returncode == 0 and client.gone()
    assert not machine.path.exists()
    with pytest.raises(InputError):
        umount(machine.path, force=False)


def test_a_dead_processs_socket_is_replaced_and_a_file_is_not(machine: Machine) -> None:
    machine.export()
    os.kill(machine.status()["pid"], signal.SIGKILL)
    assert machine.path.exists()
    until(lambda: not machine.path.is_socket() or _refuses(machine.path))
    machine.export()
    with c.Client(machine.path) as client:
        assert client.connect().read(0, 10) == machine.image.content[:10]
    machine.end()
    machine.path.write_text("precious")
    done = machine.nbd()
    assert done.returncode == 2 and "no socket" in done.stderr and machine.path.read_text() == "precious"
    machine.path.unlink()


def _refuses(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) != 0


def test_sigterm_waits_for_who_is_connected_and_lets_nobody_in(machine: Machine) -> None:
    machine.export()
    pid = machine.status()["pid"]
    with c.Client(machine.path) as client:
        client.connect()
        os.kill(pid, signal.SIGTERM)
        until(lambda: machine.status()["leaving"])
        with c.Client(machine.path) as late:
            assert late.gone()
        assert client.read(UNIT, 10) == machine.image.content[UNIT : UNIT + 10]
    until(lambda: not machine.path.exists())


def test_tcp_is_told_to_be_open_and_serves_both_families(machine: Machine, free_port: Callable[[], int]) -> None:
    for host in ("127.0.0.1", "[::1]", "0.0.0.0"):
        port = free_port()
        done = machine.nbd("--listen", f"{host}:{port}")
        assert done.returncode == 0, done.stderr
        assert ("neither encrypted" in done.stderr) == (host == "0.0.0.0")
        assert done.stdout == f"nbd://{host}:{port}/disk\n"
        with c.Client((host.strip("[]"), port)) as client:
            assert client.connect(b"disk").read(UNIT - 5, 10) == machine.image.content[UNIT - 5 : UNIT + 5]
        assert statuses(Path(f"nbd://{host}:{port}"))[0]["mountpoint"] == f"nbd://{host}:{port}"
        assert machine.run("umount", f"nbd://{host}:{port}").returncode == 0


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "name one place"), (("--listen", "x:1"), "is not ADDR:PORT"), (("--listen", "127.0.0.1:99999"), "ADDR"),
        (("--socket", "/nonexistent/s"), "No such file"), (("--socket", "/tmp/" + "x" * 120), "longer than"),
    ],
)  # fmt: skip
def test_a_slip_is_one_line(machine: Machine, words: tuple[str, ...], told: str) -> None:
    done = machine.run("nbd", machine.servers[0].url, "disk", "--root", machine.image.pin, *words)
    assert done.returncode in (1, 2) and told in done.stderr and len(done.stderr.splitlines()) == 1


def test_reads_of_any_offset_and_length_with_and_without_structured_replies(machine: Machine) -> None:
    machine.export()
    content, dice = machine.image.content, random.Random(6)
    with c.Client(machine.path) as modern, c.Client(machine.path) as old:
        modern.connect()
        old.connect(structured=False)
        assert modern.flags & 1 << 7 and not old.flags & 1 << 7
        for _ in range(60):
            offset = dice.randrange(len(content))
            length = min(dice.choice([1, 511, 4096, UNIT, 1_500_000, 5_000_000]), len(content) - offset)
            assert modern.read(offset, length) == content[offset : offset + length]
            assert old.read(offset, length) == content[offset : offset + length]
        hole = content.index(bytes(4 * UNIT))
        answer = modern.do(c.READ, hole - 100, 4 * UNIT + 200)
        assert answer.joined == bytes(content[hole - 100 : hole + 4 * UNIT + 100]) and answer.holes == [
            (hole, 4 * UNIT)
        ]
        whole = modern.do(c.READ, hole - 100, 65536, flags=4)  # DF
        assert whole.chunks == 1 and not whole.holes and whole.joined == content[hole - 100 : hole - 100 + 65536]
        assert modern.do(c.READ, 0, 5_000_000, flags=4).error == c.EOVERFLOW


def test_pipelined_requests_are_each_answered_once(machine: Machine) -> None:
    machine.export()
    content, dice = machine.image.content, random.Random(7)
    with c.Client(machine.path) as client:
        client.connect()
        wanted = {}
        for cookie in range(1, 300):
            offset = dice.randrange(len(content) - UNIT)
            wanted[cookie] = offset, dice.choice([512, 70_000, UNIT])
            client.ask(c.READ, *wanted[cookie], cookie=cookie)
        for _ in range(1, 300):
            cookie, answer = client.answer()
            offset, length = wanted.pop(cookie)
            assert answer.joined == content[offset : offset + length]
        assert not wanted


def test_what_makes_no_sense_is_refused_and_the_connection_goes_on(machine: Machine) -> None:
    machine.export()
    size = len(machine.image.content)
    for structured in (True, False):
        with c.Client(machine.path) as client:
            client.connect(structured=structured, allocation=False)
            for kind, offset, length, flags, error in [
                (c.READ, size - 5, 6, 0, c.EINVAL), (c.READ, 1 << 63, 6, 0, c.EINVAL), (c.READ, 0, 0, 0, c.EINVAL),
                (c.READ, 0, 1, 1 << 8, c.EINVAL), (c.FLUSH, 0, 0, 0, c.EINVAL), (99, 0, 0, 0, c.EINVAL),
                (c.TRIM, 0, 512, 0, c.EPERM), (c.ZEROES, 0, 512, 0, c.EPERM), (c.STATUS, 0, 512, 0, c.EINVAL),
            ]:  # fmt: skip
                answer = client.do(kind, offset, length, flags)
                assert answer.error == error, (kind, offset, length, flags)
                assert bool(answer.text) == structured
            answer = client.do(c.WRITE, 0, 3_000_000, data=bytes(3_000_000))
            assert answer.error == c.EPERM
            assert client.do(c.CACHE, 0, size).error == 0
            assert client.read(size - 5, 5) == machine.image.content[-5:]
            client.ask(c.READ, 0, 10)
            client.ask(c.DISC, 0, 0, cookie=9)
            assert client.answer()[1].joined == machine.image.content[:10] and client.gone()


def test_who_sends_no_more_is_answered_and_then_let_go(machine: Machine) -> None:
    machine.export()
    content = machine.image.content
    with c.Client(machine.path) as client:
        client.connect()
        for cookie in range(1, 101):
            client.ask(c.READ, cookie % 39 * UNIT, UNIT, cookie=cookie)
        client.sock.shutdown(socket.SHUT_WR)
        for _ in range(100):
            cookie, answer = client.answer()
            assert answer.joined == content[cookie % 39 * UNIT : (cookie % 39 + 1) * UNIT]
        assert client.gone()
    for half in (b"", b"\0\0\0\3", b"\0\0\0\3IHAVEOPT"):
        with c.Client(machine.path) as client:
            client.sock.sendall(half)
            client.sock.shutdown(socket.SHUT_WR)
            assert client.gone()
    with c.Client(machine.path) as client:
        client.connect().sock.sendall(c.request(c.WRITE, 0, 1000) + bytes(10))
        client.sock.shutdown(socket.SHUT_WR)
        assert client.gone()
    until(lambda: machine.status()["open_handles"] == 0)


def test_block_status_of_parts(machine: Machine) -> None:
    machine.export()
    content = machine.image.content
    hole = content.index(bytes(4 * UNIT))
    with c.Client(machine.path) as client:
        client.connect()
        assert client.do(c.STATUS, 0, len(content)).extents == [
            (hole, 0), (4 * UNIT, 3), (len(content) - hole - 4 * UNIT, 0)
        ]  # fmt: skip
        assert client.do(c.STATUS, hole - 9, 10, flags=8).extents == [(9, 0)]
        assert client.do(c.STATUS, hole, 100).extents == [(100, 3)]
        assert client.do(c.STATUS, len(content) - 1, 2).error == c.EINVAL


def test_mirrors_that_die_and_then_all_of_them(machine: Machine) -> None:
    machine.export("--read-deadline", "5s")
    content = machine.image.content
    with c.Client(machine.path) as modern, c.Client(machine.path) as old:
        modern.connect()
        old.connect(structured=False)
        machine.servers[0].stop()
        assert modern.read(UNIT, 3 * UNIT) == content[UNIT : 4 * UNIT]
        for server in machine.servers[1:]:
            server.stop()
        answer = modern.do(c.READ, 30 * UNIT, 100)
        assert answer.error == c.EIO and ("no mirror" in answer.text or "not here after" in answer.text), answer
        assert old.do(c.READ, 31 * UNIT, 100).error == c.EIO
        far = modern.do(c.READ, 2 * UNIT, 32 * UNIT)  # its first blocks are here
        assert far.error == c.EIO and far.text
        assert modern.read(UNIT, UNIT) == content[UNIT : 2 * UNIT]
        old.ask(c.READ, 2 * UNIT, 32 * UNIT)
        with pytest.raises((ConnectionError, AssertionError)):  # it had begun, or it was refused
            assert not old.answer()[1].error


def test_two_hundred_clients_and_memory(machine: Machine) -> None:
    machine.export()
    content, pid = machine.image.content, machine.status()["pid"]
    before = _resident(pid)
    clients = [c.Client(machine.path).connect() for _ in range(200)]
    try:
        assert machine.status()["open_handles"] == 200
        for number, client in enumerate(clients):
            for cookie in range(1, 17):  # 4 MiB each, 800 MB in all, which half of them never take
                client.ask(c.READ, (number + cookie) % 39 * UNIT, UNIT, cookie=cookie)
        for number, client in enumerate(clients[:100]):
            for _ in range(1, 17):
                cookie, answer = client.answer()
                start = (number + cookie) % 39 * UNIT
                assert answer.joined == content[start : start + UNIT]
        with c.Client(machine.path) as late:
            begun = time.monotonic()
            assert late.connect().read(7, 9) == content[7:16]
            assert time.monotonic() - begun < 50, "nobody's deadline, which is 60 s, was waited for"
        assert _resident(pid) - before < 160 << 20  # 85 MB seen, 72 of them inflated blocks
    finally:
        for client in clients:
            client.sock.close()
    until(lambda: machine.status()["open_handles"] == 0)


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_hostile_peers_end_alone(machine: Machine) -> None:
    machine.export()
    content = machine.image.content
    dice = random.Random(8)
    stop = threading.Event()
    hostile: list[c.Client] = []

    def attack() -> None:
        while not stop.is_set():
            client = c.Client(machine.path)
            try:
                match dice.randrange(5):
                    case 0:
                        client.sock.sendall(dice.randbytes(dice.randrange(300)))
                    case 1:
                        client.hello()
                        client.sock.sendall(b"IHAVEOPT" + struct.pack(">II", dice.randrange(12), 0xFFFFFFFF))
                    case 2:
                        client.connect().sock.sendall(dice.randbytes(300))
                    case 3:
                        client.connect().ask(c.READ, 0, 32 << 20)  # and never takes it
                        hostile.append(client)
                        continue
                    case _:
                        client.connect().sock.sendall(c.request(c.WRITE, 0, 0xFFFFFFFF) + bytes(1000))
            except (OSError, AssertionError):
                pass
            client.sock.close()
            if len(hostile) > 40:
                hostile.pop(0).sock.close()

    attackers = [threading.Thread(target=attack) for _ in range(3)]
    for thread in attackers:
        thread.start()
    try:
        with c.Client(machine.path) as client:
            client.connect()
            for _ in range(200):
                offset = dice.randrange(len(content) - 5000)
                assert client.read(offset, 5000) == content[offset : offset + 5000]
    finally:
        stop.set()
        for thread in attackers:
            thread.join(30)
        for each in hostile:
            each.sock.close()
    until(lambda: machine.status()["open_handles"] == 0)


def test_offline_gives_what_is_here_and_says_what_is_not(machine: Machine) -> None:
    machine.export()
    with c.Client(machine.path) as client:
        client.connect().read(0, 2 * UNIT)
    umount(machine.path, force=True)
    machine.export("--offline")
    with c.Client(machine.path) as client:
        client.connect()
        assert client.read(0, 2 * UNIT) == machine.image.content[: 2 * UNIT]
        answer = client.do(c.READ, 30 * UNIT, 1)
        assert answer.error == c.EIO and "offline" in answer.text


def test_nothing_of_it_needs_fuse() -> None:
    program = (
        "import sys; sys.modules['pyfuse3'] = None\n"
        "import mirrornet.app.client.nbd, mirrornet.cli.nbd, mirrornet.app.client.mounts, mirrornet.client.nbd.server\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_refused_start_leaves_nothing(machine: Machine) -> None:
    for server in machine.servers:
        server.stop()
    done = machine.nbd()
    assert done.returncode == 1 and not machine.path.exists()
    with pytest.raises(MirrornetError):
        machine.status()
