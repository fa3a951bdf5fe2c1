"""The ends of every range: the last value that is taken, and the first that is not."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mirrornet.config import names, values
from mirrornet.config.faults import Wrong


@pytest.mark.parametrize(
    ("parse", "taken", "refused"),
    [
        (values.whole(1, 8), ("1", "8"), ("0", "9", "-1", "1.0", "01", "8 ", "")),
        (values.degrees(90), ("-90", "90", "0", "-0.5", "89.99999"), ("-90.1", "90.1", "+1", "1e1", "090", ".5")),
        (values.degrees(180), ("-180", "180"), ("-180.001", "181")),
        (values.duration(0.1, 3600), ("100ms", "1h", "60m", "0.1"), ("99ms", "3601s", "61m", "-1s", "1 year")),
        (values.seconds(1, 86400), ("1s", "1d", "20"), ("0", "1500ms", "86401s")),
        (values.asn, ("1", "AS1", "4294967295", "AS4294967295"), ("0", "AS0", "4294967296", "AS1.10", "as1", "01")),
        (values.boolean, ("true", "false"), ("yes", "True", "1", "off")),
        (values.choice("tcp", "none"), ("tcp", "none"), ("TCP", "tcp ", "")),
        (values.country, ("JP", "NO"), ("jp", "UK", "EU", "Japan", "J")),
        (names.host_name, ("a." * 126 + "a", "a" * 63 + ".b"), ("a." * 126 + "aa", "a" * 64 + ".b", "a..b", "1.2.3.4")),
        (names.label, ("a", "a" * 63, "a-1"), ("", "a" * 64, "-a", "a-", "A", "a.b")),
        (values.image_name, ("a", "9", "a" * 63, "debian-12.1_x"), ("", "A", "-a", ".a", "a" * 64, "a/b")),
    ],
)
def test_the_last_that_is_taken_and_the_first_that_is_not(
    parse: Callable[[str], object], taken: tuple[str, ...], refused: tuple[str, ...]
) -> None:
    for text in taken:
        parse(text)
    for text in refused:
        with pytest.raises(Wrong) as wrong:
            parse(text)
        assert wrong.value.what and "\n" not in wrong.value.what


def test_what_the_ends_mean() -> None:
    assert (values.degrees(90)("-90"), values.duration(0.1, 3600)("100ms"), values.seconds(1, 86400)("1d")) == (
        -90.0,
        0.1,
        86400,
    )
    assert values.asn("AS4294967295") == 2**32 - 1
