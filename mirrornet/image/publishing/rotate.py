"""New keys in place of old ones: lost, stolen, moved to a token, or just old.  Clients follow by signatures alone.

A top-level role's keys are named by root, so a rotation makes root N+1, signed by the keys of root N and its own;
clients walk the chain however far behind they are.  An image's key is named by targets.  What the role signs is signed
anew in the same step, so that a thief's signatures are worth nothing to whoever has seen the new root: a timestamp or
snapshot that he numbered 2³¹ is forgotten with its key (specification 5.3.11), and small numbers are good again.

New keys are made beside the old ones, the repository is changed, and only then are the old files moved to
KEYS/replaced/.  Killed at any moment, both are there, and the metadata says which count.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from securesystemslib.signer import Signer

from mirrornet.image.publishing.changing import Change, changing
from mirrornet.image.trust.keyfiles import number_of, unused_path
from mirrornet.image.trust.keys import ROLES, check_threshold, pin_of, refuse_uris
from mirrornet.image.trust.ring import Folders
from mirrornet.image.trust.versions import name_of, role_of
from mirrornet.model.errors import InputError
from mirrornet.model.names import suggest

_REPLACED: Final = "replaced"


@dataclass(frozen=True, slots=True)
class RotateReport:
    """What a rotation did.  `root`: its version now.  `made`: files of new keys; `replaced`: where the old ones lie.

    `pin` is what it was: the first root names the repository for ever.
    """

    roles: tuple[str, ...]
    root: int
    timestamp: int
    made: tuple[Path, ...]
    replaced: tuple[Path, ...]
    pin: str


def rotate(
    repo: Path,
    keys: Path,
    roles: Sequence[str],
    *,
    now: float,
    passphrase: bytes | None = None,
    also: Folders = (),
    threshold: tuple[int, int] | None = None,
    uris: Sequence[str] = (),
) -> RotateReport:
    """New keys for `roles`: any of root, targets, snapshot, timestamp, image-NAME.

    Needs the root key for the first four (for root: as many old ones as its threshold), the targets key for an image,
    and the online keys that stay.  `threshold`: (signatures needed, keys) from now on, None: as before.  `uris`: keys
    that are elsewhere already; the rest are made in the folder `keys`.  Raises InputError, LocalError; then nothing was
    changed.
    """
    roles = tuple(dict.fromkeys(roles))
    if not roles:
        raise InputError(f"name the roles whose keys are to be replaced: {', '.join(ROLES)}, image-NAME")
    if uris and len(roles) > 1:
        raise InputError("--key gives the keys of one role: rotate one at a time")
    refuse_uris(uris)
    with changing(repo, keys, "a rotation", now=now, passphrase=passphrase, also=also) as change:
        _check_roles(change, roles)
        counts = {role: _count(change, role, threshold, len(uris)) for role in roles}
        _check_keys(change, roles)
        made: dict[str, list[tuple[Path, Signer]]] = {}
        try:
            for role in roles:
                made[role] = []
                for number in range(counts[role][1]):
                    made[role].append(change.ring.make(role, uris[number] if number < len(uris) else ""))
            _stage(change, made, counts)
            change.shelf.write(change.staging)
        except BaseException:
            if not _written(change):
                for path, _ in (pair for pairs in made.values() for pair in pairs):
                    path.unlink(missing_ok=True)
            raise
        kept, replaced = _tidy(change, keys, made)
        return RotateReport(
            roles,
            change.shelf.root.version,
            change.shelf.timestamp.version,
            kept,
            replaced,
            pin_of(change.shelf.first_root),
        )


def _check_roles(change: Change, roles: Sequence[str]) -> None:
    known = (*ROLES, *map(role_of, change.shelf.images))
    for role in roles:
        if role not in known:
            hint = f"did you mean {role_of(role)}?" if role in change.shelf.images else suggest(role, known)
            raise InputError(f"there is no role {role!r}; {hint or 'there are ' + ', '.join(known[:12])}")


def _count(change: Change, role: str, threshold: tuple[int, int] | None, given: int) -> tuple[int, int]:
    names = change.shelf.root if role in ROLES else change.shelf.targets
    entry = names.get_delegated_role(role)
    needed, there_are = threshold or (entry.threshold, max(len(entry.keyids), given))
    if given > there_are:
        raise InputError(f"{role}: {given} keys are given, and there are to be {there_are}; raise --threshold")
    return check_threshold(role, needed, there_are)


def _check_keys(change: Change, roles: Sequence[str]) -> None:
    """Raises InputError where a key is not here that has to sign, before any is made."""
    wanted = [role for role in ("snapshot", "timestamp") if role not in roles and set(roles) != {"root"}]
    if any(role in ROLES for role in roles):
        wanted.append("root")
    if any(role not in ROLES for role in roles) and "targets" not in roles:
        wanted.append("targets")
    try:
        change.shelf.check_keys(wanted, change.ring.sign)
    except InputError as error:
        if "root" in roles and "role root" in str(error):
            raise InputError(
                f"{error}; without so many of its old keys no client would follow: that takes a new repository and pin"
            ) from None
        raise


def _stage(change: Change, made: dict[str, list[tuple[Path, Signer]]], counts: dict[str, tuple[int, int]]) -> None:
    shelf, sign = change.shelf, change.ring.sign
    for role, pairs in made.items():
        public = [signer.public_key for _, signer in pairs]
        if len({key.keyid for key in public}) < len(public):
            raise InputError(f"{role}: one key is given twice; a threshold counts different keys")
        shelf.rekey(role, public, counts[role][0])
    images = [role for role in made if name_of(role)]
    if any(role in ROLES for role in made):
        shelf.stage_root(sign)
    if images or "targets" in made:
        shelf.stage_role("targets", sign)
    for role in images:
        shelf.stage_role(role, sign)
    if set(made) != {"root"}:
        shelf.stage_snapshot(sign)


def _written(change: Change) -> bool:
    """Whether clients may have seen the new keys already: then their files have to stay."""
    shelf = change.shelf
    if shelf.former is None:  # an image's key: seen with the snapshot that has it
        return (shelf.folder / f"{shelf.snapshot.version}.snapshot.json").exists()
    return (shelf.folder / f"{shelf.root.version}.root.json").exists()


def _tidy(
    change: Change, keys: Path, made: dict[str, list[tuple[Path, Signer]]]
) -> tuple[tuple[Path, ...], tuple[Path, ...]]:
    """Moves old keys to replaced/ in their folder, and gives new ones their names.  (new files, old files)."""
    kept, replaced = [], []
    for role, pairs in made.items():
        ours = {path for path, _ in pairs}
        for path, signer in change.ring.files(role).items():
            if path in ours:
                continue
            with contextlib.suppress(OSError):  # a stick that is read-only: it is of no use to anybody any more
                folder = path.parent / _REPLACED
                folder.mkdir(mode=0o700, exist_ok=True)
                target = folder / f"{path.stem}-{signer.public_key.keyid[:8]}{path.suffix}"
                replaced.append(path.rename(target))
        for number, (path, _) in enumerate(pairs, 1):
            better = unused_path(keys, role, path.suffix)
            if number_of(better) <= number:
                path = path.rename(better)
            kept.append(path)
    return tuple(kept), tuple(replaced)
