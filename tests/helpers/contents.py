"""Bytes to publish."""

from __future__ import annotations

import random


def some_bytes(size: int, seed: int = 1) -> bytes:
    """Bytes that compress to about half; another `seed`, other bytes."""
    dice = random.Random(seed)
    words = [dice.randbytes(5) for _ in range(200)]
    return b"".join(dice.choices(words, k=size // 5 + 1))[:size]
