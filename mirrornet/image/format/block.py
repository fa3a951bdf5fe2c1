"""A block: some bytes of an image, stored compressed as one file that is named by the SHA-256 of that file's bytes.

Naming by the stored bytes (not by what they inflate to) means that nothing is ever inflated before it is trusted: a
bomb or a malformed stream ends at the hash, and `sha256sum` alone can check a mirror.  The price is that one content
compressed at two levels is two blocks; publishing twice at one level is what happens in practice.

`open_block` is the only way from stored bytes to bytes that a reader may see: length, then hash, then inflating to
exactly the promised size.  `pack_block` is its inverse.  Levels 1 to 3 of zlib are ISA-L's (380 MB/s a core, 13 %
larger than zlib 6 at 46 MB/s, on an ext4 image of programs), 4 to 9 are zlib's own (4, the default: 89 MB/s, 3.6 %
larger than 6); level 9 is byte for byte what cloop-utils writes.

Rejected: a length prefix or a codec byte in the file (the index says both, and the file would not be a plain stream).
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import zstandard

from mirrornet.model.errors import InputError, Untrusted

_fast: Any = None
try:
    from isal import isal_zlib

    _fast = isal_zlib
except ImportError:  # a name server needs no isal: it opens one block a probe
    pass

BLOCK_SIZE: Final = 262144  # bytes; the default of `publish`
MIN_BLOCK_SIZE: Final = 1 << 16
MAX_BLOCK_SIZE: Final = 1 << 22
ZERO_HASH: Final = bytes(32)


class Codec(IntEnum):
    """How a block is stored.  The numbers are part of the format."""

    STORED = 0
    ZLIB = 1  # RFC 1950
    ZSTD = 2  # RFC 8878, one frame with its content size, no dictionary


DEFAULT_LEVEL: Final = {Codec.STORED: 0, Codec.ZLIB: 4, Codec.ZSTD: 9}
_MAX_LEVEL: Final = {Codec.STORED: 0, Codec.ZLIB: 9, Codec.ZSTD: 19}


@dataclass(frozen=True, slots=True)
class BlockRef:
    """One block (or one index page: pages are blocks too).

    `hash`: SHA-256 of the stored bytes, 32 octets.  `stored`: bytes of the stored file.  `size`: bytes after
    inflating.
    """

    hash: bytes
    stored: int
    size: int
    codec: Codec

    @property
    def path(self) -> str:
        """Where a mirror serves it."""
        return block_path(self.hash)


def block_path(hash: bytes) -> str:
    """ "blocks/ab/ab12…", relative to the repository, for a 32-octet hash."""
    name = hash.hex()
    return f"blocks/{name[:2]}/{name}"


def stored_limit(size: int) -> int:
    """The most bytes that `size` bytes may take when stored: what the worst of the codecs adds, with room to spare."""
    return size + (size >> 8) + 128


def check_level(codec: Codec, level: int | None) -> int:
    """`level`, or the codec's default for None.  Raises InputError out of range."""
    if level is None:
        return DEFAULT_LEVEL[codec]
    lowest = 1 if _MAX_LEVEL[codec] else 0
    if not lowest <= level <= _MAX_LEVEL[codec]:
        raise InputError(f"--level {level}: {codec.name.lower()} has levels {lowest} to {_MAX_LEVEL[codec]}")
    return level


def pack_block(raw: bytes, codec: Codec, level: int) -> tuple[BlockRef, bytes]:
    """(reference, stored bytes) of `raw`.  Under ZSTD, what does not shrink is kept as STORED; under ZLIB nothing is,
    since every block of a .cloop view must be a zlib stream.  Raises InputError without isal at zlib levels 1 to 3.
    """
    stored, used = raw, Codec.STORED
    if codec is Codec.ZLIB:
        used = codec
        if level > 3:
            stored = zlib.compress(raw, level)
        elif _fast is None:
            raise InputError("zlib levels 1 to 3 need the package isal: pip install 'mirrornet[publish]', or --level 6")
        else:
            stored = _fast.compress(raw, level)
    elif codec is Codec.ZSTD:
        packed = zstandard.ZstdCompressor(level=level).compress(raw)
        if len(packed) < len(raw):
            stored, used = packed, codec
    return BlockRef(hashlib.sha256(stored).digest(), len(stored), len(raw), used), stored


def open_block(stored: bytes, ref: BlockRef) -> bytes:
    """The `ref.size` bytes that `stored` holds, proven to be those that `ref` names.

    Raises Untrusted: wrong length, wrong hash, or a stream that does not end at exactly `ref.size` bytes.
    """
    name = f"block {ref.hash.hex()[:16]}…"
    if len(stored) != ref.stored:
        raise Untrusted(f"{name}: {len(stored)} bytes where {ref.stored} were named; ask another mirror")
    if hashlib.sha256(stored).digest() != ref.hash:
        raise Untrusted(f"{name}: the bytes do not match their name; ask another mirror")
    try:
        raw = inflate(stored, ref.codec, ref.size)
    except ValueError as error:
        raise Untrusted(f"{name}: {error}; the publisher's index is wrong, not the mirror") from None
    return raw


def inflate(stored: bytes, codec: Codec, size: int) -> bytes:
    """Exactly `size` bytes out of a stream that ends there, never allocating more.  Raises ValueError otherwise."""
    if codec is Codec.STORED:
        raw = stored
    elif codec is Codec.ZLIB:
        raw = _inflate_zlib(stored, size)
    else:
        raw = _inflate_zstd(stored, size)
    if len(raw) != size:
        raise ValueError(f"inflates to {'more' if len(raw) > size else 'fewer'} than {size} bytes")
    return raw


def _inflate_zlib(stored: bytes, size: int) -> bytes:
    inflater = zlib.decompressobj() if _fast is None else _fast.decompressobj()
    try:
        raw: bytes = inflater.decompress(stored, size + 1)
    except Exception as error:  # zlib.error and IsalError share no base below Exception
        raise ValueError(f"not a zlib stream ({error})") from None
    if len(raw) <= size and not inflater.eof:
        raise ValueError("the zlib stream has no end")
    if inflater.unused_data:
        raise ValueError("bytes follow the zlib stream")
    return raw


def _inflate_zstd(stored: bytes, size: int) -> bytes:
    try:
        # max_output_size is ignored where the frame names its size: that has to be right before anything is allocated
        named = zstandard.get_frame_parameters(stored)
        if named.content_size != size or named.dict_id:
            raise ValueError(f"the zstd frame does not name {size} bytes")
        raw: bytes = zstandard.ZstdDecompressor().decompress(stored, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ValueError(f"not one zstd frame ({error})") from None
    return raw
