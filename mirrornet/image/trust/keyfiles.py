"""Keys where they lie: a PEM file, or a line that says in which token or service the key is.

    KEYS/ROLE.pem         an Ed25519 key, PKCS #8, mode 0600, encrypted where there is a passphrase
    KEYS/ROLE.uri         a key that never leaves its token or service: its URI and its public half, as JSON
    KEYS/ROLE+2.pem …     more keys of that role; the keys of images lie in KEYS/images/, each under the image's name

What a file is called tells where to look for it and no more: whether its key counts is what the signed metadata says,
which name keys by their public half.  So a rotation that is killed halfway leaves a key too many, never one too few.

URIs are securesystemslib's: `hsm:` (PKCS#11; the module in PYKCS11LIB), `awskms:`, `gcpkms:`, `azurekms:`, `hv:`
(HashiCorp Vault), and `file:` for a PEM file that lies elsewhere.  A token's PIN comes from MIRRORNET_PIN: never from
an argument, which other users of the machine could read.  securesystemslib reads encrypted PEM files by no URI, hence
`load_pem_private_key` here.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from securesystemslib.signer import (
    AWSSigner,
    AzureSigner,
    CryptoSigner,
    GCPSigner,
    HSMSigner,
    Key,
    Signature,
    Signer,
    SSlibKey,
    VaultSigner,
)

from mirrornet.image.files import write_whole
from mirrornet.image.small import KEY_LIMIT, read_small
from mirrornet.model.errors import InputError, LocalError

SCHEMES: Final = ("file", "hsm", "awskms", "gcpkms", "azurekms", "hv")
_TOP: Final = ("root", "targets", "snapshot", "timestamp")
_SIGNERS: Final[dict[str, type[Signer]]] = {
    "hsm": HSMSigner, "awskms": AWSSigner, "gcpkms": GCPSigner, "azurekms": AzureSigner, "hv": VaultSigner,
}  # fmt: skip
_EXTRA: Final = {"hsm": "hsm", "awskms": "awskms", "gcpkms": "gcpkms", "azurekms": "azurekms", "hv": "vault"}


def key_path(keys: Path, role: str) -> Path:
    """The file of a role's first key; the role of an image is "image-NAME"."""
    return keys / "images" / f"{role.removeprefix('image-')}.pem" if role.startswith("image-") else keys / f"{role}.pem"


def key_files(keys: Path, role: str) -> list[Path]:
    """The files in which keys of `role` lie, the first one first."""
    first = key_path(keys, role)
    name = re.compile(rf"{re.escape(first.stem)}(?:\+([1-9][0-9]*))?\.(?:pem|uri)")
    try:
        found = [(int(match[1] or 1), path) for path in first.parent.iterdir() if (match := name.fullmatch(path.name))]
    except OSError:  # no such folder: no keys, which whoever asks reports by role
        return []
    return [path for _, path in sorted(found)]


def number_of(path: Path) -> int:
    """Which key of its role a file is by its name; the first is 1."""
    number = path.stem.partition("+")[2]
    return int(number) if number else 1


def unused_path(keys: Path, role: str, suffix: str = ".pem") -> Path:
    """A name for one more key of `role`."""
    first = key_path(keys, role)
    taken = {path.stem for path in key_files(keys, role)}
    stems = (first.stem if number == 1 else f"{first.stem}+{number}" for number in range(1, len(taken) + 2))
    return first.with_name(next(stem for stem in stems if stem not in taken) + suffix)


def new_key(path: Path, passphrase: bytes | None) -> CryptoSigner:
    """A new Ed25519 key in the file `path`, mode 0600, encrypted where there is a passphrase."""
    private = Ed25519PrivateKey.generate()
    how: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    write_whole(path, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how), mode=0o600)
    return CryptoSigner(private)


def open_key(path: Path, role: str, passphrase: bytes | None) -> Signer:
    """The signer of `role` in the file `path`.

    Raises InputError: it is missing, unreadable, asks for another passphrase, or names a signer that is not here.
    """
    try:
        data = read_small(path, KEY_LIMIT)
    except FileNotFoundError:
        if role == "vantage":
            raise InputError(f"{path}: is not here; `mirrornet keygen --vantage FILE` makes such a key") from None
        away = ", or name the folder where it is kept with --also DIR" if role in ("root", "targets") else ""
        raise InputError(f"{path}: the key of the role {role} is not here; bring it{away}") from None
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    return _open_uri(path, data, passphrase) if path.suffix == ".uri" else _open_pem(path, data, passphrase)


def _open_pem(path: Path, pem: bytes, passphrase: bytes | None) -> CryptoSigner:
    encrypted = b"ENCRYPTED" in pem
    if encrypted and not passphrase:
        raise InputError(f"{path}: is encrypted; set MIRRORNET_PASSPHRASE, or run on a terminal to be asked")
    try:
        private = load_pem_private_key(pem, passphrase if encrypted else None)
    except (ValueError, TypeError):
        hint = "the passphrase is wrong, or the file is damaged" if encrypted else "not a PKCS #8 PEM key"
        raise InputError(f"{path}: {hint}") from None
    if not isinstance(private, Ed25519PrivateKey):
        raise InputError(f"{path}: not an Ed25519 key; `mirrornet keygen` makes them")
    return CryptoSigner(private, SSlibKey.from_crypto(private.public_key()))


