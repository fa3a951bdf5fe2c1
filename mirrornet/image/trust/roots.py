"""The first root, from which all trust starts: a file, or what any mirror has if it matches a pin."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from mirrornet.image.fetch import Fetch
from mirrornet.image.trust.keys import pin_of, read_root
from mirrornet.image.trust.verify import open_root
from mirrornet.model.errors import InputError, Missing, Untrusted

ROOT_LIMIT: Final = 512_000  # bytes, python-tuf's own


def pin_in(text: str) -> str | None:
    """The pin that ROOT of a command line is, "sha256:hex"; None where it is the path of a file.  Raises InputError."""
    if not text.startswith("sha256:"):
        return None
    pin = text.lower()
    if len(pin) != 71 or set(pin[7:]) - set("0123456789abcdef"):
        raise InputError(f"{text}: a pin is sha256: and 64 hexadecimal digits, as `mirrornet keygen` prints it")
    return pin


def obtain_root(text: str, fetch: Fetch) -> bytes:
    """The first root that ROOT of a command line names: the path of a root.json, or "sha256:HEX".

    For a pin, metadata/1.root.json comes from the mirror and must match it.  Raises InputError, PeerError.
    """
    if (wanted := pin_in(text)) is not None:
        try:
            data = fetch("metadata/1.root.json", ROOT_LIMIT)
        except Missing as error:
            raise Missing(f"{error}; is that the URL of a repository?") from None
        if pin_of(data) != wanted:
            raise Untrusted(
                f"metadata/1.root.json: is {pin_of(data)[:23]}…, the pin says {wanted[:23]}…; "
                "the mirror serves another repository, or the pin is wrong"
            )
        open_root(data)
        return data
    return read_root(Path(text))
