"""The reference engine and the fast one, side by side on random queries to random worlds: the same answer every time.

    python bench/equal_dns.py [QUERIES [SEED]]        a million by default, on all processors, at low priority

Names, types, classes, flags, ECS of both families and of what carries IPv4, cookies, padding, tables, zones, mirrors
and verdicts are all drawn.  The comparison is the one of tests/properties/test_dns_places.py, which runs a few thousand
of them; a difference ends the run and prints what makes it come again.
"""

from __future__ import annotations

import os
import random
import runpy
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

TESTS = Path(__file__).parents[1] / "tests" / "properties" / "test_dns_places.py"
WORLD = 500  # queries of one world


@cache
def tests() -> dict[str, Any]:
    return runpy.run_path(str(TESTS))


def compare(seed: int) -> int:
    """One world's queries; how many were answered."""
    found: int = tests()["compare"](seed, random.Random(seed).randint(1, 12), WORLD)
    return found


def main(queries: int = 1_000_000, seed: int = 1) -> int:
    os.nice(10)
    worlds = -(-queries // WORLD)
    began, answered = time.monotonic(), 0
    with ProcessPoolExecutor() as pool:
        for number, found in enumerate(pool.map(compare, range(seed * 1_000_000, seed * 1_000_000 + worlds)), 1):
            answered += found
            if number % 100 == 0 or number == worlds:
                spent = time.monotonic() - began
                print(f"{number * WORLD:,} queries, {answered:,} answered, all equal; {spent:.0f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(int, sys.argv[1:])))
