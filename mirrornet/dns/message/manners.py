"""How a server treats its askers beside the answers: cookies, limit, certificate; read from files, and again when they
change.

`Manners` is what the supervisor tells a worker: names of files, never secrets, for a process's arguments can be read by
everybody.  `Keeper` holds what is made of them.  It looks at its files once a second; a file that has changed and is
sound takes effect at once, one that is not is told of in one line, and what it was before stays in force.  So a cookie
secret is rotated, and a certificate renewed, without a restart (RFC 9018 section 5).

Rejected: secrets through a pipe from the supervisor (a worker that is replaced would have to ask again), inotify (a
stat a second costs nothing and sees every file system).
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from time import time

from mirrornet.dns.message.cookies import Cookies, read_secrets
from mirrornet.dns.message.gate import Gate
from mirrornet.dns.message.rate import Limiter
from mirrornet.model.errors import InputError

LOOK_EVERY = 1.0  # seconds between looks at the files


@dataclass(frozen=True, slots=True)
class Manners:
    """`nsid` as in RFC 5001; `cookies`, `certificate`, `key`: files, empty for none.

    `rate`: replies a second to one network; 0: no limit.
    """

    nsid: str = ""
    cookies: str = ""
    rate: float = 0.0
    certificate: str = ""
    key: str = ""


class Keeper:
    """`gate` and `tls` (None without a certificate) as the files say; `look` keeps them so."""

    def __init__(self, manners: Manners, say: Callable[[str], None] | None = None) -> None:
        """Reads the files.  `say` takes a line for the operator; without it InputError is raised where one is wrong.

        A worker has it: one that is replaced while a file is being written must answer all the same.
        """
        self.manners = manners
        self._say = say
        self._seen: dict[str, tuple[int, int, int]] = {}
        self._next = 0.0
        limiter = Limiter(manners.rate, os.urandom(16)) if manners.rate else None
        self.gate = Gate(limiter=limiter, now=time())
        self.tls: ssl.SSLContext | None = None
        if manners.certificate:
            self.tls = tls_context()
        self._note()
        for read in (self._read_cookies, self._read_certificate):
            try:
                read()
            except InputError as error:
                if say is None:
                    raise
                say(f"{error}; it is left out")

    def look(self) -> None:
        """Sets the gate's clock, and once a second looks whether a file has changed."""
        now = self.gate.now = time()
        if 0 <= self._next - now <= LOOK_EVERY:
            return
        self._next = now + LOOK_EVERY
        changed = self._note()
        for files, read in (
            ({self.manners.cookies}, self._read_cookies),
            ({self.manners.certificate, self.manners.key}, self._read_certificate),
        ):
            if changed & files:
                try:
                    read()
                except InputError as error:
                    (self._say or print)(f"{error}; what it said before stays in force")

    def _note(self) -> set[str]:
        """The files that are not as they were at the last look."""
        changed = set()
        for name in {self.manners.cookies, self.manners.certificate, self.manners.key} - {""}:
            try:
                found = Path(name).stat()
                state = (found.st_mtime_ns, found.st_size, found.st_ino)
            except OSError:
                state = (0, 0, 0)
            if self._seen.get(name) != state:
                self._seen[name] = state
                changed.add(name)
        return changed

    def _read_cookies(self) -> None:
        name = self.manners.cookies
        if not name:
            return
        try:
            self.gate.cookies = Cookies(read_secrets(Path(name).read_text(encoding="ascii", errors="replace")))
        except (OSError, ValueError) as error:
            raise InputError(f"{name}: {getattr(error, 'strerror', None) or error}") from None

    def _read_certificate(self) -> None:
        if self.tls is None:
            return
        files = self.manners.certificate, self.manners.key
        try:
            tls_context().load_cert_chain(*files, password=_no_passphrase)  # half a change must not reach the real one
            self.tls.load_cert_chain(*files, password=_no_passphrase)
        except (OSError, ValueError) as error:  # an ssl.SSLError is an OSError
            missing = next((name for name in files if not Path(name).is_file()), "")
            what = f"{missing}: there is no such file" if missing else f"{files[0]} and {files[1]}: {_plain(error)}"
            raise InputError(what) from None


def tls_context() -> ssl.SSLContext:
    """What DNS over TLS is offered with: TLS 1.2 or newer, ALPN "dot" (RFC 7858 section 3.1, RFC 9103 section 7.1)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["dot"])
    return context


def _no_passphrase() -> str:
    raise ValueError("the key wants a passphrase, and a server has nobody to ask: store it without one")


def _plain(error: Exception) -> str:
    reason = getattr(error, "reason", None)
    if reason == "KEY_VALUES_MISMATCH":
        return "the key is not this certificate's"
    if isinstance(error, ssl.SSLError):
        return "this is not a certificate and its private key in PEM form"
    return str(getattr(error, "strerror", None) or error)
