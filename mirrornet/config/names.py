"""Names of a zone file: hosts, zones, mirrors, mailboxes, URLs.

Host names are what RFC 1035 section 2.3.1 and RFC 1123 section 2.1 allow: letters, digits and inner hyphens, labels of
63 at most, 253 in all, the last label not a number (it would read as an address).  They are kept in lower case without
the final dot.  A name in another script is refused with its A-label (RFC 5890), which is what DNS carries.

URLs are brought to one spelling, because whether a mirror serves under the select url is decided by comparing them:
scheme and host in lower case, no default port, and no final slash unless the path is "/".
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

from mirrornet.config.faults import Wrong, quote
from mirrornet.model.address import bracketed, parse_address
from mirrornet.model.url import default_port

URL_LENGTH: Final = 180  # octets; "PRIORITY URL#MIRROR" must fit a TXT string of 255 (RFC 1035 3.3.14)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_MAILBOX = re.compile(r"([A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,63})@(.+)")
_PATH = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*")


def label(text: str) -> str:
    """A mirror's name: one label of small letters, digits and inner hyphens."""
    if not _LABEL.fullmatch(text):
        hint = "it becomes a DNS label: small letters, digits and inner hyphens, 63 at most"
        if _LABEL.fullmatch(text.lower().replace("_", "-")):
            hint = f"did you mean {text.lower().replace('_', '-')}?"
        raise Wrong(f"{quote(text)} cannot name a mirror", hint)
    return text


def host_name(text: str) -> str:
    """A host name, in lower case, without the final dot."""
    name = text.lower().removesuffix(".")
    if not name.isascii():
        raise Wrong(f"{quote(text)} is not in ASCII", _ascii_hint(name))
    if len(name) > 253:
        raise Wrong(f"{quote(text)} is longer than 253 characters")
    labels = name.split(".")
    for part in labels:
        if not _LABEL.fullmatch(part):
            which = f"the label {quote(part)}" if part else "an empty label"
            hint = "labels hold letters, digits and inner hyphens, 63 at most (RFC 1035 2.3.1)"
            raise Wrong(f"{quote(text)} is not a host name: it has {which}", hint)
    if labels[-1].isdigit():
        raise Wrong(f"{quote(text)} is not a host name but reads like an address")
    return name


def _ascii_hint(name: str) -> str:
    try:
        return f"write it as DNS carries it: {name.encode('idna').decode('ascii')}"
    except UnicodeError:
        return "write it as DNS carries it (xn--…)"


def select_name(text: str) -> str:
    """The name of a select: labels below the zone, or "@" for the zone itself."""
    return text if text == "@" else host_name(text)


def mailbox(text: str) -> str:
    """local@domain, whose local part fits a label of the SOA's RNAME (RFC 1035 3.3.13)."""
    found = _MAILBOX.fullmatch(text)
    if found is None:
        hint = "write it like hostmaster@example.net"
        first, dot, rest = text.rstrip(".").partition(".")
        if dot and "@" not in text and re.fullmatch(r"[A-Za-z0-9.-]+", text):
            hint = f"did you mean {first}@{rest}?"
        raise Wrong(f"{quote(text)} is not a mail address", hint)
    return f"{found[1]}@{host_name(found[2])}"


def http_url(text: str) -> str:
    """An http or https URL in its one spelling (see above)."""
    if not text.isascii() or not text.isprintable() or " " in text:
        raise Wrong(f"{quote(text)} is not a URL", "write what is not ASCII, and spaces, as %XX; hosts as xn--…")
    if "://" not in text:
        raise Wrong(f"{quote(text)} is not a URL", f"did you mean http://{text[:60]}?")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise Wrong(f"{quote(text)} is not a URL: {error}") from None
    if parts.scheme not in ("http", "https"):
        raise Wrong(f"{quote(text)} is of scheme {quote(parts.scheme)}", "mirrors speak http or https")
    if "@" in parts.netloc:
        raise Wrong("a URL with a user name or password", "mirrors are public; a zone file holds no secrets")
    if "?" in text or "#" in text:
        raise Wrong(f"{quote(text)} has a ? or #", "a mirror is a plain folder; paths are added to its URL")
    if port == 0:
        raise Wrong(f"{quote(text)} has port 0", "from 1 to 65535")
    host = _url_host(host, text)
    path = parts.path or "/"
    if not _PATH.fullmatch(path):
        raise Wrong(f"{quote(text)} has a character in its path that URLs do not", "write it as %XX (RFC 3986 2.1)")
    if {".", ".."} & set(path.split("/")):
        raise Wrong(f"{quote(text)} has . or .. in its path", "write the path it leads to")
    path = path.rstrip("/") or "/"
    shown = "" if port in (None, default_port(parts.scheme)) else f":{port}"
    url = f"{parts.scheme}://{host}{shown}{path}"
    if len(url) > URL_LENGTH:
        raise Wrong(f"the URL is {len(url)} characters long", f"{URL_LENGTH} at most")
    return url


def _url_host(host: str, text: str) -> str:
    if not host:
        raise Wrong(f"{quote(text)} has no host", "write http://HOST/PATH")
    try:
        address = parse_address(host)
    except ValueError:
        return host_name(host)
    return bracketed(address)
