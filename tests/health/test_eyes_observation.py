"""A statement and its bytes: what is written is read back, and nothing else is believed."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornet.health.eyes.observation import (
    HEAD_LIMIT,
    MOST_OVERRIDES,
    SEEN,
    Statement,
    decode,
    encode,
    heading,
    size_limit,
)
from mirrornet.model.override import Action, Override
from mirrornet.model.verdict import State, Verdict

PLAIN = Verdict(State.UP, 20.0, since=1000.0)
FULL = Verdict(
    State.LAGGING,
    7.125,
    since=999.5,
    reason="has timestamp 7, the newest is 8",
    rtt_ms=41.123,
    serves_select=False,
    holds=frozenset({"debian", "rescue"}),
    repository_version=7,
    families=frozenset({4}),
    share=0.25,
    lag=60.0,
)
DRAIN = Override("zone.test", "tokyo", Action.DRAIN, 1000.0, 2000.0, "alice", "new disks", 10.0)
SAID = Statement("zone.test", "fra1", 1_000_000, 1000.25, {"tokyo": PLAIN, "paris": FULL}, (DRAIN,), frozenset({4}))


def toy_sign(message: bytes) -> bytes:
    """A signature that shows what was signed well enough for a test, and has the length of a real one."""
    import hashlib

    return hashlib.sha512(b"key" + message).digest()


def toy_verify(message: bytes, signature: bytes) -> bool:
    return toy_sign(message) == signature


def believed(data: bytes) -> Statement:
    return decode(data, "zone.test", "fra1", toy_verify)


def forged(document: object, sequence: int = 1_000_000) -> bytes:
    """Bytes with a good signature: what a vantage says that has gone over to the other side."""
    body = document if isinstance(document, bytes) else json.dumps(document, sort_keys=True, separators=(",", ":"))
    body = body if isinstance(body, bytes) else body.encode()
    signature = toy_sign(f"1 zone.test fra1 {sequence}\n".encode() + body)
    return f"mirrornet-eyes 1 zone.test fra1 {sequence} {signature.hex()}\n".encode() + body


def test_what_is_written_is_read_back() -> None:
    data = encode(SAID, toy_sign)
    assert believed(data) == SAID
    assert heading(data[:HEAD_LIMIT]) == ("zone.test", "fra1", 1_000_000)
    assert encode(believed(data), toy_sign) == data


def test_what_a_probe_did_not_find_does_not_travel() -> None:
    by_hand = {state.value.replace(" ", "-"): Verdict(state, 1.0) for state in State}
    found = believed(encode(replace(SAID, verdicts=by_hand), toy_sign))
    assert {verdict.state for verdict in found.verdicts.values()} == SEEN
    barred = replace(PLAIN, barred={"JP": "x"}, override=DRAIN, certificate_until=5.0)
    assert believed(encode(replace(SAID, verdicts={"tokyo": barred}), toy_sign)).verdicts == {"tokyo": PLAIN}


def test_long_reasons_are_cut_and_endless_promises_end() -> None:
    verdict = Verdict(State.DOWN, float("inf"), reason="x\n" * 500)
    found = believed(encode(replace(SAID, verdicts={"tokyo": verdict}), toy_sign)).verdicts["tokyo"]
    assert (found.promise, found.reason) == (1e6, "x " * 60)


@pytest.mark.parametrize("place", [0, 30, 60, 200, -1])
def test_one_changed_byte_is_enough(place: int) -> None:
    data = bytearray(encode(SAID, toy_sign))
    data[place] ^= 1
    with pytest.raises(ValueError, match=r"."):
        believed(bytes(data))


@pytest.mark.parametrize(
    ("zone", "vantage", "sequence"), [("other.test", "fra1", 1), ("zone.test", "fra2", 1), ("zone.test", "fra1", 2)]
)
def test_no_statement_can_stand_in_anothers_place(zone: str, vantage: str, sequence: int) -> None:
    said = encode(replace(SAID, sequence=1), toy_sign)
    line, _, body = said.partition(b"\n")
    moved = b" ".join([*line.split()[:2], zone.encode(), vantage.encode(), b"%d" % sequence, line.split()[-1]])
    with pytest.raises(ValueError, match=r"another's|signature"):
        believed(moved + b"\n" + body)


GOOD = {
    "at": 1000.25,
    "mirrors": {"tokyo": {"promise": 20.0, "since": 1000.0, "state": "up"}},
    "overrides": [],
    "sees": [4, 6],
}


def entry(**changes: object) -> dict[str, object]:
    return {**GOOD, "mirrors": {"tokyo": {"promise": 20.0, "since": 1000.0, "state": "up"} | changes}}


def test_a_good_key_makes_nobody_honest() -> None:
    assert believed(forged(GOOD)).verdicts["tokyo"] == PLAIN
    for document in (
        b"",
        b"null",
        b"[" * 100_000,
        b'{"at":NaN,"mirrors":{},"overrides":[],"sees":[4,6]}',
        b'{"at":1000.25,"at":1000.25,"mirrors":{},"overrides":[],"sees":[4,6]}',
        b'{"at":1000.250,"mirrors":{},"overrides":[],"sees":[4,6]}',
        b'{"at":1' + b"0" * 5000 + b',"mirrors":{},"overrides":[],"sees":[4,6]}',
        json.dumps(GOOD).encode(),  # with blanks
        {**GOOD, "at": True},
        {**GOOD, "at": -1.0},
        {**GOOD, "at": 1e300},
        {**GOOD, "more": 1},
        {**GOOD, "sees": [6, 4]},
        {**GOOD, "sees": "46"},
        {"at": 1.0},
        {**GOOD, "mirrors": []},
        {**GOOD, "mirrors": {"../tokyo": {}}},
        {**GOOD, "mirrors": {"tokyo": None}},
        {**GOOD, "overrides": {}},
        {**GOOD, "overrides": [{"mirror": "tokyo"}]},
        {**GOOD, "overrides": [json.loads(json.dumps({}))] * (MOST_OVERRIDES + 1)},
        entry(state="forced up"),
        entry(state="drained"),
        entry(state="unknown"),
        entry(state=1),
        entry(promise=1e9),
        entry(promise="20"),
        entry(since=None),
        entry(reason="x" * 121),
        entry(reason="a\x1b[2Jb"),
        entry(rtt_ms=[1]),
        entry(serves_select=1),
        entry(holds="debian"),
        entry(holds=["rescue", "debian"]),
        entry(holds=[1]),
        entry(families=[5]),
        entry(families=[6, 4]),
        entry(share=1.5),
        entry(share=1.0),  # the default is not written
        entry(repository_version=1.5),
        entry(repository_version=True),
        entry(barred={"JP": "x"}),
    ):
        with pytest.raises(ValueError, match=r"."):
            believed(forged(document))


def test_an_override_of_another_zone_is_none_of_its_business() -> None:
    data = encode(replace(SAID, overrides=(replace(DRAIN, zone="other.test"),)), toy_sign)
    with pytest.raises(ValueError, match="another zone"):
        believed(data)


@given(st.binary(max_size=400))
def test_any_bytes_are_refused_in_words(data: bytes) -> None:
    for hostile in (data, b"mirrornet-eyes " + data, forged(data)):
        with pytest.raises(ValueError, match=r"."):
            believed(hostile)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["up", "tokyo"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["tokyo", "state", "promise", "since", "reason", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(st.fixed_dictionaries({"at": JSON, "mirrors": JSON, "overrides": JSON, "sees": JSON}) | JSON)
def test_any_document_with_a_good_signature_is_read_or_refused(document: object) -> None:
    """Nothing but ValueError comes out, and what is read is what we would have written."""
    data = forged(document)
    try:
        found = believed(data)
    except ValueError:
        return
    assert encode(found, toy_sign) == data


VERDICTS = st.builds(
    Verdict,
    state=st.sampled_from(sorted(SEEN)),
    promise=st.floats(0, 1e5),
    since=st.floats(0, 2e9),
    reason=st.text(max_size=300),
    rtt_ms=st.none() | st.floats(0, 9e5),
    serves_select=st.none() | st.booleans(),
    holds=st.none() | st.frozensets(st.sampled_from(["debian", "rescue", "a", "b"])),
    repository_version=st.none() | st.integers(0, 2**53),
    families=st.sampled_from([None, frozenset({4}), frozenset({6}), frozenset({4, 6})]),
    share=st.floats(0, 1),
    lag=st.floats(0, 1e6),
)


@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9-]{0,20}[a-z0-9]", fullmatch=True), VERDICTS, max_size=5))
def test_whatever_monitors_find_can_be_said(verdicts: dict[str, Verdict]) -> None:
    data = encode(replace(SAID, verdicts=verdicts), toy_sign)
    found = believed(data)
    assert found.verdicts.keys() == verdicts.keys()
    assert all(found.verdicts[name].state is verdicts[name].state for name in verdicts)
    assert encode(found, toy_sign) == data
    assert len(data) <= size_limit(len(verdicts))
