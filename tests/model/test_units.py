"""Durations and sizes: what is taken, what is refused, what is printed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornet.model.units import format_duration, format_size, parse_duration, parse_share, parse_size


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10", 10.0),
        ("10s", 10.0),
        ("0.5", 0.5),
        ("500ms", 0.5),
        ("1.5h", 5400.0),
        ("1h30m", 5400.0),
        ("1h 30m", 5400.0),
        ("2 d", 172800.0),
        ("1w", 604800.0),
        (" 3m ", 180.0),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "s", "ten", "-1s", "1h30", "1x", "1 2", "1e3", "10S", "1s x", "x 1s", "1.s", "∞"])
def test_durations_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [("4096", 4096), ("256K", 262144), ("256k", 262144), ("1.5M", 1572864), ("10G", 10 << 30), ("1 TiB", 1 << 40)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "K", "-1", "1X", "1 K 2", "1e3", "0x10"])
def test_sizes_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        parse_size(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.085, "85 ms"),
        (1, "1.0 s"),
        (2.5, "2.5 s"),
        (120, "2 min"),
        (720, "12 min"),
        (7200, "2.0 h"),
        (10800, "3.0 h"),
        (172800, "2.0 d"),
    ],
)
def test_durations_printed(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (512, "512 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (20 << 20, "20.0 MiB"), (3 << 40, "3.0 TiB")],
)
def test_sizes_printed(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.text(max_size=12))
def test_any_text_is_a_number_or_a_sentence(text: str) -> None:
    for parse in (parse_duration, parse_size):
        try:
            assert parse(text) >= 0
        except ValueError as error:
            assert repr(text) in str(error)


@given(st.integers(0, 10**9), st.sampled_from(["ms", "s", "m", "h", "d", "w"]))
def test_units_multiply(number: int, unit: str) -> None:
    one = parse_duration(f"1{unit}")
    assert parse_duration(f"{number}{unit}") == pytest.approx(number * one)


def test_shares() -> None:
    assert [parse_share(text) for text in ("1%", " 0.5 % ", "100%", "0%")] == [0.01, 0.005, 1.0, 0.0]
    for nonsense in ("1", "101%", "-1%", "one", "%", "1 %%"):
        with pytest.raises(ValueError, match="not a share"):
            parse_share(nonsense)
