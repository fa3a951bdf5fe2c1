"""An image for a lab's mirrors: blocks that are all different and do not compress."""

from __future__ import annotations

import time
from pathlib import Path

from contents import some_bytes

from mirrornet.image.format.profile import Profile
from mirrornet.image.publishing.publish import publish
from mirrornet.image.trust.keys import keygen

UNIT = 262144


def published(folder: Path, blocks: int, profile: Profile | None = None) -> tuple[Path, str]:
    """(repository, pin) of the image "disk" with so many blocks of UNIT bytes."""
    with (folder / "image").open("wb") as file:
        for number in range(blocks):
            file.write(some_bytes(UNIT, number))
    pin = keygen(folder / "keys", passphrase=None)
    publish(folder / "image", "disk", folder / "repo", folder / "keys", now=time.time(), profile=profile)
    return folder / "repo", pin
