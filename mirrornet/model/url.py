"""What everybody who asks a mirror for files has to agree on: ports, and what an HTTP answer other than 200 means.

A probe must find what a client would find.  Where the two read a redirect in two ways, a mirror is up for the one and a
liar for the other; so the rules stand here, once, and how to connect and what to blame is the business of each room.

A mirror serves its own files: a redirect may lead to another path, port or scheme of the same host, so that a slash is
added or TLS taken, but never to another host and never from TLS back to plain text.

Some probes look like a client, to the letter: CLIENT is what both send.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urljoin, urlsplit

from mirrornet import __version__

CLIENT: Final = {
    "Accept-Encoding": "identity",
    "User-Agent": f"mirrornet/{__version__}",
}  # what our client says of itself
NOT_HERE: Final = frozenset({403, 404, 410})  # a bucket says "forbidden" of what it does not have
BUSY: Final = frozenset({429, 503})  # come again later; Retry-After may say when
BUSY_WAIT: Final = (1.0, 5.0, 600.0)  # seconds: the least, what is meant without a word, the most that we wait
MOVED: Final = frozenset({301, 302, 303, 307, 308})
REDIRECTS: Final = 3  # one after the other, at most


def default_port(scheme: str) -> int:
    """The port that a URL of http or https means when it names none."""
    return 443 if scheme == "https" else 80


def redirected(url: str, location: str) -> str:
    """Where a redirect of `url` to `location` leads.  Raises ValueError with half a sentence about the mirror."""
    try:
        there = urlsplit(urljoin(url, location))
        _ = there.port
    except ValueError as error:
        raise ValueError(f"redirects to {location[:80]!r}, which is not a URL: {error}") from None
    here = urlsplit(url)
    if not location or there.scheme not in ("http", "https") or not there.hostname:
        raise ValueError(f"redirects to {location[:80]!r}, which is not an http or https URL")
    if there.hostname != here.hostname:
        raise ValueError(f"redirects to another host, {there.hostname}: a mirror has to serve its own files")
    if here.scheme == "https" and there.scheme == "http":
        raise ValueError("redirects from https to http")
    return there._replace(netloc=there.netloc.rpartition("@")[2], fragment="").geturl()


def wait_asked(retry_after: str, now: float) -> float:
    """Seconds that a Retry-After header asks for (RFC 9110, section 10.2.3: seconds or a date), within BUSY_WAIT."""
    least, unsaid, most = BUSY_WAIT
    text = retry_after.strip()
    if text.isdecimal() and text.isascii():
        asked = float(text[:10])
    else:
        try:
            asked = parsedate_to_datetime(text).timestamp() - now
        except (ValueError, TypeError, OverflowError):
            asked = unsaid
    return min(max(asked, least), most)
