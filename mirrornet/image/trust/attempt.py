"""The client's half of the signed metadata: one attempt at one mirror, and the folder where what was verified is kept.

python-tuf's Updater assumes one consistent server.  Over many untrusted mirrors a captive portal would end it with the
good mirror unasked, and a half-copied one would leave its half in the folder for all others.  So an attempt runs an
Updater on a scratch copy of the folder, against one mirror, through the caller's fetcher; only a set that verifies down
to the index is committed, whole.  Whatever goes wrong is a PeerError about that mirror, and the folder is as it was.

    FOLDER/                 state/trust/<repository id>; one repository each, under flock
      initial.json          the first root: what the user's pin names
      current → sets/N      a symbolic link, changed by one rename
      sets/N/               what the Updater keeps: root_history/, root.json, timestamp.json, snapshot.json,
                            targets.json, image-NAME.json; and `clock`, the time of that refresh (Unix time)
      heads/HASH            index heads, named by SHA-256
      scratch-*/            attempts under way

Two processes that refresh different images share the folder: a commit keeps the newer of each image's role.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tuf.api import exceptions
from tuf.api.metadata import Targets
from tuf.ngclient import Updater, UpdaterConfig

from mirrornet.image.fetch import Fetch, file_fetch
from mirrornet.image.files import locked, sync_folder, write_whole
from mirrornet.image.format.index import MAX_HEAD, Head
from mirrornet.image.trust.adapter import Adapter
from mirrornet.image.trust.keys import pin_of
from mirrornet.image.trust.roots import ROOT_LIMIT, obtain_root
from mirrornet.image.trust.verify import Verified, check_timestamp, fault, open_role, open_root, utc, verify_set
from mirrornet.image.trust.versions import ImageVersion, Metadata, check_name, role_of
from mirrornet.model.errors import Expired, InputError, LocalError, Missing, PeerError, Unreachable, Untrusted

__all__ = ["Fetch", "ImageVersion", "Metadata", "attempt", "check_timestamp", "commit", "file_fetch", "index_head",
           "initialise", "load", "new_scratch", "obtain_root", "pin_of"]  # fmt: skip

_BUSY: Final = "another refresh is at work here"
_CONFIG: Final = UpdaterConfig(
    max_root_rotations=256, root_max_length=ROOT_LIMIT, timestamp_max_length=16_384, snapshot_max_length=2_000_000,
    targets_max_length=5_000_000,
)  # fmt: skip


def initialise(folder: Path, root: bytes) -> None:
    """Makes the trust folder of the repository whose first root is `root`, or checks that `folder` is that one's.

    Raises InputError where it is another's, Untrusted where `root` does not sign itself.
    """
    open_root(root)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(folder, _BUSY):
            initial = folder / "initial.json"
            if not initial.exists():
                for part in ("sets", "heads"):
                    (folder / part).mkdir(exist_ok=True)
                write_whole(initial, root)
            elif (kept := initial.read_bytes()) != root:
                raise InputError(
                    f"{folder}: keeps the trust of {pin_of(kept)[:23]}…, not of {pin_of(root)[:23]}…; "
                    "each repository has a folder of its own"
                )
    except OSError as error:
        raise _local(error, folder) from error


def new_scratch(folder: Path) -> Path:
    """A new folder for one attempt, on the same file system as `folder`."""
    return Path(tempfile.mkdtemp(prefix="scratch-", dir=folder))


def attempt(folder: Path, scratch: Path, fetch: Fetch, names: Sequence[str], now: float) -> Metadata:
    """One attempt at one mirror: the newest set it serves for the images `names`, and their latest index heads.

    `scratch` is an empty or absent folder, filled for `commit`, gone after a failure; `folder` stays untouched.
    `now` is the system clock, in Unix time.  Raises PeerError (Untrusted, Expired, Missing, Unreachable) about this
    mirror; LocalError about this machine; InputError where one of `names` cannot name an image.
    """
    for name in names:
        check_name(name)
    try:
        return _attempt(folder, scratch, fetch, names, now)
    except BaseException as error:
        shutil.rmtree(scratch, ignore_errors=True)
        if isinstance(error, OSError):
            raise _local(error, folder) from error
        raise


def _attempt(folder: Path, scratch: Path, fetch: Fetch, names: Sequence[str], now: float) -> Metadata:
    with locked(folder, _BUSY, shared=True):
        initial = (folder / "initial.json").read_bytes()
        _copy_current(folder, scratch)
    now = max(now, _clock(scratch))
    verified = _update(initial, scratch, fetch, names, now)
    metadata = verified.metadata(now)
    if metadata.expired:
        raise Expired(
            f"metadata: expired on {utc(metadata.expires):%Y-%m-%d %H:%M} UTC; the mirror is stale, the publisher "
            "must run `mirrornet resign`, or this machine's clock is wrong"
        )
    for name in names:
        if metadata.images.get(name):
            _fetch_head(scratch / "heads", metadata.latest(name), fetch, folder / "heads")
    write_whole(scratch / "clock", str(now).encode(), sync=False)
    return metadata


def _update(initial: bytes, scratch: Path, fetch: Fetch, names: Sequence[str], now: float) -> Verified:
    """Runs the Updater in `scratch` and reads what it left there."""
    adapter = Adapter(fetch)
    try:
        updater = Updater(str(scratch), "metadata", fetcher=adapter, config=_CONFIG, bootstrap=initial)
        trusted = updater._trusted_set  # its clock has no public door; see Decisions in __init__.py
        if not hasattr(trusted, "reference_time"):
            raise LocalError("this version of the package tuf is not known: pip install 'tuf<8'")
        trusted.reference_time = utc(now)
        updater.refresh()
        for name in names:
            updater.get_targetinfo(f"{name}/0/index")  # no such target: its role is loaded on the way
    except (LocalError, PeerError):
        raise
    except OSError as error:
        raise _local(error, scratch) from error
    except Exception as error:  # python-tuf raises many; hostile bytes provoke more
        if adapter.failure is not None and isinstance(error, exceptions.DownloadError):
            if isinstance(adapter.failure, Missing):
                raise Missing(f"{adapter.failure}; the mirror is half-copied, ask another") from None
            raise adapter.failure from None
        raise fault(error, adapter.path) from None
    return _read(initial, scratch, names)


def _read(initial: bytes, place: Path, names: Sequence[str]) -> Verified:
    """Verifies the set in `place`, with the roles of `names` that are there."""
    roots = [initial]
    while (path := place / "root_history" / f"{len(roots) + 1}.root.json").exists():
        roots.append(path.read_bytes())
    files = {name: place / f"{role_of(name)}.json" for name in names}
    return verify_set(
        roots,
        (place / "timestamp.json").read_bytes(),
        (place / "snapshot.json").read_bytes(),
        (place / "targets.json").read_bytes(),
        {name: path.read_bytes() for name, path in files.items() if path.exists()},
    )


def commit(folder: Path, scratch: Path) -> bool:
    """Makes what `attempt` left in `scratch` the folder's, by one rename; `scratch` is gone afterwards.

    False where the folder holds something newer by now.  Raises LocalError.
    """
    try:
        with locked(folder, _BUSY):
            initial = (folder / "initial.json").read_bytes()
            current = folder / "current"
            fresh = _read(initial, scratch, ())
            if current.exists():
                if not _may_replace(initial, current, scratch, fresh):
                    shutil.rmtree(scratch)
                    return False
                _merge_roles(current, scratch, fresh)
            (scratch / "base").unlink(missing_ok=True)
            _drop_revoked(scratch, fresh)
            _keep_heads(folder, scratch)
            number = 1 + max((int(p.name) for p in (folder / "sets").iterdir() if p.name.isdigit()), default=0)
            place = folder / "sets" / str(number)
            shutil.move(scratch, place)
            for path in place.iterdir():
                if path.is_file():
                    with path.open("rb") as file:
                        os.fsync(file.fileno())
            sync_folder(place)
            link = folder / f".current.{os.getpid()}"
            link.unlink(missing_ok=True)
            link.symlink_to(Path("sets") / str(number))
            link.rename(current)
            sync_folder(folder)
            _sweep(folder, place)
    except OSError as error:
        raise _local(error, folder) from error
    return True


def _may_replace(initial: bytes, current: Path, scratch: Path, fresh: Verified) -> bool:
    """Whether `fresh` may take the place of `current`.

    It was checked against the set it started from; where another commit came between, no part may be older than that.
    """
    base = scratch / "base"
    if base.exists() and base.read_text() == current.readlink().name:
        return True
    try:
        kept = _read(initial, current, ())
    except PeerError:
        return True  # damaged on this disk: what was verified just now replaces it
    return all(a >= b for a, b in zip(_versions(fresh), _versions(kept), strict=True))


def _versions(verified: Verified) -> tuple[int, int, int]:
    return verified.root.version, verified.timestamp.version, verified.snapshot.version


def _sweep(folder: Path, place: Path) -> None:
    """Removes sets that were replaced, and scratch folders of attempts that died a day ago or earlier."""
    for old in (folder / "sets").iterdir():
        if old != place:
            shutil.rmtree(old, ignore_errors=True)
    for scratch in folder.glob("scratch-*"):
        with contextlib.suppress(FileNotFoundError):  # its process is just done with it
            if scratch.stat().st_mtime < place.stat().st_mtime - 86400:
                shutil.rmtree(scratch, ignore_errors=True)


def _merge_roles(current: Path, scratch: Path, fresh: Verified) -> None:
    """Roles of images that another process verified meanwhile stay, where they are newer.

    Not those signed by a key that is the image's no longer: a thief's versions are the greatest.
    """
    for path in current.glob("image-*.json"):
        other = scratch / path.name
        if _is_revoked(path, fresh):
            continue
        if not other.exists() or _role_version(other) < _role_version(path):
            shutil.copy2(path, other)


def _drop_revoked(scratch: Path, fresh: Verified) -> None:
    """Roles of images not asked for go where their key is no longer the image's."""
    for path in scratch.glob("image-*.json"):
        if _is_revoked(path, fresh):
            path.unlink()


