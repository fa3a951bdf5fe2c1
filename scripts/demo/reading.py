"""Steps 5 to 7: mount through the name server, kill the mirror in use, corrupt a block."""

from __future__ import annotations

import filecmp
import json
import shutil
import subprocess
import threading
import time
from pathlib import Path

from answers import CLIENTS, SELECT, NameServer
from stage import MIRRORNET, Failed, HttpMirror, Stage, wait_for

from mirrornet.config.load import load_zone

PIECE = 256 << 10


def mount(stage: Stage, server: NameServer, pin: str, cache: str) -> Path:
    """Mounts the image with an empty cache of its own; returns the path of its raw view."""
    point = stage.work / "mnt"
    point.mkdir(exist_ok=True)
    stage.run(
        MIRRORNET, "mount", SELECT, "demo", str(point), "--root", pin, "--resolver", f"127.0.0.1:{server.port}",
        "--cache", str(stage.work / cache), "--state", str(stage.work / "client-state"),
        "--log", str(stage.work / f"{cache}.log"),
    )  # fmt: skip
    stage.undo.append(lambda: quietly(MIRRORNET, "umount", str(point), "--force"))
    return point / "demo.raw"


def unmount(stage: Stage) -> None:
    stage.run(MIRRORNET, "umount", str(stage.work / "mnt"))
    stage.undo.pop()


def status(stage: Stage) -> dict[str, object]:
    """The mount's own account of itself."""
    (told,) = json.loads(quietly(MIRRORNET, "status", str(stage.work / "mnt"), "--json"))
    return dict(told)


