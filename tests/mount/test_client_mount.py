"""Real mounts through the kernel, with the real command, over real servers."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import client_mirrors as world
import pytest
from waiting import until

from mirrornet.app.client.mounts import statuses, umount
from mirrornet.app.client.telling import text
from mirrornet.client.fuse.mountpoint import mounted_at
from mirrornet.model.errors import LocalError, MirrornetError

UNIT = 262144


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> world.Published:
    return world.published(tmp_path_factory.mktemp("published"), blocks=40)


class Machine:
    """A machine with one mount point; runs `mirrornet` as its user would."""

    def __init__(self, folder: Path, image: world.Published, urls: list[str]) -> None:
        self.folder, self.image, self.source = folder, image, ",".join(urls)
        self.point = folder / "mnt"
        self.point.mkdir()
        self.file = self.point / "disk.raw"
        self.log = folder / "log"

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from mirrornet.cli import main; main()", *words]
        return subprocess.run(command, capture_output=True, text=True, timeout=180, check=False)

    def mount(self, *words: str) -> subprocess.CompletedProcess[str]:
        folders = ["--state", str(self.folder / "state"), "--cache", str(self.folder / "cache")]
        root = [] if "--root" in words else ["--root", self.image.pin]
        return self.run(
            "mount", self.source, "disk", str(self.point), *root, *folders, "--log", str(self.log),
            "--read-deadline", "60s", *words,
        )  # fmt: skip

    def mounted(self, *words: str) -> None:
        done = self.mount(*words)
        assert done.returncode == 0, done.stderr

    def status(self) -> dict[str, Any]:
        return statuses(self.point)[0]

    def end(self) -> None:
        if self.is_mounted():
            try:
                umount(self.point, force=True)
            except MirrornetError:
                subprocess.run(["umount", "-l", str(self.point)], check=False)
                raise
        assert not self.log.exists() or "Traceback" not in self.log.read_text()

    def is_mounted(self) -> bool:
        return mounted_at(self.point) is not None

    def drop_pages(self) -> None:
        """The kernel forgets this file's pages, so that the next read is ours to answer."""
        with self.file.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


@pytest.fixture
def three(image: world.Published) -> Iterator[list[world.Mirror]]:
    with world.mirrors(image.repo, 3, first=12) as servers:
        yield servers


@pytest.fixture
def machine(
    need: Callable[..., None], image: world.Published, three: list[world.Mirror], tmp_path: Path
) -> Iterator[Machine]:
    need("root", "fuse", "umount")
    made = Machine(tmp_path, image, [server.url for server in three])
    yield made
    made.end()


