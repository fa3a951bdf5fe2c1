"""A profile: the blocks that a boot touches, in the order of their first touch.  Pure.

It says what to fetch before it is asked for, and which blocks stand together in the boot's pack.  It is a small JSON
object (FORMAT.md, "Profile"), since people and boot scripts write it, too.  Blocks are named by number for the block
size it was recorded with; for another one it is converted by their offsets.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final

from mirrornet.image.format.block import MAX_BLOCK_SIZE, MIN_BLOCK_SIZE

MAX_PROFILE: Final = 4 << 20  # bytes of the file
MAX_BLOCKS: Final = 65536  # 16 GiB in blocks of 256 KiB; a boot touches some hundred
_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Profile:
    """`blocks`: numbers, each once.  `block_size`: bytes."""

    block_size: int
    blocks: tuple[int, ...]

    def encode(self) -> bytes:
        """The file's bytes."""
        fields = {"mirrornet-profile": _VERSION, "block_size": self.block_size, "blocks": list(self.blocks)}
        return json.dumps(fields, separators=(",", ":")).encode()

    @classmethod
    def parse(cls, data: bytes) -> Profile:
        """The profile in `data`.  Raises ValueError with what is wrong."""
        size, fields = opened(data, "mirrornet-profile")
        blocks = fields.get("blocks")
        if not isinstance(blocks, list) or not all(type(each) is int and 0 <= each < 1 << 48 for each in blocks):
            raise ValueError("its blocks are no list of numbers")
        if not 0 < len(blocks) <= MAX_BLOCKS:
            raise ValueError(f"it has {len(blocks)} blocks; 1 to {MAX_BLOCKS} are wanted")
        return cls(size, tuple(dict.fromkeys(blocks)))

    def resized(self, block_size: int, block_count: int) -> Profile:
        """The same for an image of `block_count` blocks of that size; what lies beyond its end is left out, and what
        is more than MAX_BLOCKS.
        """
        found: dict[int, None] = {}
        for number in self.blocks:
            first = number * self.block_size // block_size
            last = ((number + 1) * self.block_size - 1) // block_size
            found.update(dict.fromkeys(range(first, min(last + 1, block_count))))
            if len(found) >= MAX_BLOCKS:
                break
        return Profile(block_size, tuple(found)[:MAX_BLOCKS])


def opened(data: bytes, kind: str) -> tuple[int, dict[str, Any]]:
    """(block size, all fields) of the JSON object `data` of that kind: a profile, or what profiles are made of.

    Raises ValueError with what is wrong.
    """
    if len(data) > MAX_PROFILE:
        raise ValueError(f"it is longer than {MAX_PROFILE} bytes")
    try:
        fields = json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(fields, dict) or fields.get(kind) != _VERSION:
        raise ValueError(f'it has no "{kind}": {_VERSION}')
    size = fields.get("block_size")
    if type(size) is not int or not MIN_BLOCK_SIZE <= size <= MAX_BLOCK_SIZE or size & (size - 1):
        raise ValueError("its block_size is no power of two from 65536 to 4194304")
    return size, fields
