"""Delegated statistics, plain and extended, with the rows that registries get wrong."""

from __future__ import annotations

import pytest

from mirrornet.model.address import parse_address
from mirrornet.radb.facts import Block, Mend, Reason
from mirrornet.radb.reading.delegated import LINE_LIMIT, AsnRun, rows

EXTENDED = b"""\
2|nro|20260617|210661|19830705|20260617|+0000
2.3|apnic|20260617|5|19830613|20260616|+1000
# a comment
nro|*|ipv4|*|141822|summary
apnic|CN|ipv4|1.0.1.0|768|20110414|allocated|A92E1062|e-stats
apnic|JP|ipv6|2001:200::|35|19990813|allocated|A91A7381|e-stats
apnic|JP|asn|2497|3|19930101|assigned|A91|e-stats\r
apnic||ipv4|1.2.3.0|256||available||e-stats
apnic|ZZ|ipv4|1.4.4.0|256||reserved||e-stats
"""


def test_rows_that_say_something() -> None:
    first, second, third = [row.said for row in rows([EXTENDED])]
    start = int(parse_address("1.0.1.0"))
    assert first == Block(4, start, start + 767, "CN", None, "")
    high = int(parse_address("2001:200::")) >> 64
    assert second == Block(6, high, high + (1 << 29) - 1, "JP", None, "")
    assert third == AsnRun(2497, 3, "JP")


@pytest.mark.parametrize("portion", [1, 5, 64])
def test_portions_do_not_matter(portion: int) -> None:
    stream = [EXTENDED[at : at + portion] for at in range(0, len(EXTENDED), portion)]
    assert list(rows(stream)) == list(rows([EXTENDED]))
    assert [row.line for row in rows(stream)] == [5, 6, 7]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("apnic|JP|ipv4|1.0.0.0|-256|20110414|allocated", Reason.REVERSED),
        ("apnic|JP|ipv4|1.0.0.0|0|20110414|allocated", Reason.REVERSED),
        ("apnic|JP|ipv4|223.255.255.0|600000000|20110414|allocated", Reason.PAST_END),
        ("apnic|JP|ipv4|1.0.0.0|many|20110414|allocated", Reason.BAD_FIELDS),
        ("apnic|JP|ipv4|1.0.0.300|256|20110414|allocated", Reason.BAD_ADDRESS),
        ("apnic|JP|ipv4|10.0.0.0|256|20110414|allocated", Reason.BOGON),
        ("apnic|JP|ipv6|2001:200::|0|20110414|allocated", Reason.BAD_LENGTH),
        ("apnic|JP|ipv6|2001:200::|129|20110414|allocated", Reason.BAD_LENGTH),
        ("apnic|JP|ipv6|2000::|3|20110414|allocated", Reason.TOO_SHORT),
        ("apnic|JP|asn|x|1|20110414|allocated", Reason.BAD_FIELDS),
        ("apnic|JP|asn|2497|0|20110414|allocated", Reason.BAD_FIELDS),
        ("apnic|JP|asn|2497|4097|20110414|allocated", Reason.BAD_FIELDS),
        ("apnic|JP|ipx|1|1|20110414|allocated", Reason.BAD_FIELDS),
        ("not statistics", Reason.BAD_FIELDS),
    ],
)
def test_rows_that_are_rejected(row: str, reason: Reason) -> None:
    assert [item.said for item in rows([row.encode()])] == [reason]


def test_an_unknown_country_is_passed_over_and_counted() -> None:
    (row,) = rows([b"ripencc|EU|ipv4|2.0.0.0|256|20110414|allocated"])
    assert isinstance(row.said, Block)
    assert (row.said.country, row.said.mends) == ("", (Mend.NO_COUNTRY,))


def test_an_endless_line_takes_bounded_memory() -> None:
    found = list(rows(iter([b"x" * LINE_LIMIT] * 50)))
    assert [(row.said, len(row.text)) for row in found] == [(Reason.BAD_FIELDS, LINE_LIMIT)]
