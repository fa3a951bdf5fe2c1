"""Equal rows of parallel columns, found: what spots, kinds and answers are numbered by."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mirrornet.dns.planning.ground import Numbers

Rows = npt.NDArray[np.int16]  # mirror indices, -1 for none


def distinct(keys: Sequence[npt.NDArray[Any]]) -> tuple[Numbers, Numbers]:
    """(first index of each distinct row, number of the row of each element) of parallel columns."""
    _, rows = np.unique(keys[0], return_inverse=True)
    for key in keys[1:]:
        _, numbers = np.unique(key, return_inverse=True)
        _, rows = np.unique(rows * (int(numbers.max(initial=0)) + 1) + numbers, return_inverse=True)
    first = np.zeros(int(rows.max(initial=-1)) + 1, np.int64)
    first[rows[::-1]] = np.arange(len(rows))[::-1]
    return first, rows


def distinct_rows(rows: Rows) -> tuple[Rows, Numbers]:
    """(the distinct rows, the number of each row among them)."""
    width = max(4, -(-rows.shape[1] // 4) * 4)
    padded = np.full((len(rows), width), -1, np.int16)
    padded[:, : rows.shape[1]] = rows
    words = padded.view(np.int64)
    first, numbers = distinct([words[:, column] for column in range(words.shape[1])])
    return rows[first], numbers
