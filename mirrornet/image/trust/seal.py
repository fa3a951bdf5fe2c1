"""A seal: an Ed25519 signature over a few bytes, by somebody whose public key stands in a zone file.

Metadata is signed the way The Update Framework says (shelf.py).  This is for what name servers and vantages tell each
other: short-lived, often, and believed for no longer than a minute, so a key and a signature are all there is to it.
The public key is written `ed25519:` and 64 hexadecimal digits; the private one lies in a file as the publisher's keys
do (keyfiles.py), encrypted or in a token where the operator wants that.

What is signed begins with a word that says what it is (`context`), so that a signature for one purpose is worth
nothing for another, whoever uses one key twice.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from securesystemslib.signer import SSlibKey

from mirrornet.image.trust.keyfiles import new_key, open_key
from mirrornet.model.errors import InputError, LocalError

ALGORITHM: Final = "ed25519"
SIGNATURE: Final = 64  # octets (RFC 8032 5.1.6)


def public_text(key: bytes) -> str:
    """A public key of 32 octets as it is written in a zone file."""
    return f"{ALGORITHM}:{key.hex()}"


def genuine(key: bytes, context: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is that of the public key `key` (32 octets) over `message` in `context`."""
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, _framed(context, message))
    except (InvalidSignature, ValueError):
        return False
    return True


class Seal:
    """The private key in the file `path`.  Raises InputError where it cannot be read."""

    def __init__(self, path: Path, passphrase: bytes | None = None) -> None:
        self._signer = open_key(path, "vantage", passphrase)
        public = self._signer.public_key
        if not isinstance(public, SSlibKey) or public.scheme != ALGORITHM:
            raise InputError(f"{path}: not an Ed25519 key; `mirrornet keygen --vantage FILE` makes one")
        self.public = bytes.fromhex(public.keyval["public"])

    def sign(self, context: bytes, message: bytes) -> bytes:
        """64 octets.  Raises InputError or LocalError where the key lies in a token that fails."""
        return bytes.fromhex(self._signer.sign(_framed(context, message)).signature)


def make_seal(path: Path, passphrase: bytes | None) -> str:
    """A new key in the file `path`, mode 0600; its public half as text.

    Raises InputError where something is there already, LocalError where the folder cannot be written.
    """
    if path.exists():
        raise InputError(f"{path}: is there already, and would be lost; name another file, or move it away")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new_key(path, passphrase)
    except OSError as error:
        raise LocalError(f"{path}: {error.strerror or error}") from None
    return public_text(Seal(path, passphrase).public)


def _framed(context: bytes, message: bytes) -> bytes:
    return context + b"\0" + message
