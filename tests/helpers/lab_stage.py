"""What the tests of the lab put on a network: an image, its repository, and our own command at a site."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mirrornet.image.publishing.publish import publish
from mirrornet.image.trust.keys import keygen
from mirrornet.lab.nameserver import COMMAND
from mirrornet.lab.network import Network


class Published:
    """A folder with `image`, `repo`, `keys`; `root` is the first root.json.  Version 1 of `name` is published."""

    def __init__(self, folder: Path, name: str = "tiny", size: int = 4 << 20) -> None:
        self.folder, self.name = folder, name
        self.image, self.repo, self.keys = folder / "image", folder / "repo", folder / "keys"
        self.root = self.keys / "root.json"
        self.image.write_bytes(os.urandom(size))
        keygen(self.keys, passphrase=None)
        self.publish()

    def publish(self) -> None:
        """The image as it is now becomes the next version."""
        publish(self.image, self.name, self.repo, self.keys, now=time.time())


def command(network: Network, site: str, *words: object, timeout: float = 180, **environment: str) -> Any:
    """`mirrornet WORDS` at `site`, with a home of its own there; what it printed, as subprocess.run() has it."""
    return network.run(site, [*COMMAND, *map(str, words)], timeout=timeout, env=_at(network, site, environment))


def started(
    network: Network, site: str, *words: object, log: Path, before: Sequence[str] = (), **environment: str
) -> subprocess.Popen[bytes]:
    """The same, left running; it writes to `log`.  `before`: a program that is to run it."""
    with log.open("ab") as out:
        return network.start(
            site,
            [*before, *COMMAND, *map(str, words)],
            env=_at(network, site, environment),
            stdout=out,
            stderr=out,
        )


def own(network: Network, site: str) -> Path:
    """The folder in which programs at `site` keep what is theirs."""
    folder = network.folder / f"own-{site}"
    folder.mkdir(exist_ok=True)
    return folder


def kept(network: Network, site: str) -> list[object]:
    """Options by which a client at `site` keeps state and cache there; root's own are the machine's."""
    return ["--state", own(network, site) / "state", "--cache", own(network, site) / "cache"]


def status(network: Network, site: str, point: Path) -> dict[str, Any]:
    """What the mount at `point` says of itself."""
    done = command(network, site, "status", point, "--json")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    return dict(found)


def statuses(network: Network, site: str, points: Sequence[Path]) -> list[dict[str, Any]]:
    """What the mounts at `points` say of themselves, by one command."""
    done = command(network, site, "status", "--json")
    assert done.returncode == 0, done.stderr
    found = {one["mountpoint"]: one for one in json.loads(done.stdout)}
    return [found[str(point)] for point in points]


def _at(network: Network, site: str, more: dict[str, str]) -> dict[str, str]:
    home = str(own(network, site))
    return {**os.environ, "HOME": home, "XDG_STATE_HOME": home, "XDG_CACHE_HOME": home, **more}
