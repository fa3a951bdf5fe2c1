"""The NBD handshake and messages as bytes: what must be said, and that no bytes at all get it out of step."""

from __future__ import annotations

import itertools
import random
import struct

import nbd_client as c
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirrornet.client.nbd import wire
from mirrornet.client.nbd.extents import extents
from mirrornet.client.nbd.handshake import LONGEST, MOST, Agreed, Export, Handshake
from mirrornet.client.nbd.wire import Rep

EXPORT = Export("debian", "debian version 6", 3 * 262144 + 5, 262144)
FLAGS = struct.pack(">I", 3)


def _replies(data: bytes) -> list[tuple[int, int, bytes]]:
    """(option, kind, data) of each reply."""
    found = []
    while data:
        magic, option, kind, length = struct.unpack_from(">QIII", data)
        assert magic == 0x3E889045565A9
        found.append((option, kind, data[20 : 20 + length]))
        assert len(found[-1][2]) == length
        data = data[20 + length :]
    return found


def _after(*messages: bytes) -> tuple[Handshake, list[tuple[int, int, bytes]]]:
    shake = Handshake(EXPORT)
    return shake, _replies(shake.receive(FLAGS + b"".join(messages)))


def test_go_tells_size_flags_and_block_sizes_then_what_follows_is_requests() -> None:
    shake, found = _after(c.option(c.OPT_GO, c.go_data(b"debian", 1, 2)), b"the first request")
    assert [kind for _, kind, _ in found] == [Rep.INFO] * 4 + [Rep.ACK]
    assert struct.unpack(">HQH", found[0][2]) == (0, EXPORT.size, wire.HAS_FLAGS | 1 << 1 | 1 << 8 | 1 << 10)
    assert struct.unpack(">HIII", found[1][2]) == (3, 1, 262144, 32 << 20)
    assert found[2][2] == b"\0\1debian" and found[3][2] == b"\0\2debian version 6"
    assert shake.agreed == Agreed(False, False) and shake.rest() == b"the first request"


def test_info_does_not_end_the_handshake_and_go_to_another_name_is_refused() -> None:
    shake, found = _after(c.option(c.OPT_INFO, c.go_data(b"")), c.option(c.OPT_GO, c.go_data(b"ubuntu")))
    assert [kind for _, kind, _ in found] == [Rep.INFO, Rep.INFO, Rep.ACK, Rep.ERR_UNKNOWN]
    assert b"'ubuntu'" in found[-1][2] and shake.agreed is None and not shake.ended


@pytest.mark.parametrize(("flags", "zeroes"), [(1, 124), (3, 0)])
def test_export_name_is_answered_without_a_header(flags: int, zeroes: int) -> None:
    shake = Handshake(EXPORT)
    reply = shake.receive(struct.pack(">I", flags) + c.option(c.OPT_EXPORT_NAME, b"debian"))
    assert len(reply) == 10 + zeroes and struct.unpack_from(">Q", reply)[0] == EXPORT.size
    assert shake.agreed == Agreed(False, False)
    other = Handshake(EXPORT)
    assert other.receive(struct.pack(">I", flags) + c.option(c.OPT_EXPORT_NAME, b"x")) == b"" and other.ended


def test_the_list_has_one_export_and_takes_no_data() -> None:
    _, found = _after(c.option(c.OPT_LIST), c.option(c.OPT_LIST, b"x"))
    assert found[0] == (3, Rep.SERVER, struct.pack(">I", 6) + b"debiandebian version 6")
    assert [kind for _, kind, _ in found] == [Rep.SERVER, Rep.ACK, Rep.ERR_INVALID]


@pytest.mark.parametrize(
    ("queries", "set_up", "listed"),
    [
        ((), False, True), ((b"base:allocation",), True, True), ((b"base:",), False, True),
        ((b"qemu:dirty-bitmap:x",), False, False), ((b"x:y", b"base:allocation"), True, True),
    ],
)  # fmt: skip
def test_the_metadata_context(queries: tuple[bytes, ...], set_up: bool, listed: bool) -> None:
    shake, found = _after(
        c.option(c.OPT_STRUCTURED),
        c.option(9, c.meta_data(b"debian", *queries)),
        c.option(c.OPT_SET_META, c.meta_data(b"debian", *queries)),
        c.option(c.OPT_GO, c.go_data(b"")),
    )
    ours = [(option, data) for option, kind, data in found if kind == Rep.META_CONTEXT]
    expected = [(9, struct.pack(">I", 0))] * listed + [(10, struct.pack(">I", 1))] * set_up
    assert ours == [(option, number + b"base:allocation") for option, number in expected]
    assert shake.agreed == Agreed(True, set_up)


def test_metadata_contexts_need_structured_replies() -> None:
    _, found = _after(c.option(c.OPT_SET_META, c.meta_data(b"", b"base:allocation")))
    assert [kind for _, kind, _ in found] == [Rep.ERR_INVALID]


