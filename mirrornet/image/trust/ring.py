"""The keys opened so far: whoever signs asks here, and each key is opened once."""

from __future__ import annotations

from pathlib import Path

from securesystemslib.signer import CryptoSigner

from mirrornet.image.trust.keys import is_encrypted, key_path, load_key, new_key


class Ring:
    """The keys opened so far."""

    def __init__(self, keys: Path, passphrase: bytes | None) -> None:
        self._keys, self._passphrase = keys, passphrase
        self._open: dict[str, CryptoSigner] = {}

    def sign(self, role: str) -> CryptoSigner:
        """The signer of `role`.  Raises InputError."""
        if role not in self._open:
            self._open[role] = load_key(self._keys, role, self._passphrase)
        return self._open[role]

    def sign_or_make(self, role: str) -> CryptoSigner:
        """The same; a key that does not exist yet is made (that of a new image)."""
        path = key_path(self._keys, role)
        if role not in self._open and not path.exists():
            path.parent.mkdir(mode=0o700, exist_ok=True)
            self._open[role] = new_key(path, self._passphrase if is_encrypted(self._keys) else None)
        return self.sign(role)