def quietly(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def blocks_from(stage: Stage) -> dict[str, int]:
    """How many blocks came from which mirror, by the mount's status."""
    mirrors = status(stage)["mirrors"]
    assert isinstance(mirrors, list)
    return {str(mirror["name"]): int(mirror["blocks"]) for mirror in mirrors}


def mount_and_compare(stage: Stage, server: NameServer, pin: str) -> None:
    stage.step("5. Mounted through select.demo.test; every file read through the kernel and compared")
    raw = mount(stage, server, pin, "cache-1")
    source = stage.work / "source"
    loop = stage.work / "loop"
    loop.mkdir()
    how = "loop-mounted"
    if subprocess.run(["mount", "-o", "loop,ro,noload", raw, loop], capture_output=True, check=False).returncode == 0:
        stage.undo.append(lambda: quietly("umount", "-l", str(loop)))
    else:
        how = "read by debugfs, since this machine lets nobody loop-mount"
        debugfs = shutil.which("debugfs", path="/usr/sbin:/sbin") or "debugfs"
        stage.run(debugfs, "-R", f"rdump / {loop}", str(raw))
    files = [path.relative_to(source) for path in source.rglob("*") if path.is_file()]
    begin = time.monotonic()
    different = [str(f) for f in files if not filecmp.cmp(source / f, loop / f, shallow=False)]
    stage.check(
        "every file equals its source", not different, f"{len(files)} files, {how}, {time.monotonic() - begin:.1f} s"
    )
    if how == "loop-mounted":
        stage.run("umount", str(loop))
        stage.undo.pop()
    print("   blocks came from: " + ", ".join(f"{name} {count}" for name, count in blocks_from(stage).items() if count))
    unmount(stage)


class Reading(threading.Thread):
    """Reads a file from begin to end in pieces, compares it with the original, and keeps the longest stall.

    `pace`: seconds between pieces, so that a reader lasts long enough to have something happen to it; `slows`: six
    times as many from the middle on, for a busy machine, on which that takes long.
    """

    def __init__(self, path: Path, original: Path, pace: float = 0.0, slows: bool = False) -> None:
        super().__init__(daemon=True)
        self.path, self.original, self.pace, self.slows = path, original, pace, slows
        self.longest = 0.0
        self.position = 0
        self.wrong: list[int] = []
        self.error: OSError | None = None

    def run(self) -> None:
        middle = self.original.stat().st_size // 2
        try:
            with self.path.open("rb", buffering=0) as mine, self.original.open("rb") as theirs:
                while True:
                    begin = time.monotonic()
                    piece = mine.read(PIECE)
                    self.longest = max(self.longest, time.monotonic() - begin)
                    if piece != theirs.read(len(piece) or PIECE):
                        self.wrong.append(self.position)
                    if not piece:
                        return
                    self.position += len(piece)
                    slow = self.slows and self.position > middle
                    time.sleep(6 * self.pace if slow else self.pace)
        except OSError as error:
            self.error = error


def start_and_see(stage: Stage, reading: Reading, size: int) -> str:
    """Starts the reader; after a sixth of the image, the mirror that gave most of what was read last."""
    reading.start()
    wait_for(lambda: reading.position >= size // 16 or reading.error, 120, "the read to get going")
    earlier = blocks_from(stage)
    wait_for(lambda: reading.position >= size // 6 or reading.error, 120, "the read to go on")
    return max((count - earlier.get(name, 0), name) for name, count in blocks_from(stage).items())[1]


def kill_in_mid_read(stage: Stage, server: NameServer, pin: str, mirrors: dict[str, HttpMirror]) -> None:
    stage.step("6. The mirror in use is killed in the middle of a read")
    original = stage.work / "demo.ext4"
    size = original.stat().st_size
    raw = mount(stage, server, pin, "cache-2")
    reading = Reading(raw, original, pace=0.04, slows=True)
    in_use = start_and_see(stage, reading, size)
    print(f"   {reading.position >> 20} of {size >> 20} MiB read; in use: {in_use}; killing its server now", flush=True)
    address = mirrors[in_use].address
    client = next(client for client, nearest in CLIENTS.values() if nearest == in_use)  # whose nearest mirror it is
    mirrors[in_use].kill()
    killed = time.monotonic()
    promised = zone_promise(server)
    wait_for(lambda: address not in server.addresses(client), promised + 10, f"the DNS answer to leave {in_use} out")
    took = time.monotonic() - killed
    shown = f"{took:.1f} s, promised {promised:.1f} s"
    stage.check("the DNS answer leaves it out in the promised time", took <= promised, shown)
    stage.check("the read goes on without it", reading.is_alive() and not reading.error)
    before = blocks_from(stage).get(in_use, 0)
    mirrors[in_use].start()
    seconds = wait_for(lambda: address in server.addresses(client), 60, f"the DNS answer to hold {in_use} again")
    stage.check("the mirror comes back into the DNS answer", True, f"{in_use}, after {seconds:.1f} s")

    others = [mirror for mirror in mirrors.values() if mirror.name != in_use]
    print(f"   now the other {len(others)} are killed, so that only {in_use} is left", flush=True)
    for mirror in others:
        mirror.kill()

    def used_again() -> bool:
        return blocks_from(stage).get(in_use, 0) > before

    seconds = wait_for(lambda: used_again() or not reading.is_alive(), 60, f"the reader to use {in_use} again")
    stage.check(
        "and is used again", used_again(), f"{blocks_from(stage)[in_use] - before} blocks, {seconds:.1f} s later"
    )
    for mirror in others:
        mirror.start()
    reading.pace = 0.0
    reading.join(60)
    if reading.error:
        raise Failed(f"the read ended with {reading.error}")
    stage.check("the read completed", not reading.is_alive() and reading.position == size, f"{reading.position} bytes")
    stage.check("and every byte was right", not reading.wrong)
    stage.check("longest stall", reading.longest < 5, f"{reading.longest * 1000:.0f} ms")
    unmount(stage)


def zone_promise(server: NameServer) -> float:
    """Seconds in which a dead mirror must leave the answers: `down` probes that may each take their whole timeout,
    one interval until the first of them, and a second for the plan (the TTL comes on top at a resolver's cache)."""
    health = load_zone(server.zone).health
    return health.down * (health.interval + health.timeout) + 1.0


def corrupt_blocks(stage: Stage, server: NameServer, pin: str, mirrors: dict[str, HttpMirror]) -> None:
    stage.step("7. The mirror in use begins to lie")
    original = stage.work / "demo.ext4"
    raw = mount(stage, server, pin, "cache-3")
    reading = Reading(raw, original, pace=0.02)
    liar = start_and_see(stage, reading, original.stat().st_size)
    blocks = sorted(path for path in (mirrors[liar].root / "blocks").rglob("*") if path.is_file())
    for victim in blocks[::2]:
        data = bytearray(victim.read_bytes())
        data[len(data) // 2] ^= 0xFF
        victim.write_bytes(bytes(data))
    print(f"   a byte was flipped in {len(blocks[::2])} of {len(blocks)} blocks of {liar}", flush=True)
    reading.join(120)
    if reading.error or reading.is_alive():
        raise Failed(f"the read did not end well: {reading.error or 'still reading'}")
    stage.check("the reader never saw a wrong byte", not reading.wrong, f"{reading.position} bytes compared")
    text = stage.run(MIRRORNET, "status", str(stage.work / "mnt"))
    print("\n".join(f"     {line}" for line in text.rstrip().splitlines()))
    blamed = any(f"mirror {liar} " in line and "corrupt" in line for line in text.splitlines())
    who = "the mount's" if blamed else "the name server's, for the reader had gone elsewhere by itself"
    seconds = wait_for(lambda: liar in server.corrupt(), 120, f"the name server to find out about {liar}")
    stage.check("status names the mirror", True, f"{liar}: corrupt ({who}; the name server's {seconds:.1f} s later)")

    def dropped() -> bool:
        client = next(client for client, nearest in CLIENTS.values() if nearest == liar)
        return mirrors[liar].address not in server.addresses(client)

    wait_for(dropped, 60, f"the name server to leave {liar} out")
    stage.check("and the name server leaves it out, too", True)
