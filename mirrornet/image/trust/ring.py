"""The keys at hand: whoever signs asks here, and each key is opened once.

Keys may lie in several folders: daily ones on the publishing machine, offline ones on a stick that is brought for a
rotation.  Which of them count is for the signed metadata to say.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from securesystemslib.signer import Signer

from mirrornet.image.trust.keyfiles import import_key, is_encrypted, key_files, key_path, new_key, open_key, unused_path
from mirrornet.model.errors import InputError

Folders = Sequence[tuple[Path, bytes | None]]  # of keys, each with its passphrase


class Ring:
    """The keys opened so far, of the folder `keys` and the folders `also`, each with its passphrase."""

    def __init__(self, keys: Path, passphrase: bytes | None, also: Folders = ()) -> None:
        self._keys, self._passphrase = keys, passphrase
        self._folders = ((keys, passphrase), *also)
        self._open: dict[str, dict[Path, Signer]] = {}

    def files(self, role: str) -> dict[Path, Signer]:
        """The keys of `role` by file; one that cannot be opened is left out where another can.

        Raises InputError where none is here, or none can be opened.
        """
        if role not in self._open:
            found: dict[Path, Signer] = {}
            fault: InputError | None = None
            for folder, passphrase in self._folders:
                for path in key_files(folder, role):
                    try:
                        found[path] = open_key(path, role, passphrase)
                    except InputError as error:
                        fault = fault or error
            if fault and not found:
                raise fault
            if not found:
                open_key(key_path(self._keys, role), role, self._passphrase)  # tells that it is not here
            self._open[role] = found
        return self._open[role]

    def sign(self, role: str) -> Sequence[Signer]:
        """The signers of `role` that are here.  Raises InputError where there is none."""
        return tuple(self.files(role).values())

    def sign_or_make(self, role: str) -> Sequence[Signer]:
        """The same; a key that does not exist yet is made (that of a new image)."""
        if role not in self._open and not any(key_files(folder, role) for folder, _ in self._folders):
            self.make(role)
        return self.sign(role)

    def make(self, role: str, uri: str = "") -> tuple[Path, Signer]:
        """One more key of `role` in the first folder: a new one, or that behind `uri`.  Raises InputError, OSError."""
        path = unused_path(self._keys, role, ".uri" if uri else ".pem")
        path.parent.mkdir(mode=0o700, exist_ok=True)
        if uri:
            signer = import_key(path, uri, self._passphrase)
        else:
            signer = new_key(path, self._passphrase if is_encrypted(self._keys) else None)
        with contextlib.suppress(InputError):
            self.files(role)[path] = signer
        self._open.setdefault(role, {path: signer})
        return path, signer
