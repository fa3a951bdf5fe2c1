"""RFC 2622 section 2, and what real dumps make of it."""

from __future__ import annotations

import pytest

from mirrornet.radb.reading.rpsl import Piece, TooLong, attributes, class_of, pieces, runs

TWO = b"route: 192.0.2.0/24\norigin: AS1\n\nroute: 198.51.100.0/24\norigin: AS2\n"


def whole(stream: list[bytes]) -> list[tuple[int, bytes]]:
    """(line, text) of every object."""
    return [
        (piece.line_of(begin), piece.data[begin:end])
        for piece in pieces(stream)
        if isinstance(piece, Piece)
        for begin, end in runs(piece.data)
    ]


@pytest.mark.parametrize("portion", [1, 2, 3, 7, 33, 34, 35, 1000])
@pytest.mark.parametrize("text", [TWO, TWO + b"\n", TWO + b"\n\n\n", TWO.replace(b"\n", b"\r\n"), b"\n\n" + TWO])
def test_portions_of_any_size_give_the_same_objects_on_the_same_lines(text: bytes, portion: int) -> None:
    stream = [text[at : at + portion] for at in range(0, len(text), portion)]
    shift = 2 if text.startswith(b"\n") else 0
    assert whole(stream) == [
        (1 + shift, b"route: 192.0.2.0/24\norigin: AS1"),
        (4 + shift, b"route: 198.51.100.0/24\norigin: AS2"),
    ]


def test_a_line_of_blanks_does_not_end_an_object() -> None:
    assert whole([b"route: 192.0.2.0/24\n \norigin: AS1\n\n"]) == [(1, b"route: 192.0.2.0/24\n \norigin: AS1")]


def test_an_endless_object_is_passed_over_and_memory_is_bounded() -> None:
    stream = [b"person: x\n\nremarks: ", *[b"y" * 999 + b"\n"] * 50, b"\nroute: 192.0.2.0/24\n\n"]
    found = list(pieces(iter(stream), limit=10_000))
    long = [item for item in found if isinstance(item, TooLong)]
    assert long == [TooLong(3)] and long[0].start == b"remarks: " + b"y" * 191
    kept = [item for item in found if isinstance(item, Piece)]
    assert [(item.line, item.data.strip()) for item in kept] == [(1, b"person: x"), (54, b"route: 192.0.2.0/24")]


def test_an_endless_last_line_is_reported_once() -> None:
    assert list(pieces(iter([b"x" * 600] * 100), limit=10_000)) == [TooLong(1)]


def test_continuations_comments_and_names_in_any_case() -> None:
    text = (
        b"% remark of the server\nroute:203.0.113.0/24\ndescr:  first # not this\n+\n+   third\n\tfourth\n"
        b"# between\nOrigin:  AS64500   # why\nno attribute at all\nsource:\n"
    )
    assert attributes(text) == [
        (b"route", b"203.0.113.0/24"),
        (b"descr", b"first third fourth"),
        (b"origin", b"AS64500"),
        (b"source", b""),
    ]


def test_a_comment_line_does_not_cut_a_value() -> None:
    assert attributes(b"route: 192.0.2.0\n% noise\n /24") == [(b"route", b"192.0.2.0 /24")]


@pytest.mark.parametrize(
    "text", [b"", b"plain words", b" indented: x", b"% only remarks", b": no name", b"\xff\xfe: x"]
)
def test_what_does_not_begin_with_an_attribute_has_none(text: bytes) -> None:
    assert attributes(text) == []
    assert class_of(text) == b""


def test_unicode_and_form_feeds_do_not_end_lines() -> None:
    text = "person: a\u2028b\x0cc\x85d\nsource: RIPE".encode()
    assert [name for name, _ in attributes(text)] == [b"person", b"source"]