@pytest.mark.parametrize(
    "message",
    [
        c.option(c.OPT_GO, b""), c.option(c.OPT_GO, b"\0\0\0\xff"), c.option(c.OPT_GO, c.go_data(b"") + b"x"),
        c.option(c.OPT_GO, struct.pack(">IH", 0, 9)), c.option(c.OPT_STRUCTURED, b"x"),
        c.option(c.OPT_GO, c.go_data(b"n" * 4097)),
    ],
)  # fmt: skip
def test_malformed_options_are_refused_and_the_haggling_goes_on(message: bytes) -> None:
    shake, found = _after(message, c.option(c.OPT_GO, c.go_data(b"")))
    assert found[0][1] == Rep.ERR_INVALID and found[-1][1] == Rep.ACK and shake.agreed


@pytest.mark.parametrize("queries", [struct.pack(">I", 1 << 31), struct.pack(">I", 2) + b"\0\0\0\1x", b"\0\0\0\0x"])
def test_malformed_queries_are_refused(queries: bytes) -> None:
    _, found = _after(c.option(c.OPT_STRUCTURED), c.option(c.OPT_SET_META, struct.pack(">I", 0) + queries))
    assert [kind for _, kind, _ in found] == [Rep.ACK, Rep.ERR_INVALID]


def test_unknown_options_are_not_supported_and_abort_is_the_end() -> None:
    shake, found = _after(c.option(5), c.option(11), c.option(0x12345678, b"data"), c.option(c.OPT_ABORT))
    assert [kind for _, kind, _ in found] == [Rep.ERR_UNSUP] * 3 + [Rep.ACK] and shake.ended
    assert b"TLS" in found[0][2]


@pytest.mark.parametrize(
    "data",
    [
        struct.pack(">I", 4), struct.pack(">I", 0), FLAGS + b"GET / HTTP/1.1\r\n\r\n",
        FLAGS + b"IHAVEOPT" + struct.pack(">II", 7, LONGEST + 1), FLAGS + c.option(c.OPT_LIST) * (MOST + 1),
    ],
)  # fmt: skip
def test_what_cannot_go_on_ends(data: bytes) -> None:
    shake = Handshake(EXPORT)
    shake.receive(data)
    assert shake.ended and shake.agreed is None


_OPTIONS = st.builds(
    c.option, st.one_of(st.integers(0, 12), st.integers(0, 0xFFFFFFFF)),
    st.one_of(
        st.binary(max_size=40), st.builds(c.go_data, st.sampled_from([b"", b"debian", b"x"]), st.integers(0, 3)),
        st.builds(c.meta_data, st.just(b""), st.binary(max_size=20)),
    ),
)  # fmt: skip


@given(messages=st.lists(st.one_of(_OPTIONS, st.binary(max_size=30)), max_size=8), cuts=st.randoms())
@settings(max_examples=300, deadline=None)
def test_where_the_network_cuts_makes_no_difference(messages: list[bytes], cuts: random.Random) -> None:
    data = FLAGS + b"".join(messages)
    whole = Handshake(EXPORT)
    expected = whole.receive(data)
    pieces, said, at = Handshake(EXPORT), b"", 0
    while at < len(data):
        step = cuts.randint(1, 12)
        said += pieces.receive(data[at : at + step])
        at += step
    assert said == expected and pieces.agreed == whole.agreed and pieces.ended == whole.ended
    assert pieces.rest() == whole.rest()


def test_a_hundred_thousand_options_of_any_kind_stay_bounded() -> None:
    dice = random.Random(4)
    sent = 0
    while sent < 100_000:
        shake = Handshake(EXPORT)
        shake.receive(FLAGS)
        while not shake.ended and not shake.agreed:
            data = dice.randbytes(dice.choice([0, 0, 4, 8, 30]))
            if dice.random() < 0.3:
                data = c.meta_data(b"debian", data)
            message = c.option(dice.choice([3, 5, 6, 8, 9, 10, 10, 99, dice.getrandbits(32)]), data)
            if dice.random() < 0.01:
                message = dice.randbytes(len(message))
            reply = shake.receive(message)
            sent += 1
            assert len(reply) < 500 and len(shake.rest()) <= LONGEST + 16
            if len(shake.rest()) > 40:  # a length that lies
                break


@given(
    unit=st.sampled_from([65536, 262144]), zero=st.lists(st.booleans(), min_size=1, max_size=12), data=st.data()
)  # fmt: skip
def test_extents_cover_what_was_asked_for_and_tell_the_truth(unit: int, zero: list[bool], data: st.DataObject) -> None:
    first = data.draw(st.integers(0, 5))
    offset = data.draw(st.integers(first * unit, (first + 1) * unit - 1))
    length = data.draw(st.integers(1, 14 * unit))
    found = extents(offset, length, unit, zero)
    assert sum(size for size, _ in found) == min(length, (first + len(zero)) * unit - offset)
    at = offset
    for size, flags in found:
        assert size > 0 and flags in (0, 3)
        for block in range(at // unit, (at + size - 1) // unit + 1):
            assert zero[block - first] == (flags == 3)
        at += size
    assert all(one[1] != two[1] for one, two in itertools.pairwise(found))
