"""A set of millions of SHA-256 hashes.  Pure.

A Python set of 4 million byte strings (a full image of 1 TB) takes 500 MB; here each takes its 32 bytes.  They lie in
256 buckets by their first octet, as the files do in blocks/, so that a folder is compared with one bucket at a time.
"""

from __future__ import annotations

from typing import Final

_ROW: Final = 32


class Names:
    """Hashes of 32 octets."""

    def __init__(self) -> None:
        self._buckets = [bytearray() for _ in range(256)]
        self._clean = [1 << 14] * 256  # bytes at which a bucket is rid of duplicates next

    def add(self, sha256: bytes) -> None:
        """Adds one; again is as well."""
        bucket = self._buckets[sha256[0]]
        bucket += sha256
        if len(bucket) >= self._clean[sha256[0]]:
            kept = self.bucket(sha256[0])
            self._buckets[sha256[0]] = bytearray(b"".join(kept))
            self._clean[sha256[0]] = max(1 << 14, 2 * _ROW * len(kept))

    def bucket(self, first: int) -> set[bytes]:
        """All whose first octet is `first`."""
        data = bytes(self._buckets[first])
        return {data[at : at + _ROW] for at in range(0, len(data), _ROW)}

    def __len__(self) -> int:
        return sum(len(self.bucket(first)) for first in range(256))