def _is_revoked(path: Path, fresh: Verified) -> bool:
    try:
        open_role(Targets, path.read_bytes(), fresh.targets, path.stem, path.name)
    except Untrusted:
        return True
    return False


def _role_version(path: Path) -> int:
    version = json.loads(path.read_bytes())["signed"]["version"]
    return int(version)


def load(folder: Path, names: Sequence[str], now: float) -> Metadata:
    """What was verified here before, expired or not (see Metadata.expired).

    Raises Missing where nothing was, or one of `names` was not; Untrusted where the folder was tampered with.
    """
    for name in names:
        check_name(name)
    try:
        with locked(folder, _BUSY, shared=True):
            if not (folder / "current").exists():
                raise Missing(f"{folder}: nothing was verified here yet; a mirror has to be reached once")
            verified = _read((folder / "initial.json").read_bytes(), folder / "current", names)
            now = max(now, _clock(folder / "current"))
    except FileNotFoundError as error:
        raise Missing(f"{error.filename}: nothing was verified here yet; a mirror has to be reached once") from None
    except OSError as error:
        raise _local(error, folder) from error
    metadata = verified.metadata(now)
    for name in names:
        if name in metadata.names and name not in metadata.images:
            raise Missing(f"{folder}: the image {name} was not verified here yet; a mirror has to be reached once")
    return metadata


