"""kill -9 at any moment leaves a mirror that is merely old: forty real processes, killed at random moments."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

from contents import some_bytes
from copies import FolderMirror, same, whole

from mirrornet.image.copying.sync import SyncOptions, sync
from mirrornet.image.fetch import file_fetch

NOW = 1_800_000_000.0
SMALL = 65536
KILLS = 40

# A process that is killed once it says that it begins; one sync would be over before Python had started.
CHILD = """
import sys
sys.path.insert(0, sys.argv[5])
import asyncio
from pathlib import Path
from copies import FolderMirror
from mirrornet.image.copying.sync import SyncOptions, sync

source, into, state, pin = sys.argv[1:5]
print("begins", flush=True)
sys.stdin.readline()
asyncio.run(sync([FolderMirror(Path(source)).mirror], Path(into), pin, Path(state), SyncOptions(jobs=2), now=%r))
print("done", flush=True)
""" % (NOW,)  # noqa: UP031


def child(source: Path, into: Path, state: Path, pin: str) -> subprocess.Popen[str]:
    arguments = [str(source), str(into), str(state), pin, str(Path(__file__).parents[1] / "helpers")]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def test_a_sync_killed_at_any_moment_leaves_a_mirror_that_is_merely_old(publisher, client, tmp_path: Path) -> None:
    into, state = tmp_path / "copy", tmp_path / "state"
    publisher.publish(some_bytes(40 * SMALL))
    before = publisher.copy("before")
    asyncio.run(sync([FolderMirror(before).mirror], into, publisher.pin, state, SyncOptions(), now=NOW))
    publisher.publish(some_bytes(40 * SMALL, 2))
    dice = random.Random(5)

    longest = 0.3  # seconds until the kill at most; it follows what this machine can do just now
    kills, seen = 0, {"old": 0, "new": 0}
    for number in range(4 * KILLS):
        if kills == KILLS:
            break
        process = child(publisher.repo, into, state, publisher.pin)
        assert process.stdout is not None and process.stdin is not None
        assert process.stdout.readline() == "begins\n"
        process.stdin.write("go\n")
        process.stdin.flush()
        try:
            process.wait(dice.uniform(0, longest))
            longest *= 0.8
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            kills += 1
            longest *= 1.05
        process.communicate()
        versions = whole(into, NOW)
        assert versions in (["demo/1"], ["demo/1", "demo/2"])
        seen["new" if len(versions) == 2 else "old"] += 1
        # What a client sees, by the client's own code.
        metadata = client(publisher.root, f"trust{number}").refresh(file_fetch(into))
        assert [version.version for version in metadata.images["demo"]] == list(range(1, len(versions) + 1))
        if len(versions) == 2:  # begin again from the old copy, so that every stage is met
            shutil.rmtree(into)
            shutil.rmtree(state)
            asyncio.run(sync([FolderMirror(before).mirror], into, publisher.pin, state, SyncOptions(), now=NOW))
    assert kills == KILLS and seen["old"] and seen["new"]
    asyncio.run(sync([FolderMirror(publisher.repo).mirror], into, publisher.pin, state, SyncOptions(), now=NOW))
    assert same(into, publisher.repo) and not (into / ".partial").exists()
