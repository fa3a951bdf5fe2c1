"""SOURCE as a person writes it, and a mirror as the client dials it.

SOURCE is one word: a select name (`select.inetboot.net`), whose mirrors DNS gives, or repository URLs joined by
commas, whose mirrors are those.  The two are told apart by `://` alone, so that a typing error in a URL is never
taken for a name.

An `Endpoint` is a mirror (a URL) together with the addresses to dial.  They are two things: the Host header and the
TLS name come from the URL, the addresses from `<mirror>.<select name>`, so that ten virtual hosts behind one address,
and one URL served by ten addresses, both work.

Which addresses may be dialled.  A name server is not trusted, and a client that fetches whatever it says can be sent
to a printer, a cloud's metadata service or its own ports.  Hence: an address that is not public (loopback,
link-local, private, unspecified, multicast) is dialled only where the person at the command line named it: as a URL
of SOURCE, or by giving `--resolver` an address that is itself not public, which says "this network is mine".
Rejected: a switch that allows everything, since it would be copied from one howto to the next.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from mirrornet.model.address import fold, is_public, parse_address
from mirrornet.model.errors import InputError

SCHEMES = ("http", "https", "file")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.IGNORECASE)
DEFAULT_DNS_PORT = 53


@dataclass(frozen=True, slots=True)
class SelectName:
    """A balanced name; lower case, without the final dot."""

    name: str


@dataclass(frozen=True, slots=True)
class Urls:
    """Repository URLs, without a slash at their end, in the order written."""

    urls: tuple[str, ...]


Source = SelectName | Urls


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A mirror and where to dial it.

    `name`: what it is called in `status` and in blame.  `addresses`: IP literals to dial; empty: resolve the URL's
    own host.  `rank`: place in the list DNS gave, 0 first.  `allow_local`: whether addresses that are not public may
    be dialled.
    """

    name: str
    url: str
    addresses: tuple[str, ...] = ()
    rank: int = 0
    allow_local: bool = False

    @property
    def dialled(self) -> tuple[str, tuple[str, ...], bool]:
        """What decides where connections go: two endpoints of which this is equal may share them."""
        return self.url, self.addresses, self.allow_local

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    def __str__(self) -> str:
        return f"{self.name} ({self.url})"


def parse_source(text: str) -> Source:
    """What the word SOURCE means.  Raises InputError with what was expected."""
    word = text.strip()
    if not word:
        raise InputError("SOURCE is empty: give a select name, or repository URLs joined by commas")
    if "://" in word:
        return Urls(tuple(dict.fromkeys(parse_url(part) for part in word.split(","))))
    name = word.rstrip(".").lower()
    if "/" in word or "," in word or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        raise InputError(
            f"{text!r} is neither a select name nor a URL: write select.example.net, http://host/path or file:///folder"
        )
    if len(name) > 200:  # room for _http._tcp.<mirror>. within the 255 octets of RFC 1035 section 2.3.4
        raise InputError(f"the select name {name[:40]}… is longer than 200 characters")
    return SelectName(name)


def parse_url(text: str) -> str:
    """One repository URL, without fragment, query and final slash.  Raises InputError."""
    word = text.strip()
    try:
        parts = urlsplit(word)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise InputError(f"{word!r} is not a URL: {error}") from None
    if parts.scheme not in SCHEMES:
        raise InputError(f"{word!r} is not a repository URL: it starts with http://, https:// or file://")
    if parts.query or parts.username or parts.password:
        plain = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()  # a log is no place for it
        raise InputError(f"{plain!r}: a repository URL has no query and no password")
    if parts.scheme == "file":
        if host or not parts.path.startswith("/"):
            raise InputError(f"{word!r}: write file:///absolute/path")
    elif not host:
        raise InputError(f"{word!r} names no host")
    return parts._replace(fragment="").geturl().rstrip("/")


def split_target(text: str) -> tuple[str, str]:
    """(url, mirror) of a URI record's target `url#mirror` (RFC 7553); without a fragment the host names the mirror.

    Raises InputError where it is not an http or https URL.
    """
    url, _, mirror = text.partition("#")
    parsed = parse_url(url)
    if parsed.startswith("file:"):
        raise InputError(f"{text!r}: a name server may not name a file of this machine")
    if mirror and not all(_LABEL.fullmatch(label) for label in mirror.split(".")):
        raise InputError(f"{text!r}: {mirror!r} is not a mirror's name")
    return parsed, mirror.lower() or urlsplit(parsed).netloc


def endpoints_of(urls: Urls) -> tuple[Endpoint, ...]:
    """The mirrors that SOURCE names itself; each is called by its host and port, or its URL where two would collide."""
    names = [urlsplit(url).netloc or url for url in urls.urls]
    return tuple(
        Endpoint(name if names.count(name) == 1 else url, url, rank=rank, allow_local=True)
        for rank, (name, url) in enumerate(zip(names, urls.urls, strict=True))
    )


def permitted(addresses: Iterable[str], allow_local: bool) -> tuple[str, ...]:
    """Those of `addresses` (IP literals) that may be dialled; what is no address is left out.

    Link-local addresses never are: no mirror has one, and 169.254.169.254 is where clouds keep their secrets.
    """
    kept = []
    for text in addresses:
        try:
            address = parse_address(text)
        except ValueError:
            continue
        if is_public(address) or (allow_local and not fold(address).is_link_local):
            kept.append(text)
    return tuple(dict.fromkeys(kept))


def parse_resolver(text: str) -> tuple[str, int]:
    """(address, port) of `--resolver ADDR[:PORT]`; an IPv6 address with a port is bracketed.  Raises InputError."""
    word = text.strip()
    try:
        if word.startswith("["):
            host, bracket, rest = word[1:].partition("]")
            if not bracket or (rest and not rest.startswith(":")):
                raise ValueError
            port = rest.removeprefix(":")
        elif word.count(":") == 1:
            host, port = word.split(":")
        else:
            host, port = word, ""
        parse_address(host)
        number = int(port) if port else DEFAULT_DNS_PORT
        if not 0 < number < 65536:
            raise ValueError
    except ValueError:
        raise InputError(f"{text!r} is not ADDR:PORT: write 192.0.2.53, 127.0.0.1:5300 or [2001:db8::53]:53") from None
    return host, number
