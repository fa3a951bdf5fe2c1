"""A block: some bytes of an image, stored compressed as one file that is named by the SHA-256 of that file's bytes.

Naming by the stored bytes (not by what they inflate to) means that nothing is ever inflated before it is trusted: a
bomb or a malformed stream ends at the hash, and `sha256sum` alone can check a mirror.  The price is that one content
compressed at two levels is two blocks; publishing twice at one level is what happens in practice.

`open_block` is the only way from stored bytes to bytes that a reader may see: length, then hash, then inflating to
exactly the promised size.  A `Packer` is its inverse.  Levels 1 to 3 of zlib are ISA-L's (340 MB/s a core, 10 % larger
than zlib 6, on programs and libraries), 4 to 8 libdeflate's (deflater.py has the figures), and 9 is zlib's own, byte
for byte what cloop-utils writes.  An encoder may change with its version; its streams do not stop being zlib's, and
`publish` keeps the stored blocks of the version before where the bytes are the same.

Rejected: a length prefix or a codec byte in the file (the index says both, and the file would not be a plain stream).
"""

from __future__ import annotations

import hashlib
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

import zstandard

from mirrornet.image.format.deflater import deflater
from mirrornet.image.format.inflater import inflater
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


_free: deque[zstandard.ZstdDecompressor] = deque()  # for the next block: a tenth faster than a new one each


class Codec(IntEnum):
    """How a block is stored.  The numbers are part of the format."""

    STORED = 0
    ZLIB = 1  # RFC 1950
    ZSTD = 2  # RFC 8878, one frame with its content size, no dictionary


DEFAULT_LEVEL: Final = {Codec.STORED: 0, Codec.ZLIB: 5, Codec.ZSTD: 3}
TAKEN_OVER: Final = 0  # the level of blocks that a .cloop brought
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


class Packer:
    """Blocks of one codec and level, in one thread: each encoder is made once."""

    def __init__(self, codec: Codec, level: int) -> None:
        """Raises InputError without isal at zlib levels 1 to 3."""
        self.codec, self.level = codec, level
        if codec is Codec.ZLIB:
            self._compress = _zlib_encoder(level)
        elif codec is Codec.ZSTD:
            self._compress = zstandard.ZstdCompressor(level=level).compress

    def pack(self, raw: bytes) -> tuple[BlockRef, bytes]:
        """(reference, stored bytes) of `raw`.  Under ZSTD, what does not shrink is kept as STORED; under ZLIB nothing
        is, since every block of a .cloop view must be a zlib stream.
        """
        stored, used = raw, Codec.STORED
        if self.codec is not Codec.STORED:
            packed = self._compress(raw)
            if self.codec is Codec.ZLIB or len(packed) < len(raw):
                stored, used = packed, self.codec
        return BlockRef(hashlib.sha256(stored).digest(), len(stored), len(raw), used), stored


def _zlib_encoder(level: int) -> Callable[[bytes], bytes]:
    if level <= 3:
        if _fast is None:
            raise InputError("zlib levels 1 to 3 need the package isal: pip install 'mirrornet[publish]', or --level 6")
        return lambda raw: bytes(_fast.compress(raw, level))
    made = deflater(level) if level < 9 else None
    return made.compress if made is not None else lambda raw: zlib.compress(raw, level)


def pack_block(raw: bytes, codec: Codec, level: int) -> tuple[BlockRef, bytes]:
    """What a new Packer makes of `raw`."""
    return Packer(codec, level).pack(raw)


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
    if (made := inflater()) is not None:
        return made.inflate(stored, size)
    stream = zlib.decompressobj() if _fast is None else _fast.decompressobj()
    try:
        raw: bytes = stream.decompress(stored, size + 1)
    except Exception as error:  # zlib.error and IsalError share no base below Exception
        raise ValueError(f"not a zlib stream ({error})") from None
    if len(raw) <= size and not stream.eof:
        raise ValueError("the zlib stream has no end")
    if stream.unused_data:
        raise ValueError("bytes follow the zlib stream")
    return raw


def _inflate_zstd(stored: bytes, size: int) -> bytes:
    try:
        # max_output_size is ignored where the frame names its size: that has to be right before anything is allocated
        named = zstandard.get_frame_parameters(stored)
        if named.content_size != size or named.dict_id:
            raise ValueError(f"the zstd frame does not name {size} bytes")
        decompressor = _free.pop() if _free else zstandard.ZstdDecompressor()  # one that works, in one thread at a time
        raw: bytes = decompressor.decompress(stored, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise ValueError(f"not one zstd frame ({error})") from None
    _free.append(decompressor)
    return raw
