"""Versions taken out of the metadata: from then on nobody finds them, and `gc` removes what only they needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mirrornet.image.publishing.changing import changing
from mirrornet.image.trust.versions import role_of
from mirrornet.model.errors import InputError


@dataclass(frozen=True, slots=True)
class RetireReport:
    """`retired`: versions that are gone from the metadata; `kept`: those that stay, ascending."""

    name: str
    retired: tuple[int, ...]
    kept: tuple[int, ...]
    timestamp: int


def retire(
    repo: Path,
    keys: Path,
    name: str,
    *,
    versions: Sequence[int] = (),
    keep: int | None = None,
    now: float,
    passphrase: bytes | None = None,
) -> RetireReport:
    """Retires `versions` of the image `name`, or all but the `keep` newest.

    The newest goes only with all others, since clients would go back to an older one: that is what rollback does, and
    says.  Raises InputError (no such version, numbers and `keep` at once), LocalError.
    """
    if (keep is None) != bool(versions):
        raise InputError("name the versions to retire, or --keep N for how many to keep: one of the two")
    if keep is not None and keep < 1:
        raise InputError(f"--keep {keep}: at least one version has to stay; name them all to retire all")
    with changing(repo, keys, "a retire", now=now, passphrase=passphrase) as change:
        there = [version.version for version in change.versions(name)]
        gone = there[:-keep] if keep is not None else sorted(set(versions))
        for version in gone:
            change.was.version(name, version)
        kept = tuple(version for version in there if version not in gone)
        if kept and there[-1] in gone:
            raise InputError(
                f"{name} version {there[-1]} is the newest: clients would go back to {kept[-1]}; "
                f"`mirrornet rollback {name} {kept[-1]}` does that openly, then retire it"
            )
        if gone:
            change.shelf.check_keys([role_of(name), "snapshot", "timestamp"], change.ring.sign)
            change.shelf.retire(name, gone, change.ring.sign)
            change.commit()
        return RetireReport(name, tuple(gone), kept, change.shelf.timestamp.version)
