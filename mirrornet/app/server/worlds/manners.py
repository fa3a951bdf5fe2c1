"""From `server:` in a zone file to what workers are told (dns/message/manners.py): every file is proven before a start.

Without `cookies: FILE` the server makes a secret of its own, kept in the state folder, so that a restart does not
forget the cookies it gave.  Whoever runs several servers at one address (anycast) names a file that all of them have.

A limit is for the whole server.  The kernel deals an asker's queries out among the workers by his port, which a
resolver and a flood both vary, so each worker takes its share of the limit.

The key of `share` is proven here, too, so that `check` says whose it is not.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from mirrornet.dns.message.manners import Keeper, Manners
from mirrornet.image.small import KEY_LIMIT, read_small
from mirrornet.model.errors import InputError, LocalError
from mirrornet.model.problem import Problem
from mirrornet.model.zone import ServerSettings

COOKIES: Final = "cookies"  # the file in the state folder


def faults(settings: ServerSettings, zone_file: Path) -> list[Problem]:
    """What is wrong inside the files that `server:` names in `zone_file`; that one is missing is told with its line."""
    tls = settings.tls
    found = []
    for manners in (
        Manners(cookies=str(settings.cookies or "")),
        Manners(certificate=str(tls.certificate if tls else ""), key=str(tls.key if tls else "")),
    ):
        if not all(Path(file).exists() for file in (manners.cookies, manners.certificate, manners.key) if file):
            continue
        try:
            Keeper(manners)
        except InputError as error:
            found.append(Problem(str(zone_file), 0, str(error)))
    if why := _whose_key(settings):
        found.append(Problem(str(zone_file), 0, why))
    return found


def _whose_key(settings: ServerSettings) -> str:
    """What is wrong with the key of `share`, "" for nothing; of one with a passphrase only a start can tell."""
    path = settings.share.key if settings.share else None
    if path is None:
        return ""
    from mirrornet.image.trust.seal import Seal, public_text  # cryptography is for those who share

    try:
        if b"ENCRYPTED" in read_small(path, KEY_LIMIT):
            return ""
        public = Seal(path).public
    except InputError as error:
        return str(error)
    except OSError:  # said where the zone file is proven
        return ""
    if any(vantage.key == public for vantage in settings.vantages):
        return ""
    return f"{path}: is nobody's key: list it under `server: vantages` ({public_text(public)})"


def manners_of(settings: ServerSettings | None, state: Path, workers: int) -> Manners:
    """What `workers` processes are told.  Raises InputError (a file is wrong) or LocalError (the state folder)."""
    settings = settings or ServerSettings()
    tls = settings.tls
    manners = Manners(
        nsid=settings.nsid,
        cookies=str((settings.cookies or _own_cookies(state)).absolute()),
        rate=settings.rate_limit / workers,
        certificate=str(tls.certificate.absolute()) if tls else "",
        key=str(tls.key.absolute()) if tls else "",
    )
    Keeper(manners)  # raises what is wrong
    return manners


def _own_cookies(state: Path) -> Path:
    """The secret in the state folder; a new one where there is none."""
    path = state / COOKIES
    try:
        state.mkdir(parents=True, exist_ok=True)
        if path.exists():
            return path
        own = path.with_name(f".{COOKIES}.{os.getpid()}")
        own.unlink(missing_ok=True)
        with os.fdopen(os.open(own, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{secrets.token_hex(16)}\n")
        own.rename(path)  # whole or absent; of two that start at once the last one's counts for both
    except OSError as error:
        raise LocalError(f"{path}: {error.strerror or error}: the state folder must be writable") from error
    return path
