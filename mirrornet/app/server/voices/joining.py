"""How a server comes to share: what the zone file and the command line say of it, and who is to be asked what.

Of its opinions in probing.py the first and the last are those of sharing.py, with the operator's word between them: an
override holds whatever others see, and what others may move is measured against what is seen and said here.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from mirrornet.app.server.voices.overriding import Overriding
from mirrornet.app.server.voices.probing import AllVerdicts, Probing
from mirrornet.app.server.voices.sharing import Sharing
from mirrornet.app.server.worlds.world import World
from mirrornet.config.faults import Wrong
from mirrornet.config.sharing import NOBODY, share_url
from mirrornet.health.words.overrides import apply
from mirrornet.model.errors import InputError
from mirrornet.model.override import in_force
from mirrornet.model.zone import ServerSettings, ShareSettings

log = logging.getLogger(__name__)


def share_argument(text: str) -> str:
    """Where --share says that the board is.  Raises InputError."""
    try:
        return share_url(text)
    except Wrong as wrong:
        raise InputError(f"--share: {wrong.what}: {wrong.hint}") from None


def join(
    url: str, key: Path | None, world: World, probing: Probing, overriding: Overriding, changed: Callable[[], None]
) -> Sharing | None:
    """The eyes of others among the opinions of `probing`; None where the server goes by its own.

    `url`, `key`: what --share and --share-key say, in place of what the zone file does.  Raises InputError.
    """
    share = world.server.share if world.server else None
    if key is not None and not (url or share):
        raise InputError("--share-key: says who this server is, and nothing says where to share: give --share URL")
    told_in_file = share is not None
    if url:
        where = share_argument(url)
        share = replace(share, url=where) if share else ShareSettings(where)
    if share is None:
        return None
    secret = os.environ.get("MIRRORNET_PASSPHRASE", "").encode() or None
    share = replace(share, key=key) if key else share
    sharing = Sharing(share, world, probing.own, changed, passphrase=secret)

    vantages = world.server.vantages if world.server else ()
    listed = [one.name for one in vantages if one.name != sharing.name]
    if not listed and (vantages or not told_in_file):  # else the zone file has been warned of
        log.warning("%s: nobody is heard: %s", share.url, NOBODY)

    def by_hand(verdicts: AllVerdicts) -> AllVerdicts:
        now = time.time()
        return apply(verdicts, in_force(overriding.ours.values(), now), now)

    sharing.by_hand, sharing.turned, sharing.sees = by_hand, overriding.turned, probing.sees
    sharing.ours = lambda: tuple(overriding.ours.values())
    overriding.others, overriding.stopped = sharing.theirs, sharing.stopped
    probing.opinions.insert(0, sharing.opinion)
    probing.opinions.append(sharing.bounded)
    return sharing


def fixed(settings: ServerSettings | None) -> ServerSettings:
    """`settings` without what a reload may change of sharing."""
    settings = settings or ServerSettings()
    share = settings.share and replace(settings.share, quorum=None, limit=0.0)
    return replace(settings, share=share, vantages=())
