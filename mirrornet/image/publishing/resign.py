"""Keeping what is signed fresh: the timestamp daily, the snapshot past half its life, by the two online keys alone.

Root, targets and the roles of images live a year and are signed by keys that lie elsewhere.  `resign` warns when less
than a third of that is left, and `offline` renews them, too, where those keys are brought.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from mirrornet.image.publishing.changing import Change, changing
from mirrornet.image.trust.keyfiles import key_path
from mirrornet.image.trust.ring import Folders
from mirrornet.image.trust.shelf import DAY, LIFE, expiries


@dataclass(frozen=True, slots=True)
class ResignReport:
    """Versions after the renewal.  `expires`: Unix time of the first expiry.  `renewed`: roles signed anew.

    `warnings`: lines about what offline keys must renew soon.
    """

    timestamp: int
    snapshot: int
    expires: float
    warnings: tuple[str, ...]
    renewed: tuple[str, ...] = ()


def resign(
    repo: Path,
    keys: Path,
    *,
    now: float,
    passphrase: bytes | None = None,
    offline: bool = False,
    also: Folders = (),
) -> ResignReport:
    """Renews the timestamp, and the snapshot when half its life is over; needs only these two keys.

    `offline` renews whatever else has lived for half its life, too, by the keys in `keys` and `also`.  Raises
    InputError (no repository, other keys), LocalError (a publish at work: its timestamp is fresh anyway).
    """
    with changing(repo, keys, "a resign", now=now, passphrase=passphrase, also=also) as change:
        shelf, sign = change.shelf, change.ring.sign
        ends = expiries(shelf)
        before = ends["timestamp"]
        warnings = went_back(before, now)
        due = [role for role, end in ends.items() if end - now < _life(role) / 2 and role != "timestamp"]
        slow = [role for role in due if role != "snapshot"] if offline else []
        if slow:
            _renew(change, slow)
        if slow or "snapshot" in due or shelf.unfinished:
            shelf.stage_snapshot(sign)
            renewed = (*slow, "snapshot", "timestamp")
        else:
            shelf.stage_timestamp(sign)
            renewed = ("timestamp",)
        shelf.write(change.staging)
        ends = expiries(shelf)
    for role, end in sorted(ends.items()):
        if role in ("snapshot", "timestamp") or end - now >= _life(role) / 3:
            continue
        day = datetime.fromtimestamp(end, UTC)
        warnings.append(
            f"{role} {'expired' if end <= now else 'expires'} on {day:%Y-%m-%d}: bring {key_path(keys, role)} and run "
            "`mirrornet resign --offline`"
        )
    return ResignReport(shelf.timestamp.version, shelf.snapshot.version, min(ends.values()), tuple(warnings), renewed)


def went_back(before: float, now: float) -> list[str]:
    """A line, if the timestamp that ends at `before` was signed when the clock was more than a day ahead of `now`.

    No more than a line: it was ahead then, or it is behind now, and nobody here can know which.
    """
    if now + LIFE["timestamp"] >= before - DAY:
        return []
    return [f"the clock went back to {datetime.fromtimestamp(now, UTC):%Y-%m-%d}: is it right now?"]


def _life(role: str) -> float:
    return LIFE.get(role, LIFE["targets"])


def _renew(change: Change, roles: list[str]) -> None:
    change.shelf.check_keys([*roles, "snapshot", "timestamp"], change.ring.sign)
    for role in roles:
        if role == "root":
            change.shelf.stage_root(change.ring.sign)
        else:
            change.shelf.stage_role(role, change.ring.sign)
