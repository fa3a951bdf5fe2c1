"""Which origin is believed where sources disagree."""

from __future__ import annotations

import random

import numpy as np

from mirrornet.model.address import parse_prefix
from mirrornet.radb.compiling.origins import Origins, choose
from mirrornet.radb.facts import Route
from mirrornet.radb.records import Records

Claim = tuple[str, int, str, int]  # prefix, ASN, source, newest


def chosen(claims: list[Claim]) -> tuple[dict[str, tuple[int, str]], Origins]:
    records = Records()
    for text, asn, source, newest in claims:
        prefix = parse_prefix(text)
        records.add_route(Route(4, prefix.value, prefix.length, asn, source, newest))
    origins = choose(records.routes(4), records.sources)
    names = [*records.sources.names, *[""] * 256]
    found = {
        f"{value >> 24}.{value >> 16 & 255}.{value >> 8 & 255}.{value & 255}/{length}": (asn, names[source])
        for value, length, asn, source in zip(
            origins.routes.values.tolist(),
            origins.routes.lengths.tolist(),
            origins.routes.asns.tolist(),
            origins.routes.sources.tolist(),
            strict=True,
        )
    }
    return found, origins


def test_the_better_source_wins_however_old() -> None:
    claims = [("1.0.0.0/24", 3, "RADB", 9), ("1.0.0.0/24", 2, "RIPE", 1), ("1.0.0.0/24", 1, "LEVEL3", 10)]
    found, origins = chosen(claims)
    assert found == {"1.0.0.0/24": (2, "RIPE")}
    assert origins.conflicts == 1
    assert [pair[0] for pair in origins.samples[0].passed] == [3, 1]


def test_then_the_newer_then_the_more_agreed_on_then_the_lower() -> None:
    assert chosen([("1.0.0.0/24", 1, "RADB", 5), ("1.0.0.0/24", 2, "RADB", 6)])[0] == {"1.0.0.0/24": (2, "RADB")}
    agreed = [("1.0.0.0/24", 1, "RIPE", 5), ("1.0.0.0/24", 2, "ARIN", 5), ("1.0.0.0/24", 2, "BELL", 0)]
    assert chosen(agreed)[0] == {"1.0.0.0/24": (2, "ARIN")}
    assert chosen([("1.0.0.0/24", 8, "RADB", 5), ("1.0.0.0/24", 7, "RADB", 5)])[0] == {"1.0.0.0/24": (7, "RADB")}


def test_one_origin_said_twice_is_no_conflict() -> None:
    found, origins = chosen([("1.0.0.0/24", 1, "RADB", 5), ("1.0.0.0/24", 1, "RIPE", 2), ("1.0.0.0/23", 2, "RADB", 1)])
    assert found == {"1.0.0.0/23": (2, "RADB"), "1.0.0.0/24": (1, "RIPE")}
    assert origins.conflicts == 0


def test_no_source_is_believed_last() -> None:
    assert chosen([("1.0.0.0/24", 1, "", 9), ("1.0.0.0/24", 2, "WCGDB", 0)])[0] == {"1.0.0.0/24": (2, "WCGDB")}


def test_the_order_of_the_dumps_does_not_matter() -> None:
    dice = random.Random(1)
    sources = ["RIPE", "ARIN", "RADB", "NTTCOM", "NEVER-HEARD", ""]
    claims = [
        (f"1.0.{dice.randrange(40)}.0/24", dice.randrange(1, 5), dice.choice(sources), dice.randrange(3))
        for _ in range(400)
    ]
    once, origins = chosen(claims)
    assert origins.conflicts > 20
    assert list(once) == sorted(once, key=lambda text: int(text.split(".")[2]))
    for _ in range(5):
        dice.shuffle(claims)
        assert chosen(claims)[0] == once


def test_nothing_in_nothing_out() -> None:
    found, origins = chosen([])
    assert found == {}
    assert origins.routes.values.dtype == np.uint64
