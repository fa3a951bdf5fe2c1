"""DNS Cookies: whoever returns the cookie we gave him is at the address he writes from (RFC 7873, RFC 9018).

A server cookie is 16 octets: version 1, three zero octets, the second in which it was made, and SipHash-2-4 of client
cookie, these eight octets and the client's address, under a secret.  All servers of a zone that share the secret know
each other's cookies, whatever program they are (RFC 9018 is interoperable: BIND, Knot, NSD, unbound).

The secrets are lines of a text file, 32 hexadecimal digits each; the first one makes cookies, all of them prove
cookies.  So a secret is rotated without a moment of doubt: append the new one on every server; then move it to the
front on every server; an hour later delete the old one (RFC 9018 section 5).

Pure: the second is an argument.  SipHash is the library siphashc's, 56 ns a cookie; Python's own hash() is SipHash-1-3
by now and under a key nobody can set.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from siphashc import siphash

FRESH: Final = 1800  # seconds: a valid cookie that is older is answered with a new one (RFC 9018 section 4.3)
LIFETIME: Final = 3600  # seconds: an older one is no longer valid (likewise)
AHEAD: Final = 300  # seconds that a sibling's clock may be ahead of ours (likewise)

_SECRET = re.compile(r"[0-9a-fA-F]{32}")
_VERSION: Final = b"\x01\0\0\0"


class Cookies:
    """Makes and proves cookies under `secrets` (16 octets each), of which the first is the current one."""

    __slots__ = ("_accepted", "_current")

    def __init__(self, secrets: Sequence[bytes]) -> None:
        """Raises ValueError where there is no secret, or one is not of 16 octets."""
        if not secrets or any(len(secret) != 16 for secret in secrets):
            raise ValueError("a cookie secret has 16 octets, and there must be one")
        self._current = secrets[0]
        self._accepted = tuple(secrets[1:])

    @property
    def current(self) -> bytes:
        """The secret that makes cookies, for the compiled step."""
        return self._current

    def reply(self, cookie: bytes, peer: bytes, now: int) -> tuple[bytes, bool]:
        """(data of the COOKIE option to send, whether `cookie` was valid) for the client at `peer`.

        `cookie`: the option's data as sent, 8 or 16 to 40 octets; `peer`: 4 or 16 packed octets; `now`: Unix seconds.
        """
        if len(cookie) == 24 and cookie[8] == 1:  # the reserved octets behind are hashed, not judged (RFC 9018 4.2)
            made = int.from_bytes(cookie[12:16], "big")
            age = (now - made + 0x80000000 & 0xFFFFFFFF) - 0x80000000  # serial numbers (RFC 1982), past 2106
            if -AHEAD <= age <= LIFETIME:
                message, proof = cookie[:16] + peer, int.from_bytes(cookie[16:], "little")
                if siphash(self._current, message) == proof:
                    return (cookie if age <= FRESH else self.make(cookie[:8], peer, now)), True
                if any(siphash(secret, message) == proof for secret in self._accepted):
                    return self.make(cookie[:8], peer, now), True
        return self.make(cookie[:8], peer, now), False

    def make(self, client: bytes, peer: bytes, now: int) -> bytes:
        """A fresh option's data: the 8 octets of the `client`, and our 16 (RFC 9018 section 4)."""
        head = client + _VERSION + (now & 0xFFFFFFFF).to_bytes(4, "big")
        return head + siphash(self._current, head + peer).to_bytes(8, "little")


def read_secrets(text: str) -> list[bytes]:
    """The secrets of a file's `text`: one a line, 32 hexadecimal digits; blank lines and # comments are left out.

    Raises ValueError with the line and what is wrong with it, never with the secret.
    """
    secrets = []
    for number, line in enumerate(text.splitlines(), 1):
        word = line.partition("#")[0].strip()
        if not word:
            continue
        if not _SECRET.fullmatch(word):
            raise ValueError(
                f"line {number} is not a cookie secret: write 32 hexadecimal digits (openssl rand -hex 16)"
            )
        secrets.append(bytes.fromhex(word))
    if not secrets:
        raise ValueError("no cookie secret in it: write 32 hexadecimal digits on a line (openssl rand -hex 16)")
    if len(set(secrets)) != len(secrets):
        raise ValueError("a cookie secret stands in it twice: delete one")
    return secrets
