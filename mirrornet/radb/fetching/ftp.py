"""Bodies by ftp (RFC 959, passive), which is where RADB and most registries put their dumps.

A path is walked folder by folder, as RFC 1738 section 3.2.2 has it; `anonymous` logs in where the URL names nobody.
SIZE and MDTM (RFC 3659) tell the edition, REST goes on where a transfer broke off; a server that knows none of these
still works, it only cannot be resumed by offset.
"""

from __future__ import annotations

import ftplib
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Final
from urllib.parse import unquote, urlsplit

from mirrornet.model.errors import InputError, Missing, Unreachable
from mirrornet.model.units import format_duration
from mirrornet.radb.fetching.http import innermost
from mirrornet.radb.fetching.limits import PORTION, Body, Broken, Changed, Limits, Version

_FAULTS: Final[tuple[type[Exception], ...]] = (*ftplib.all_errors, UnicodeError)


class FtpFile:
    """One file on a server.  `name`: the URL without a password.  `version` is known after the first open()."""

    def __init__(self, url: str, name: str, limits: Limits) -> None:
        self.version = Version()
        self.total: int | None = None
        self._name, self._limits = name, limits
        self._ftp: ftplib.FTP | None = None
        self._data: socket.socket | None = None
        try:
            parts = urlsplit(url)
            self._host, self._port = parts.hostname or "", parts.port or ftplib.FTP_PORT
        except ValueError as error:
            raise InputError(f"{name}: not a URL: {error}") from None
        self._user, self._password = unquote(parts.username or ""), unquote(parts.password or "")
        path = parts.path.lstrip("/").partition(";type=")[0]
        *self._folders, self._file = [unquote(part) for part in path.split("/")]
        if not self._host or not self._file or any(set("\r\n") & set(part) for part in (*self._folders, self._file)):
            raise InputError(f"{name}: not a URL of a file: expected ftp://host/folder/file")

    def close(self) -> None:
        for one in (self._data, self._ftp):
            if one is not None:
                with suppress(OSError):
                    one.close()
        self._data = self._ftp = None

    def open(self) -> Body:
        """The body from its beginning.  Raises Missing, Unreachable."""
        try:
            return self._retrieve(0)
        except _FAULTS as error:
            raise self._error(error) from None

    def reopen(self, start: int) -> Body:
        """The body from `start`, or from the beginning where the server cannot.  Raises Broken, Changed, Missing."""
        before = self.version
        try:
            body = self._retrieve(start)
        except _FAULTS as error:
            fault = self._error(error)
            if isinstance(fault, Missing):
                raise fault from None
            raise Broken(str(fault).removeprefix(f"{self._name}: ")) from None
        if self.version != before:
            raise Changed(f"{self._name}: the file changed while it was fetched: fetch it again")
        return body

    def unchanged(self, known: Version) -> bool:
        """Whether the server still has the edition `known`; False where it cannot say, or cannot be reached."""
        if not known.modified or known.size is None:
            return False
        try:
            self._enter()
        except _FAULTS:
            return False
        return self.version == known

    def _enter(self) -> ftplib.FTP:
        """A connection in the file's folder, and the file's version."""
        self.close()
        self._ftp = ftp = ftplib.FTP(timeout=self._limits.connect)
        ftp.connect(self._host, self._port)
        if ftp.sock is not None:
            ftp.sock.settimeout(self._limits.read)
        ftp.login(self._user, self._password)
        for folder in self._folders:
            if folder:
                ftp.cwd(folder)
        ftp.voidcmd("TYPE I")
        size, modified = None, ""
        with suppress(ftplib.error_perm, ftplib.error_reply, ValueError):
            size = ftp.size(self._file)
        with suppress(ftplib.error_perm, ftplib.error_reply):
            modified = ftp.sendcmd(f"MDTM {self._file}").partition(" ")[2].strip()[:32]
        self.version = Version("", modified, size)
        return ftp

    def _retrieve(self, start: int) -> Body:
        ftp = self._enter()
        if start and (self.version.size is None or not self.version.modified):
            start = 0  # who cannot name the edition is read again and held to the checksum
        try:
            data, said = ftp.ntransfercmd(f"RETR {self._file}", rest=start or None)
        except (ftplib.error_perm, ftplib.error_reply) as error:
            if not start or str(error)[:3] == "550":
                raise
            start = 0
            data, said = ftp.ntransfercmd(f"RETR {self._file}")
        data.settimeout(self._limits.read)
        self._data = data
        if self.version.size is not None:
            self.total = self.version.size
        elif said is not None and not start:
            self.total = said
        return Body(start, self._portions(ftp, data, start))

    def _portions(self, ftp: ftplib.FTP, data: socket.socket, received: int) -> Iterator[bytes]:
        try:
            while portion := data.recv(PORTION):
                received += len(portion)
                yield portion
        except OSError as error:
            raise Broken(f"the transfer broke off: {innermost(error)}") from None
        data.close()
        if self.total is not None and received < self.total:
            raise Broken(f"the connection ended {self.total - received:,} bytes too early")
        try:
            ftp.voidresp()  # 226; a server that cannot read its own file says so here
        except ftplib.all_errors as error:
            if self.total is None:
                raise Broken(f"the server did not confirm that this is all: {innermost(error)}") from None

    def _error(self, error: BaseException) -> Missing | Unreachable:
        text = str(error)
        if text.startswith("550"):
            return Missing(f"{self._name}: the server does not have this: check the URL")
        if isinstance(error, TimeoutError):
            return Unreachable(f"{self._name}: no answer within {format_duration(self._limits.connect)}")
        return Unreachable(f"{self._name}: cannot be fetched: {innermost(error) or type(error).__name__}")
