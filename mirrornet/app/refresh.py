"""`mirrornet refresh`: the newest version of an image, upgraded by its own package manager, checked, published.

    newest version → a sparse copy → its upgrade, in namespaces → the check → publish → what changed

The repository is read at the beginning and written by `publish` at the end; in between, and whenever something goes
wrong, nothing has happened to it.  The copy lies in the state folder and goes in every case; that of a killed run goes
when the next one begins.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirrornet.image.contents.changes import Changes, changes
from mirrornet.image.contents.chroot import run_inside
from mirrornet.image.contents.partitions import Partition
from mirrornet.image.contents.sbom import Contents, contents_at, ranked
from mirrornet.image.fetch import file_fetch
from mirrornet.image.files import locked
from mirrornet.image.publishing.attach import Gathered, gather
from mirrornet.image.publishing.boot import Content, Inside
from mirrornet.image.publishing.export import export
from mirrornet.image.publishing.listing import listed, shelf_of
from mirrornet.image.publishing.publish import PublishReport, publish
from mirrornet.image.trust.ring import Ring
from mirrornet.image.trust.versions import ImageVersion, role_of
from mirrornet.model.errors import InputError, LocalError

Progress = Callable[[int, int], None]
# By the kind of the packages: what brings all of them up to date, and leaves no archives behind.
UPGRADE: Final = {
    "deb": "apt-get update && apt-get -y -o Dpkg::Options::=--force-confold dist-upgrade && apt-get clean",
    "apk": "apk update && apk upgrade && rm -rf /var/cache/apk/*",
    "rpm": "dnf -y upgrade && dnf clean all",
}
_INSIDE: Final = {"DEBIAN_FRONTEND": "noninteractive", "APT_LISTCHANGES_FRONTEND": "none", "NEEDRESTART_MODE": "l"}


@dataclass(frozen=True, slots=True)
class RefreshReport:
    """`before`: the version it began with.  `published`: None where no package changed.  `trimmed`: whether freed
    space was left out.  `warnings`: what a person should look after."""

    before: int
    changes: Changes
    published: PublishReport | None
    trimmed: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Order:
    """The command line.  `command` empty: the image's own package manager.  `check`: a shell command, or "".

    `clock`: Unix time; it is read again when the work is done.
    """

    name: str
    repo: Path
    keys: Path
    command: tuple[str, ...]
    check: str
    clock: Callable[[], float]
    passphrase: bytes | None = None
    progress: Progress | None = None


def refresh(order: Order, state: Path) -> RefreshReport:
    """Refreshes the image, working in a folder below `state`.

    The check gets the image as $IMAGE, and as $KERNEL, $INITRD and $CMDLINE what starts it, where something will be
    signed with it; unless it succeeds, nothing is published.  Raises InputError, LocalError.
    """
    if os.geteuid() != 0:
        raise LocalError("refresh needs root, since it mounts the image: run it with sudo")
    version = listed(order.repo, order.clock()).latest(order.name)
    ring = Ring(order.keys, order.passphrase)  # a wrong passphrase must not end an hour's work
    shelf_of(order.repo, order.clock()).check_keys([role_of(order.name), "snapshot", "timestamp"], ring.sign)
    work = state / "refresh" / order.name
    try:
        work.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(work, f"another refresh of {order.name} is at work", wait=0.0):
            _empty(work)
            try:
                return _refresh(order, version, work)
            finally:
                _empty(work)
    except OSError as error:
        raise LocalError(f"{error.filename or work}: {error.strerror}; nothing was published") from error


def _refresh(order: Order, version: ImageVersion, work: Path) -> RefreshReport:
    image = work / "image.raw"
    export(order.repo, order.name, image, "raw", version=version.version, now=order.clock(), progress=order.progress)
    partition, before = _root(image)
    kind = before[1][0].kind if before is not None else ""
    if not order.command and kind not in UPGRADE:
        raise InputError(f"{order.name}: its package manager is not known; say what to run: -- COMMAND")
    command = order.command or ("/bin/sh", "-c", UPGRADE[kind])
    done = run_inside(image, partition, work, command, _INSIDE)
    if done.code != 0:
        raise LocalError(f"{' '.join(command)[:80]}: exit code {done.code}, in the image; nothing was published")
    warnings = [] if done.trimmed else ["freed space could not be punched out, so it is published as it is"]
    after = contents_at(image, partition)
    changed = changes(before[1] if before else (), after[1] if after else ())
    if before is not None and not changed and not order.command:
        return RefreshReport(version.version, changed, None, done.trimmed, tuple(warnings))
    attached = _beside(order.repo, version)
    if order.check:
        _check(order.check, image, order.name, {each.kind: each for each in gather(image, work, attached)})
    report = publish(
        image,
        order.name,
        order.repo,
        order.keys,
        attached=attached,
        now=order.clock(),
        passphrase=order.passphrase,
        progress=order.progress,
    )
    warnings += report.warnings
    if report.lost:
        warnings.append(f"version {version.version} has {', '.join(report.lost)} beside it, and the new one has not")
    return RefreshReport(version.version, changed, report, done.trimmed, tuple(warnings))


def _root(image: Path) -> tuple[Partition, Contents | None]:
    """The root file system and its list of packages.  Raises InputError."""
    found = ranked(image)
    if not found:
        raise InputError("the image has no ext2, 3 or 4 file system, so there is nothing that could be upgraded here")
    return found[0]


def _check(command: str, image: Path, name: str, beside: Mapping[str, Gathered]) -> None:
    """Raises LocalError unless the check succeeds.  `beside`: what will be signed with the image, by kind."""
    environment = {**os.environ, "IMAGE": str(image), "NAME": name}
    for kind, variable in (("kernel", "KERNEL"), ("initrd", "INITRD")):
        environment[variable] = str(beside[kind].file) if kind in beside else ""
    environment["CMDLINE"] = beside["cmdline"].file.read_text() if "cmdline" in beside else ""
    process = subprocess.Popen(["/bin/sh", "-c", command], stdout=sys.stderr.fileno(), env=environment)
    try:
        code = process.wait()
    finally:
        process.kill()
        process.wait()
    if code != 0:
        raise LocalError(f"the check `{command[:80]}` ended with exit code {code}; nothing was published")


def _beside(repo: Path, version: ImageVersion) -> dict[str, Content]:
    """What starts `version`, carried over to the next one; its boot's profile `publish` carries itself.

    The command line; a kernel and an initrd that the image itself has, from where they were taken.  Others would not
    fit the image's modules, so they are left out.  Raises PeerError.
    """
    attached: dict[str, Content] = {}
    for each in version.attached:
        if each.inside:
            attached[each.kind] = Inside(each.inside)
        elif each.kind == "cmdline":
            data = file_fetch(repo)(each.path, each.length)
            if hashlib.sha256(data).digest() != each.hash:
                raise LocalError(f"{repo / each.path}: is damaged; copy it from a mirror")
            attached[each.kind] = data
    return attached


def _empty(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