def _ended(pid: int) -> bool:
    """Whether the process has ended; its parent, which is not ours to hurry, may not have noticed yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_the_file_is_the_image_and_status_tells_where_from(machine: Machine, image: world.Published) -> None:
    machine.mounted()
    assert sorted(path.name for path in machine.point.iterdir()) == ["disk.cloop", "disk.raw"]
    assert machine.file.stat().st_size == len(image.content)
    assert machine.file.read_bytes() == image.content
    assert os.statvfs(machine.point).f_bfree == 0
    with pytest.raises(OSError) as refused:
        machine.file.open("r+b")
    assert refused.value.errno in (errno.EROFS, errno.EACCES)
    status = machine.status()
    assert status["image"] == "disk" and status["version"] == 1 and status["reads"]["network"] > 10
    assert len(status["mirrors"]) == 3 and status["cache"]["bytes"] > 0
    mount = mounted_at(machine.point)
    assert mount is not None
    readahead = Path(f"/sys/class/bdi/{mount.device}/read_ahead_kb")
    if os.access(readahead, os.W_OK):
        assert int(readahead.read_text()) >= 1024
    told = machine.run("status").stdout
    assert "longest stall" in told and str(machine.point) in told
    found = json.loads(machine.run("status", str(machine.point), "--json").stdout)
    assert [each["pid"] for each in found] == [status["pid"]]
    again = machine.mount()
    assert again.returncode == 2 and "mounted already" in again.stderr
    done = machine.run("umount", str(machine.point))
    assert done.returncode == 0, done.stderr
    assert not machine.is_mounted()
    assert machine.run("umount", str(machine.point)).returncode == 2
    assert machine.run("status", str(machine.point)).returncode == 2


def test_a_select_name_leads_to_mirrors_and_to_others_when_they_die(
    machine: Machine, image: world.Published, three: list[world.Mirror]
) -> None:
    server = world.NameServer()
    service = "_http._tcp.select.example.net."
    server.ttl = 5
    for number, mirror in enumerate(three):
        server.records[f"m{number}.select.example.net.", "A"] = [mirror.address]
    server.records[service, "URI"] = [f'10 1 "http://a.example:{three[0].port}/#m0"']
    machine.source = "select.example.net"
    try:
        machine.mounted("--resolver", f"127.0.0.1:{server.address[1]}", "--read-deadline", "60s")
        with machine.file.open("rb", buffering=0) as file:
            assert os.pread(file.fileno(), UNIT, 0) == image.content[:UNIT]
            server.records[service, "URI"] = [f'10 1 "http://b.example:{three[1].port}/#m1"']
            three[0].stop()
            assert os.pread(file.fileno(), UNIT, 30 * UNIT) == image.content[30 * UNIT : 31 * UNIT]
        told = {mirror["name"]: mirror["offered"] for mirror in machine.status()["mirrors"]}
        assert told == {"m1": True, "m0": False}, "who left is remembered, since it gave blocks"
    finally:
        server.stop()


def test_a_mirror_killed_in_mid_read_costs_no_byte(
    machine: Machine, image: world.Published, three: list[world.Mirror]
) -> None:
    for server in three:
        server.delay = 0.005
    machine.mounted()
    parts = []
    with machine.file.open("rb", buffering=0) as file:
        while part := file.read(UNIT):
            parts.append(part)
            if len(parts) == 10:
                max(three, key=lambda server: len(server.blocks_asked)).stop()
    assert b"".join(parts) == image.content
    assert machine.status()["reads"]["longest_stall"] < 20  # of 60 s that it may take


def test_a_corrupt_block_is_never_seen_and_the_liar_is_named(
    machine: Machine, image: world.Published, three: list[world.Mirror]
) -> None:
    three[0].behave = "lie"
    machine.mounted()
    assert machine.file.read_bytes() == image.content
    by_name = {mirror["name"]: mirror for mirror in machine.status()["mirrors"]}
    assert by_name[three[0].name]["state"] == "corrupt"
    assert by_name[three[0].name]["blames"]["corrupt"] >= 1
    assert all(not by_name[server.name]["blames"].get("corrupt") for server in three[1:])
    told = text(machine.status(), time.time()).splitlines()
    assert three[0].name in next(line for line in told if "corrupt" in line)


def test_all_mirrors_dead_cached_blocks_are_served_and_the_rest_is_an_error(
    machine: Machine, image: world.Published, three: list[world.Mirror]
) -> None:
    machine.mounted("--read-deadline", "8s")
    with machine.file.open("rb", buffering=0) as file:
        assert os.pread(file.fileno(), 3 * UNIT, 0) == image.content[: 3 * UNIT]
        until(lambda: machine.status()["reads_waiting"] == 0)
        machine.drop_pages()
        for server in three:
            server.stop()
        assert os.pread(file.fileno(), 2 * UNIT, 100) == image.content[100 : 100 + 2 * UNIT]
        begun = time.monotonic()
        with pytest.raises(OSError) as error:
            os.pread(file.fileno(), 10, 33 * UNIT)
        assert error.value.errno == errno.EIO and time.monotonic() - begun < 30
        begun = time.monotonic()
        assert machine.file.stat().st_size == len(image.content)
        assert os.statvfs(machine.point).f_blocks > 0
        assert time.monotonic() - begun < 7.5, "no deadline of a read was waited for"
    assert machine.status()["network_down"]


def test_with_200_reads_waiting_nothing_else_waits_and_force_ends_them(
    machine: Machine, image: world.Published, three: list[world.Mirror]
) -> None:
    machine.mounted("--read-deadline", "60s")
    for server in three:
        server.behave = "hang"
    outcomes: list[int | None] = []

    def read(number: int) -> None:
        try:
            with machine.file.open("rb", buffering=0) as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
                os.pread(file.fileno(), 100, 22 * UNIT + number * 16384)
            outcomes.append(None)
        except OSError as error:
            outcomes.append(error.errno)

    threads = [threading.Thread(target=read, args=(number,), daemon=True) for number in range(200)]
    for thread in threads:
        thread.start()
    until(lambda: machine.status()["reads_waiting"] >= 64)
    begun = time.monotonic()
    assert machine.file.stat().st_size == len(image.content)
    assert os.statvfs(machine.point).f_blocks > 0
    assert sorted(path.name for path in machine.point.iterdir()) == ["disk.cloop", "disk.raw"]
    machine.status()
    assert time.monotonic() - begun < 30, "none of those reads was waited for"
    begun = time.monotonic()
    umount(machine.point, force=True)
    for thread in threads:
        thread.join(60)
    assert time.monotonic() - begun < 45, "before their deadline"
    assert len(outcomes) == 200 and None not in outcomes
    assert not machine.is_mounted()


def test_offline_with_a_warm_cache_and_without(
    machine: Machine, image: world.Published, three: list[world.Mirror]
) -> None:
    machine.mounted()
    assert machine.file.read_bytes() == image.content
    umount(machine.point, force=False)
    for server in three:
        server.stop()
    machine.mounted("--offline")
    assert machine.file.read_bytes() == image.content
    assert machine.status()["reads"]["network"] == 0
    umount(machine.point, force=False)
    online = machine.mount()
    assert online.returncode == 0 and "no mirror gave fresh metadata" in online.stderr
    assert machine.file.read_bytes() == image.content
    umount(machine.point, force=False)
    shutil.rmtree(machine.folder / "state")
    refused = machine.mount("--offline")
    assert refused.returncode == 1 and len(refused.stderr.splitlines()) == 1


def test_umount_names_who_holds_it_and_force_does_not_ask(machine: Machine, image: world.Published) -> None:
    machine.mounted()
    holder = subprocess.Popen(
        [sys.executable, "-c", f"f = open({str(machine.file)!r}, 'rb'); print(1, flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == b"1\n"
        refused = machine.run("umount", str(machine.point))
        assert refused.returncode == 1 and f"process {holder.pid} (" in refused.stderr
        assert machine.file.read_bytes() == image.content
        umount(machine.point, force=True)
        assert not machine.is_mounted()
    finally:
        holder.communicate(b"\n", timeout=60)


def test_umount_names_a_loop_device(machine: Machine, need: Callable[..., None]) -> None:
    need("losetup")
    machine.mounted()
    made = subprocess.run(
        ["losetup", "-r", "-f", "--show", str(machine.file)], capture_output=True, text=True, check=False
    )
    if made.returncode:
        pytest.skip(f"no loop device here: {made.stderr.strip()}")
    device = made.stdout.strip()
    try:
        with pytest.raises(LocalError, match=device):
            umount(machine.point, force=False)
    finally:
        subprocess.run(["losetup", "-d", device], check=False)

    def left() -> bool:  # a loop device lets go a moment after losetup -d
        with contextlib.suppress(LocalError):
            umount(machine.point, force=False)
        return not machine.is_mounted()

    until(left)


def test_sigterm_refuses_new_opens_and_leaves_when_nobody_holds_it(machine: Machine, image: world.Published) -> None:
    machine.mounted()
    pid = machine.status()["pid"]
    with machine.file.open("rb", buffering=0) as file:
        os.kill(pid, signal.SIGTERM)
        until(lambda: machine.status()["leaving"])
        with pytest.raises(OSError) as refused:
            machine.file.open("rb")
        assert refused.value.errno == errno.ESHUTDOWN
        assert os.pread(file.fileno(), UNIT, 20 * UNIT) == image.content[20 * UNIT : 21 * UNIT]
    until(lambda: not machine.is_mounted())
    until(lambda: _ended(pid))


def test_a_stale_mount_is_cleaned_by_the_next(machine: Machine, image: world.Published) -> None:
    machine.mounted()
    pid = machine.status()["pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: _ended(pid))
    with pytest.raises(OSError) as dead:
        list(machine.point.iterdir())
    # The first thread may be a zombie a moment before the last lets go of /dev/fuse: what is asked then is aborted.
    assert dead.value.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    machine.mounted()
    assert machine.file.read_bytes() == image.content


def test_one_clear_line_each(
    machine: Machine, image: world.Published, three: list[world.Mirror], tmp_path: Path
) -> None:
    def line(code: int, *words: str) -> str:
        done = machine.mount(*words)
        assert done.returncode == code and len(done.stderr.splitlines()) == 1, done.stderr
        assert not machine.is_mounted()
        return done.stderr

    keep = machine.point / "keep"
    keep.touch()
    assert "is not empty" in line(2)
    keep.unlink()
    machine.point.rmdir()
    assert "does not exist" in line(2)
    machine.point.mkdir()
    assert "--read-deadline" in line(2, "--read-deadline", "0")
    other = tmp_path / "other"
    other.mkdir()
    root = world.published(other, blocks=8).repo / "metadata" / "1.root.json"
    assert "no mirror gave metadata that verifies" in line(1, "--root", str(root))
    assert "pin" in line(1, "--root", "sha256:" + "0" * 64)
    assert "no version 9" in line(2, "--version", "9")
    assert line(2, "--root", str(tmp_path / "absent.json"))
    for server in three:
        server.behave = "missing"
    assert "the first read failed" in line(1)


def test_in_a_container_that_lacks_fusectl(
    machine: Machine, three: list[world.Mirror], need: Callable[..., None]
) -> None:
    """The kernel's limits are set while the first read is under way, which a child of ours could wait for for ever.

    Before 3.11.4 CPython keeps its lock while it waits for a child in vfork(2); Debian 12 has 3.11.2.
    """
    need("unshare", "umount")
    for server in three:
        server.delay = 0.5
    program = """if True:
        import time
        from mirrornet.cli import main
        from mirrornet.client.fuse import mountpoint
        tune = mountpoint.tune
        mountpoint.tune = lambda *words: (time.sleep(0.2), tune(*words))  # by then the file is open
        main()
    """
    script = """
        umount -q /sys/fs/fuse/connections
        trap '"$@" umount --force "$point"' EXIT
        "$@" mount "$source" disk "$point" --root "$pin" --state "$folder/state" --cache "$folder/cache" || exit
        cat /sys/fs/fuse/connections/*/max_background && cmp "$point/disk.raw" "$folder/content"
    """
    (machine.folder / "content").write_bytes(machine.image.content)
    told = {"point": machine.point, "source": machine.source, "pin": machine.image.pin, "folder": machine.folder}
    with subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script, "sh", sys.executable, "-c", program],
        env={**os.environ, **{key: str(value) for key, value in told.items()}},
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as container:
        try:
            output, _ = container.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            os.killpg(container.pid, signal.SIGKILL)
            raise
    assert container.returncode == 0 and b"128" in output.split()


def test_foreground_ends_by_ctrl_c(machine: Machine) -> None:
    command = [
        sys.executable, "-c", "from mirrornet.cli import main; main()", "mount", machine.source, "disk",
        str(machine.point), "--root", machine.image.pin, "--state", str(machine.folder / "state"),
        "--cache", str(machine.folder / "cache"), "--foreground",
    ]  # fmt: skip
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        until(machine.file.exists)
        with machine.file.open("rb", buffering=0) as file:
            assert file.read(4096)  # as the mount's own first read does, after which it is ready
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 0 and "Traceback" not in said
        assert not machine.is_mounted()
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
