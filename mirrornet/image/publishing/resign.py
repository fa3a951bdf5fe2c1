"""Keeping what is signed fresh: the timestamp daily, the snapshot past half its life, by the two online keys alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mirrornet.image.publishing.held import held
from mirrornet.image.trust.keyfiles import key_path
from mirrornet.image.trust.keys import first_root
from mirrornet.image.trust.ring import Ring
from mirrornet.image.trust.shelf import DAY, LIFE, Shelf, expiries
from mirrornet.model.errors import InputError


@dataclass(frozen=True, slots=True)
class ResignReport:
    """`timestamp`, `snapshot`: their versions now.  `warnings`: lines about what offline keys must renew soon."""

    timestamp: int
    snapshot: int
    expires: float
    warnings: tuple[str, ...]


def resign(repo: Path, keys: Path, *, now: float, passphrase: bytes | None = None) -> ResignReport:
    """Renews the timestamp, and the snapshot when half its life is over; needs only these two keys.

    Raises InputError (no repository, other keys), LocalError (a publish at work: its timestamp is fresh anyway).
    """
    root = first_root(keys)
    if not (repo / "metadata" / "1.root.json").exists():
        raise InputError(f"{repo}: no repository; `mirrornet publish` makes one")
    with held(repo, keys, "a resign") as staging:
        shelf = Shelf(repo, root, now)
        if shelf.verified is None:
            raise InputError(f"{repo}: nothing is published here yet; `mirrornet publish` does")
        ring = Ring(keys, passphrase)
        ends = expiries(shelf)
        before = ends["timestamp"]
        if ends["snapshot"] - now < LIFE["snapshot"] / 2 or shelf.unfinished:
            shelf.stage_snapshot(ring.sign)
        else:
            shelf.stage_timestamp(ring.sign)
        shelf.write(staging)
        ends = expiries(shelf)
    warnings = []
    if ends["timestamp"] < before - DAY:  # not refused: it was ahead then, or it is behind now
        warnings.append(f"the clock went back to {datetime.fromtimestamp(now, UTC):%Y-%m-%d}: is it right now?")
    for role, end in sorted(ends.items()):
        life = LIFE.get(role, LIFE["targets"])
        if role in ("snapshot", "timestamp") or end - now >= life / 3:
            continue
        day = datetime.fromtimestamp(end, UTC)
        what = "publish it again" if role.startswith("image-") else f"sign it with {key_path(keys, role)}"
        warnings.append(f"{role} {'expired' if end <= now else 'expires'} on {day:%Y-%m-%d}: {what}")
    return ResignReport(shelf.timestamp.version, shelf.snapshot.version, min(ends.values()), tuple(warnings))