def index_head(folder: Path, image: ImageVersion, fetch: Fetch | None) -> bytes:
    """The index head of `image`, verified, kept in the folder.  `fetch` None: only what is kept.

    Raises PeerError; Missing where it is not kept and may not be fetched; LocalError.
    """
    heads = folder / "heads"
    try:
        heads.mkdir(exist_ok=True)
        return _fetch_head(heads, image, fetch, heads)
    except OSError as error:
        raise _local(error, folder) from error


def _fetch_head(target: Path, image: ImageVersion, fetch: Fetch | None, kept: Path) -> bytes:
    name = image.index_hash.hex()
    for place in {kept, target}:
        if (place / name).exists():
            data = (place / name).read_bytes()
            if hashlib.sha256(data).digest() == image.index_hash:
                return data
    if fetch is None:
        raise Missing(f"the index of {image.name} version {image.version} is not kept here; a mirror has to be reached")
    what = image.index_path
    if image.index_length > MAX_HEAD:
        raise Untrusted(f"{what}: {image.index_length} bytes are more than an index may have")
    try:
        data = fetch(what, image.index_length)
    except PeerError:
        raise
    except Exception as error:
        raise Unreachable(f"{what}: {type(error).__name__}: {error}; ask another mirror") from None
    if len(data) != image.index_length or hashlib.sha256(data).digest() != image.index_hash:
        raise Untrusted(f"{what}: is not the index that was signed (swapped or half-copied); ask another mirror")
    head = Head.parse(data)
    if head.size != image.size or head.codec.name.lower() != image.codec:
        raise Untrusted(f"{what}: its size or codec is not what the signed metadata says; tell the publisher")
    target.mkdir(exist_ok=True)
    write_whole(target / name, data, sync=False)
    return data


def _keep_heads(folder: Path, scratch: Path) -> None:
    """Moves new heads to the folder, and drops those of versions that no role lists any more."""
    heads = folder / "heads"
    heads.mkdir(exist_ok=True)
    if (scratch / "heads").is_dir():
        for path in (scratch / "heads").iterdir():
            path.rename(heads / path.name)
        (scratch / "heads").rmdir()
    listed = b"".join(path.read_bytes() for path in scratch.glob("image-*.json"))
    for path in heads.iterdir():
        if path.name.encode() not in listed:
            path.unlink(missing_ok=True)


def _copy_current(folder: Path, scratch: Path) -> None:
    current = folder / "current"
    if current.exists():
        shutil.copytree(current, scratch, symlinks=True, dirs_exist_ok=True)
        (scratch / "base").write_text(current.readlink().name)
    else:
        scratch.mkdir(parents=True, exist_ok=True)


def _clock(place: Path) -> float:
    """The time stored in a set; 0 where there is none."""
    try:
        return float((place / "clock").read_text())
    except (FileNotFoundError, ValueError):
        return 0.0


def _local(error: OSError, folder: Path) -> LocalError:
    return LocalError(f"{error.filename or folder}: {error.strerror or error}; the trust folder must be writable")
