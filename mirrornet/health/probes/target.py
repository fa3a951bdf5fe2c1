"""Where a probe may go: one mirror, at one address, under one host name.

A mirror is a URL, not an address (model/zone.py).  What is asked for is `http://HOST:PORT/PATH`, but the connection
goes to the address under test, with Host and TLS name of the URL.  So a probe sees what a client of that address sees,
and what the name resolves to today does not matter.

Zone files are written by people and names resolve to what somebody else says, so a prober can be turned against its
own network.  Addresses that are not public are refused unless the zone names them: written under `addresses`, or as
the host of the URL.  A redirect stays on the host (model/url.py), and always goes to the same address.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from mirrornet.model.address import Address, bracketed, parse_address
from mirrornet.model.errors import Unreachable
from mirrornet.model.url import default_port, redirected
from mirrornet.model.zone import Mirror


@dataclass(frozen=True, slots=True)
class Target:
    """A URL to fetch at an address: what to connect to, and whom to ask for."""

    scheme: str
    host: str
    port: int
    path: str  # with the query, beginning with "/"
    address: Address

    @property
    def tls(self) -> bool:
        return self.scheme == "https"

    @property
    def literal_url(self) -> str:
        """The URL with the address in place of the host name."""
        return f"{self.scheme}://{bracketed(self.address)}:{self.port}{self.path}"

    @property
    def host_header(self) -> str:
        """The value of Host (RFC 9110 section 7.2): the port only where it is not the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == default_port(self.scheme) else f"{host}:{self.port}"


def target(url: str, address: Address) -> Target:
    """`url` at `address`.  Raises Unreachable where the URL is not one of http or https."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise Unreachable(f"{url!r} is not a URL: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Unreachable(f"{url!r} is not an http or https URL")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, parts.hostname.lower(), port or default_port(parts.scheme), path, address)


def under(base: str, path: str) -> str:
    """The URL of `path` (relative to the repository) under the repository's URL `base`."""
    return f"{base.rstrip('/')}/{path}"


def follow(current: Target, location: str) -> Target:
    """Where a redirect leads, at the same address.  Raises Unreachable where it leaves the host, or TLS."""
    try:
        url = redirected(f"{current.scheme}://{current.host_header}{current.path}", location)
    except ValueError as error:
        raise Unreachable(str(error)) from None
    return target(url, current.address)


def named(mirror: Mirror) -> tuple[Address, ...]:
    """The addresses the zone itself names for `mirror`: its `addresses`, else the literal in its URL, else none."""
    if mirror.addresses:
        return mirror.addresses
    try:
        return (parse_address(mirror.host),)
    except ValueError:
        return ()
