"""A publish killed at random moments, run after run: `python killed_publish.py FOLDER RUNS`; prints what happened.

A process of its own, since it forks and a test's process has threads.  After each kill a client, with the trust folder
it always had, refreshes and reads every byte; then the same publish runs to its end and the client reads again.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import select
import signal
import sys
import time
from pathlib import Path

from mirrornet.image.fetch import file_fetch
from mirrornet.image.format.block import Codec, block_path, open_block
from mirrornet.image.format.index import Page
from mirrornet.image.format.profile import Profile
from mirrornet.image.inventory import open_head
from mirrornet.image.publishing.publish import publish
from mirrornet.image.trust import attempt as trust
from mirrornet.image.trust.keys import keygen

UNIT = 65536
NOW = 1_800_000_000.0


class Client:
    """Reads the newest version as a client does, from the repository itself."""

    def __init__(self, folder: Path, repo: Path, root: bytes) -> None:
        self.folder, self.repo = folder, repo
        trust.initialise(folder, root)

    def newest(self) -> tuple[int, str]:
        """(version, SHA-256 of its content)."""
        fetch = file_fetch(self.repo)
        scratch = trust.new_scratch(self.folder)
        metadata = trust.attempt(self.folder, scratch, fetch, ("demo",), NOW)
        assert trust.commit(self.folder, scratch)
        image = metadata.latest("demo")
        head = open_head(image, fetch)
        digest, left = hashlib.sha256(), image.size
        for number, ref in enumerate(head.pages):
            page = Page.parse(open_block(fetch(ref.path, ref.stored), ref), head, number)
            for block, place in zip(page.refs, page.places, strict=True):
                raw = bytes(head.block_size)
                if block is not None and place is not None and not head.packs[place.pack].single:
                    pack = fetch(block_path(head.packs[place.pack].hash), 1 << 26)
                    raw = open_block(pack[place.offset : place.offset + block.stored], block)
                elif block is not None:
                    raw = open_block(fetch(block.path, block.stored), block)
                digest.update(raw[:left])
                left -= len(raw[:left])
        assert left == 0
        return image.version, digest.hexdigest()


def main(folder: Path, runs: int) -> None:
    """Does it, and prints {"killed": …, "finished": …}."""
    dice = random.Random(7)
    repo, keys, image = folder / "repo", folder / "keys", folder / "image"
    keygen(keys, passphrase=None, now=NOW)

    def write() -> str:
        """Another image: most blocks are those of the one before."""
        blocks = (
            [dice.randbytes(UNIT) for _ in range(30)]
            if not image.exists()
            else [image.read_bytes()[at : at + UNIT] for at in range(0, 30 * UNIT, UNIT)]
        )
        for _ in range(8):
            blocks[dice.randrange(30)] = dice.randbytes(UNIT // 2) * 2
        image.write_bytes(b"".join([*blocks, bytes(2 * UNIT), b"end"]))
        return hashlib.sha256(image.read_bytes()).hexdigest()

    def start(packs: bool) -> int:
        child = os.fork()
        if child:
            return child
        try:
            options = {"block_size": UNIT, "codec": Codec.ZSTD, "packs": packs, "profile": Profile(UNIT, (3, 1))}
            publish(image, "demo", repo, keys, now=NOW, **options)  # type: ignore[arg-type]
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)

    content = write()
    begun = time.monotonic()
    assert os.waitpid(start(False), 0)[1] == 0
    usual = time.monotonic() - begun
    client = Client(folder / "trust", repo, (keys / "root.json").read_bytes())
    version, seen = client.newest()
    assert (version, seen) == (1, content)
    killed = finished = 0
    for number in range(runs):
        content, before = write(), seen
        child = start(packs=bool(number % 2))
        handle = os.pidfd_open(child)
        select.select([handle], [], [], dice.uniform(0, usual))
        signal.pidfd_send_signal(handle, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        os.close(handle)
        assert status in (0, signal.SIGKILL), status
        killed += status != 0
        finished += status == 0
        usual *= 0.7 if status == 0 else 1.15  # the machine may be busy now, and idle then: half of them are to be hit
        last, seen = client.newest()
        assert seen in (before, content), "a client read something else"
        assert last >= version
        version = last
        assert os.waitpid(start(packs=bool(number % 3)), 0)[1] == 0, "the second run did not complete"
        last, seen = client.newest()
        assert seen == content and last > version
        version = last
    print(json.dumps({"killed": killed, "finished": finished, "left": sorted(p.name for p in repo.iterdir())}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
