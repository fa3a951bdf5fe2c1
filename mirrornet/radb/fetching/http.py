"""Bodies by http and https, from the beginning or from an offset, and whether a file is still the same.

Asked for as they are (`Accept-Encoding: identity`): a server that compresses on the way has no ranges and no length.
Redirects are followed by every request anew, since a mirror director may send a resumed one elsewhere; If-Range and the
CRC-32 (resume.py) see to it that the second server has the same file.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from contextlib import contextmanager

import requests

from mirrornet.model.errors import InputError, Missing, Unreachable
from mirrornet.model.units import format_duration
from mirrornet.radb.fetching.limits import PORTION, Body, Broken, Changed, Limits, Version

_PART = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
_HTTP_ERROR = requests.packages.urllib3.exceptions.HTTPError  # type: ignore[attr-defined]


class HttpFile:
    """One file on a server.  `name`: the URL without a password.  `version` is known after the first open()."""

    def __init__(self, url: str, name: str, limits: Limits) -> None:
        self.version = Version()
        self.total: int | None = None
        self._url, self._name, self._limits = url, name, limits
        self._response: requests.Response | None = None

    def close(self) -> None:
        if self._response is not None:
            self._response.close()

    def open(self) -> Body:
        """The body from its beginning.  Raises InputError, Missing, Unreachable."""
        with self._faults():
            response = self._get({})
        self._refuse(response)
        self.total = _length(response)
        self.version = _version(response, self.total)
        return Body(0, self._portions(response))

    def reopen(self, start: int) -> Body:
        """The body from `start`, or from the beginning where the server has no ranges.  Raises Broken, Changed too."""
        headers = {}
        if start and self.version.strong:
            headers = {"Range": f"bytes={start}-", "If-Range": self.version.strong}
        try:
            with self._faults():
                response = self._get(headers)
        except Unreachable as error:
            raise Broken(str(error).removeprefix(f"{self._name}: ")) from None
        if response.status_code >= 500:
            raise Broken(f"the server answers {response.status_code} {response.reason}")
        if response.status_code == 416:
            raise Changed(f"{self._name}: the file became shorter while it was fetched: fetch it again")
        self._refuse(response)
        if self.version.etag and response.headers.get("ETag", self.version.etag) != self.version.etag:
            raise Changed(f"{self._name}: the file changed while it was fetched: fetch it again")
        if response.status_code != 206:
            return Body(0, self._portions(response))
        part = _PART.fullmatch(response.headers.get("Content-Range", ""))
        if part is None or (self.total is not None and part[3] not in ("*", str(self.total))):
            raise Changed(f"{self._name}: the file changed while it was fetched: fetch it again")
        return Body(int(part[1]), self._portions(response))

    def unchanged(self, known: Version) -> bool:
        """Whether the server still has the edition `known`; False where it cannot say, or cannot be reached."""
        headers = {}
        if known.etag:
            headers["If-None-Match"] = known.etag
        if known.modified:
            headers["If-Modified-Since"] = known.modified
        if not headers:
            return False
        try:
            with self._faults(), self._ask("HEAD", headers) as response:
                if response.status_code != 200:
                    return response.status_code == 304
                now = _version(response, _length(response))
        except (InputError, Unreachable):
            return False
        if known.etag:  # some servers ignore the condition and tell the tag
            return now.etag == known.etag
        return now == known

    def _get(self, headers: dict[str, str]) -> requests.Response:
        self.close()
        self._response = self._ask("GET", headers)
        return self._response

    def _ask(self, method: str, headers: dict[str, str]) -> requests.Response:
        return requests.request(
            method,
            self._url,
            stream=True,
            timeout=(self._limits.connect, self._limits.read),
            headers={"Accept-Encoding": "identity", **headers},
            allow_redirects=True,
        )

    def _refuse(self, response: requests.Response) -> None:
        if response.status_code not in (200, 206):
            kind = Unreachable if response.status_code >= 500 else Missing
            raise kind(f"{self._name}: the server answers {response.status_code} {response.reason}: check the URL")

    def _portions(self, response: requests.Response) -> Iterator[bytes]:
        try:
            # read1 hands out what has come, so the deadline is looked at even while a slow server drips.
            while portion := response.raw.read1(PORTION, decode_content=False):
                yield portion
            missing = getattr(response.raw, "length_remaining", None)
            if missing:
                raise Broken(f"the connection ended {missing:,} bytes too early")
        except (OSError, _HTTP_ERROR) as error:
            raise Broken(f"the transfer broke off: {innermost(error)}") from None

    @contextmanager
    def _faults(self) -> Generator[None]:
        name, limits = self._name, self._limits
        try:
            yield
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
            raise InputError(f"{name}: not a URL: {error}") from None
        except requests.exceptions.ConnectTimeout:
            raise Unreachable(f"{name}: no connection within {format_duration(limits.connect)}") from None
        except requests.exceptions.ReadTimeout:
            raise Unreachable(f"{name}: no answer within {format_duration(limits.read)}") from None
        except requests.exceptions.RequestException as error:
            raise Unreachable(f"{name}: cannot be fetched: {innermost(error)}") from None


def _length(response: requests.Response) -> int | None:
    length = response.headers.get("Content-Length", "")
    return int(length) if length.isdigit() and len(length) < 20 else None


def _version(response: requests.Response, size: int | None) -> Version:
    return Version(response.headers.get("ETag", "")[:512], response.headers.get("Last-Modified", "")[:64], size)


def innermost(error: BaseException) -> str:
    """The plainest sentence in a chain of wrapped exceptions."""
    while error.args and isinstance(error.args[0], BaseException):
        error = error.args[0]
    reason = getattr(error, "reason", None)
    if isinstance(reason, BaseException):
        return innermost(reason)
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(error).split(">: ")[-1]
    if "WRONG_VERSION_NUMBER" in text:
        return "no TLS is spoken there: is it http:// ?"
    return re.sub(r"^HTTPS?Connection\(.*?\): ", "", re.sub(r"\[Errno -?\d+\] ", "", text))