def _open_uri(path: Path, data: bytes, passphrase: bytes | None) -> Signer:
    try:
        fields = json.loads(data)
        uri, keyid, public = str(fields["uri"]), str(fields["keyid"]), dict(fields["public"])
        key = Key.from_dict(keyid, public)
    except (ValueError, KeyError, TypeError):
        raise InputError(
            f"{path}: is no line about a key; `mirrornet keygen --key` and `rotate --key` write it"
        ) from None
    signer = _Guarded(uri, key, path, passphrase)
    signer.prepare()
    return signer


class _Guarded(Signer):
    """A signer behind a URI: opened when it first signs, and whatever goes wrong there is one line with its file."""

    def __init__(self, uri: str, key: Key, path: Path, passphrase: bytes | None) -> None:
        self._uri, self._key, self._path, self._passphrase = uri, key, path, passphrase
        self._signer: Signer | None = None

    @classmethod
    def from_priv_key_uri(cls, priv_key_uri: str, public_key: Key, secrets_handler: object = None) -> _Guarded:
        """securesystemslib's way to make one."""
        return cls(priv_key_uri, public_key, Path(priv_key_uri), None)

    @property
    def public_key(self) -> Key:
        """Its public half."""
        return self._key

    def prepare(self) -> None:
        """Finds out what can be known before the work: a file that is not there, a PIN that was not given."""
        scheme = self._uri.partition(":")[0]
        if scheme == "file":
            self._signer = self._opened()
        elif scheme == "hsm":
            _pin("pin")

    def _opened(self) -> Signer:
        scheme = self._uri.partition(":")[0]
        if scheme == "file":
            return open_key(Path(urlsplit(self._uri).path), self._path.stem, self._passphrase)
        if scheme not in _SIGNERS:
            raise InputError(f"{self._path}: there are no keys of the kind {scheme}: ({', '.join(SCHEMES)})")
        return _SIGNERS[scheme].from_priv_key_uri(self._uri, self._key, _pin)

    def sign(self, payload: bytes) -> Signature:
        """A signature of `payload`.  Raises InputError (a PIN, a key that is another), LocalError (the token)."""
        try:
            if self._signer is None:
                self._signer = self._opened()
            signature = self._signer.sign(payload)
        except (InputError, LocalError):
            raise
        except Exception as error:  # each service has exceptions of its own
            raise _outside(self._path, self._uri, error) from None
        if signature.keyid != self._key.keyid:
            raise InputError(f"{self._path}: {self._uri} holds another key now; use `mirrornet rotate` to take it")
        return signature


def import_key(path: Path, uri: str, passphrase: bytes | None) -> Signer:
    """Writes the file `path` (ending in .uri) about the key behind `uri`, and returns its signer.

    Raises InputError where the URI is none of ours or names no key, LocalError where its token or service fails.
    """
    scheme, _, rest = uri.partition(":")
    parts = urlsplit(uri)
    try:
        if scheme == "file":
            target = Path(parts.path).absolute()
            uri, key = f"file:{target}", open_key(target, path.stem, passphrase).public_key
        elif scheme == "hsm":
            number = int(parts.path) if parts.path else None
            uri, key = HSMSigner.import_(number, parse_qs(parts.query).get("label", [None])[0], _pin)
        elif scheme == "awskms":
            uri, key = AWSSigner.import_(rest)
        elif scheme == "gcpkms":
            uri, key = GCPSigner.import_(rest)
        elif scheme == "azurekms":
            vault, _, name = rest.strip("/").partition("/")
            uri, key = AzureSigner.import_(vault.partition(".")[0], name.removeprefix("keys/"))
        elif scheme == "hv":
            uri, key = VaultSigner.import_(rest)
        else:
            raise InputError(f"{uri}: there are no keys of the kind {scheme}: ({', '.join(SCHEMES)})")
    except (InputError, LocalError):
        raise
    except Exception as error:  # each service has exceptions of its own
        raise _outside(path, uri, error) from None
    fields = {"uri": uri, "keyid": key.keyid, "public": key.to_dict()}
    write_whole(path, json.dumps(fields, indent=1).encode() + b"\n", mode=0o600)
    return _Guarded(uri, key, path, passphrase)


def _outside(path: Path, uri: str, error: Exception) -> LocalError:
    """What went wrong in a token or service, as one line."""
    scheme = uri.partition(":")[0]
    if type(error).__name__ == "UnsupportedLibraryError":
        return LocalError(f"{path}: {error}; pip install 'securesystemslib[{_EXTRA.get(scheme, 'crypto')}]'")
    what = " ".join(str(error).split()) or type(error).__name__
    return LocalError(f"{path}: {uri} does not sign ({what}); is the token there, and its PIN in MIRRORNET_PIN?")


def _pin(what: str) -> str:
    """The PIN of a token."""
    pin = os.environ.get("MIRRORNET_PIN")
    if not pin:
        raise InputError(f"the token asks for its {what}; set MIRRORNET_PIN, or run on a terminal to be asked")
    return pin


def is_encrypted(keys: Path) -> bool:
    """Whether a passphrase will be needed for any of the top-level keys in the folder."""
    return any(_holds(path, b"ENCRYPTED") for role in _TOP for path in key_files(keys, role))


def wants_pin(keys: Path) -> bool:
    """Whether a key in the folder lies in a token that asks for a PIN."""
    return any(_holds(path, b'"hsm:') for path in (*keys.glob("*.uri"), *keys.glob("images/*.uri")))


def _holds(path: Path, what: bytes) -> bool:
    try:
        return what in read_small(path, KEY_LIMIT)
    except OSError:  # `open_key` says what is wrong with it
        return False
