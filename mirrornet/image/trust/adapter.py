"""A Fetch (image/fetch.py) as python-tuf's fetcher.

Its own fetchers let a reset in mid-body out as a bare ConnectionResetError: through this one, whatever goes wrong is a
PeerError with the file's name.
"""

from __future__ import annotations

from collections.abc import Iterator

from tuf.api import exceptions
from tuf.ngclient.fetcher import FetcherInterface

from mirrornet.image.fetch import Fetch
from mirrornet.image.format.index import MAX_HEAD
from mirrornet.model.errors import Missing, PeerError, Unreachable, Untrusted


class Adapter(FetcherInterface):
    """Our fetcher as python-tuf's.  Every failure is a DownloadError to it; ours is kept in `failure`."""

    def __init__(self, fetch: Fetch) -> None:
        self._call = fetch
        self.path = "metadata"
        self.failure: PeerError | None = None

    def _fetch(self, url: str) -> Iterator[bytes]:
        yield self.download_bytes(url, MAX_HEAD)

    def download_bytes(self, url: str, max_length: int) -> bytes:
        self.path, self.failure = url, None
        try:
            data = self._call(url, max_length)
        except Missing as error:
            self.failure = error
            raise exceptions.DownloadHTTPError(str(error), 404) from error
        except PeerError as error:
            self.failure = error
            raise exceptions.DownloadError(str(error)) from error
        except Exception as error:  # a reset in mid-body, a time-out of another kind
            self.failure = Unreachable(f"{url}: {type(error).__name__}: {error}; ask another mirror")
            raise exceptions.DownloadError(str(error)) from error
        if len(data) > max_length:
            self.failure = Untrusted(f"{url}: longer than the {max_length} bytes it may have; ask another mirror")
            raise exceptions.DownloadLengthMismatchError(str(self.failure))
        return data
