"""Where the holders of AS numbers have their seats, said one by one and by the column."""

from __future__ import annotations

from itertools import permutations

import numpy as np

from mirrornet.radb.records import Records
from mirrornet.radb.sources import NEVER

SAID = [(1, "JP", 3), (1, "DE", 2), (1, "BR", 3), (2, "US", 1), (2, "CA", 1), (3, "", 0), (4294967295, "FR", 254)]
EXPECTED = {1: "DE", 2: "CA", 4294967295: "FR"}


def seats(records: Records) -> dict[int, str]:
    asns, countries = records.seat_columns()
    return {asn: records.geography.countries[number] for asn, number in zip(asns.tolist(), countries, strict=True)}


def by_column(records: Records, said: list[tuple[int, str, int]]) -> None:
    numbers = [records.geography.country(country) for _, country, _ in said]
    asns, ranks = [asn for asn, _, _ in said], [rank for _, _, rank in said]
    records.add_seats(np.array(asns, np.uint32), np.array(numbers, np.uint16), np.array(ranks, np.uint8))


def test_the_best_rank_and_then_the_alphabet_decide_in_any_order_and_either_way() -> None:
    for order in permutations(SAID[:5]):
        for single in range(6):
            records = Records()
            for asn, country, rank in order[:single]:
                records.add_seat(asn, country, rank)
            by_column(records, [*order[single:], *SAID[5:]])
            assert seats(records) == EXPECTED


def test_nobody_and_those_who_are_never_believed_say_nothing() -> None:
    records = Records()
    assert seats(records) == {}
    by_column(records, [(1, "JP", NEVER), (2, "", 0)])
    records.add_seat(3, "JP", NEVER)
    assert seats(records) == {}
