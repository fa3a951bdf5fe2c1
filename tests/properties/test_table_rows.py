"""The fast reader of delegated statistics says of every line what the exact reader says, and of which line."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mirrornet.radb.facts import Block, Mend, Reason
from mirrornet.radb.reading import delegated, rows
from mirrornet.radb.reading.delegated import AsnRun


def by_exact_reader(data: bytes, bogons: bool) -> Counter[tuple[str, Block | AsnRun | Reason]]:
    return Counter((row.kind, row.said) for row in delegated.rows([data], bogons))


def by_fast_reader(data: bytes, bogons: bool) -> tuple[Counter[tuple[str, Block | AsnRun | Reason]], int]:
    """All rows, the plain ones from the columns, and how many those were."""
    found: Counter[tuple[str, Block | AsnRun | Reason]] = Counter()
    plain_count = 0
    base = 1
    for piece in delegated.pieces([data]):
        plain = rows.read(piece, bogons)
        assert plain.lines == piece.count(b"\n")
        for kind, held in plain.kinds.items():
            columns = (held.firsts.tolist(), held.lasts.tolist(), held.countries.tolist())
            for first, last, number in zip(*columns, strict=True):
                code = plain.codes[number]
                plain_count += 1
                if kind == "asn":
                    found[kind, AsnRun(first, last - first + 1, code)] += 1
                else:
                    found[kind, Block(4 if kind == "ipv4" else 6, first, last, code, None, "")] += 1
        for number, (begin, end) in plain.rest:
            assert piece.count(b"\n", 0, begin) == number
            row = delegated.row(base + number, piece[begin:end].rstrip(b"\r"), bogons)
            if row is not None:
                found[row.kind, row.said] += 1
        base += plain.lines
    return found, plain_count


FIELDS = st.tuples(
    st.sampled_from(["nro", "ripencc", "2", "#arin", "", "é", "2.3"]),
    st.sampled_from(["JP", "jp", "UK", "ZZ", "EU", "", "*", "JPN", "J"]),
    st.sampled_from(["ipv4", "ipv6", "asn", "IPV4", "ipv44", ""]),
    st.sampled_from(
        [
            "1.0.0.0",
            "223.255.255.0",
            "10.0.0.0",
            "010.0.0.0",
            "1.0.0",
            "1.0.0.256",
            "8.0.0.0",
            "2001:200::",
            "2400::",
            "::",
            "2001:200:0:0:0:0:0:0",
            "2001:db8::",
            "2001:200::1",
            "2001:12345::",
            "2497",
            "4200000000",
            "x",
            "",
            "*",
        ]
    ),
    st.sampled_from(["1", "0", "256", "768", "08", "32", "16", "15", "64", "65", "4096", "4097", "-256", "", "x"])
    | st.sampled_from(["268435456", "268435457", "600000000", "99999999", "16777216", "12345678901"]),
    st.sampled_from(["20110414", ""]),
    st.sampled_from(["allocated", "assigned", "available", "reserved", "allocatedd", "Assigned", "summary", "", " "]),
    st.sampled_from(["", "|", "|x|e-stats", "\r", "|\r", "|x\r"]),
)
PLAIN_FIELDS = st.tuples(
    st.just("nro"),
    st.sampled_from(["JP", "DE"]),
    st.sampled_from(["ipv4", "ipv6", "asn"]),
    st.sampled_from(["1.0.0.0", "2001:200::", "2497", "192.0.2.0", "192.0.0.0"]),
    st.sampled_from(["16", "24", "64", "256", "1024"]),
    st.just(""),
    st.sampled_from(["allocated", "assigned", "reserved"]),
    st.sampled_from(["", "|x", "\r"]),
)


def line(fields: tuple[str, ...]) -> str:
    return "|".join(fields[:-1]) + fields[-1]


LINES = st.one_of(
    FIELDS.map(line),
    PLAIN_FIELDS.map(line),
    st.sampled_from(["# x", "", "2|nro|1|2|3|4|+0000", "nro|*|ipv4|*|1|summary", "|" * 5, "|" * 9, "a|b", "\0|\0"]),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(LINES, max_size=12), st.booleans(), st.booleans())
@example(["nro|JP|ipv4|1.0.0.0|256|20110414|allocated"], False, False)
@example(["|", "nro|JP|ipv4|1.0.0.0|256|20110414"], False, True)
def test_fast_rows_equal_exact_rows(lines: list[str], bogons: bool, ended: bool) -> None:
    data = ("\n".join(lines) + ("\n" if ended else "")).encode()
    assert by_fast_reader(data, bogons)[0] == by_exact_reader(data, bogons)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_rows_without_an_error(noise: bytes) -> None:
    data = b"nro|JP|ipv4|1.0.0.0|256|20110414|allocated\n" + noise
    assert by_fast_reader(data, False)[0] == by_exact_reader(data, False)


@pytest.mark.parametrize(
    "row",
    [
        "nro|JP|ipv4|1.0.0.0|768|20110414|allocated",
        "nro|jp|ipv6|2001:200::|35|20110414|assigned|x|e-stats",
        "nro|JP|asn|2497|3|20110414|assigned|",
        "apnic|JP|ipv4|223.255.255.0|256||allocated",
    ],
)
def test_an_ordinary_row_is_read_by_columns(row: str) -> None:
    data = f"# x\n{row}\n".encode()
    found, plain = by_fast_reader(data, False)
    assert plain == 1
    assert found == by_exact_reader(data, False)


def test_a_row_without_a_country_is_left_to_the_exact_reader() -> None:
    found, plain = by_fast_reader(b"# x\nnro|ZZ|ipv4|1.0.0.0|256|x|assigned\n", False)
    assert plain == 0
    assert [said.mends for _, said in found if isinstance(said, Block)] == [(Mend.NO_COUNTRY,)]
