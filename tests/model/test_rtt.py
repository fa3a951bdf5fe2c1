"""The body of POST /v1/rtt: what is a report, and what is none."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornet.model.rtt import BODY_LIMIT, MOST_LOST, MOST_MIRRORS, RttReport, encode_report, parse_report

GOOD = {"v": 1, "select": "select.inetboot.net", "rtt": {"tokyo": 41.5, "paris": 243}}


def test_a_report_and_back() -> None:
    report = RttReport("select.inetboot.net", {"tokyo": 41.5, "paris": 243.0})
    assert parse_report(json.dumps(GOOD).encode()) == report == parse_report(encode_report(report))
    lost = RttReport("select.inetboot.net", {"tokyo": 41.5, "paris": 243.0}, frozenset({"lagos", "dallas"}))
    assert parse_report(json.dumps(GOOD | {"lost": ["dallas", "lagos"]}).encode()) == lost
    assert parse_report(encode_report(lost)) == lost


def test_what_is_sent_always_fits() -> None:
    many = {f"{'m' * 58}{number}": 1234.56789 for number in range(100, 140)}
    select = ".".join(["x" * 63] * 3 + ["x" * 61])
    lost = frozenset(f"{'l' * 60}{number}" for number in range(100, 140)) | {"m" * 58 + "100", "no name"}
    body = encode_report(RttReport(select, many | {"no name": 1.0, "fast": 0.0}, lost))
    assert len(body) <= BODY_LIMIT
    assert (len(parse_report(body).rtt), len(parse_report(body).lost)) == (MOST_MIRRORS, MOST_LOST)
    assert parse_report(body).rtt["m" * 58 + "100"] == 1234.6


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"null",
        b"[]",
        b"\xff\xfe",
        b"[" * 2000,
        b"{" * 2000,
        b'{"v":1',
        b"9" * 2000,
        b" " * (BODY_LIMIT + 1),
        b'{"v":1,"select":"a.b","rtt":{"tokyo":1,"tokyo":2}}',
        b'{"v":1,"v":1,"select":"a.b","rtt":{"tokyo":1}}',
        b'{"v":1,"select":"a.b","rtt":{"tokyo":NaN}}',
        b'{"v":1,"select":"a.b","rtt":{"tokyo":Infinity}}',
        b'{"v":1,"select":"a.b","rtt":{"tokyo":-Infinity}}',
        b'{"v":1,"select":"a.b","rtt":{"tokyo":1e999}}',
        b'{"v":1,"select":"a.b","rtt":{"tokyo":' + b"9" * 1900 + b"}}",
    ],
)
def test_hostile_bodies(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_report(body)


@pytest.mark.parametrize(
    "change",
    [
        {"v": 2}, {"v": True}, {"v": "1"}, {"v": None},
        {"select": ""}, {"select": "UPPER.example"}, {"select": 7}, {"select": "a..b"}, {"select": "a" * 300},
        {"select": "a.b\n"},
        {"rtt": {}}, {"rtt": []}, {"rtt": None}, {"rtt": {f"m{n}": 1 for n in range(MOST_MIRRORS + 1)}},
        {"rtt": {"tokyo": "41"}}, {"rtt": {"tokyo": True}}, {"rtt": {"tokyo": None}}, {"rtt": {"tokyo": [1]}},
        {"rtt": {"tokyo": 0}}, {"rtt": {"tokyo": -1}}, {"rtt": {"tokyo": 5000.1}}, {"rtt": {"Tokyo": 1}},
        {"rtt": {"../etc": 1}}, {"rtt": {"": 1}}, {"rtt": {"a" * 64: 1}}, {"rtt": {"tokyo\n": 1}},
        {"image": "debian"}, {"id": "me"},
        {"lost": []}, {"lost": None}, {"lost": "lagos"}, {"lost": ["tokyo"]}, {"lost": [7]}, {"lost": ["La Gos"]},
        {"lost": {"lagos": 1}}, {"lost": [f"m{n}" for n in range(MOST_LOST + 1)]},
    ],
)  # fmt: skip
def test_wrong_types_and_ranges(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_report(json.dumps(GOOD | change).encode())


@given(st.binary(max_size=200) | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(repr).map(str.encode))
def test_any_bytes_are_a_report_or_a_value_error(body: bytes) -> None:
    try:
        found = parse_report(body)
    except ValueError:
        return
    assert all(math.isfinite(ms) for ms in found.rtt.values())
