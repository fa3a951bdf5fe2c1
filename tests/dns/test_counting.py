"""What a worker writes into the control page beside its answers: rows, samples, answers by class."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirrornet.dns.serving import counters, hits, samples
from mirrornet.dns.serving.control import ControlPage
from mirrornet.dns.serving.hits import Hits
from mirrornet.dns.serving.samples import Picker, Ring
from mirrornet.model.errors import LocalError


def test_names_and_numbers_agree() -> None:
    for name in ("UDP", "BADCOOKIE", "TYPE_OTHER", "LATENCY_NS", "TCP_OPEN", "PID"):
        assert counters.NAMES[getattr(counters, name)] == name.lower()
    assert counters.NAMES[counters.LATENCY] == "within_10us"
    assert counters.NAMES[counters.LATENCY_NS - 1] == "later"
    assert counters.of_type(256) == counters.TYPE_URI and counters.of_type(257) == counters.TYPE_OTHER


def test_a_latency_is_counted_once_in_the_first_bound_that_holds_it() -> None:
    counts = [0] * len(counters.NAMES)
    for seconds in (0.0, 10e-6, 11e-6, 0.099, 5.0, -1.0):
        counters.took(counts, 2, seconds)
    found = dict(zip(counters.NAMES, counts, strict=True))
    assert (found["within_10us"], found["within_25us"], found["within_100ms"], found["later"]) == (6, 2, 2, 2)
    assert found["latency_ns"] == pytest.approx(2 * (10_000 + 11_000 + 99_000_000 + 5_000_000_000), rel=1e-6)


def test_the_ring_keeps_the_newest_and_tells_what_was_missed() -> None:
    ring = Ring(memoryview(bytearray(samples.SIZE)))
    assert ring.last == 0 and list(ring.since(0)) == []
    for number in range(1, samples.SAMPLES * 2 + 4):
        ring.put(float(number), 7, number, 1, b"\x0a\0\0\x01", b"q" * number, b"\0\0\x84\x03" + b"r" * 9)
    found = list(ring.since(0))
    assert [one.number for one in found] == list(range(samples.SAMPLES + 4, samples.SAMPLES * 2 + 4))
    last = found[-1]
    assert (last.at, last.generation, last.slot, last.transport) == (last.number, 7, last.number, 1)
    assert (last.peer, last.rcode, last.reply_size, last.size) == (b"\x0a\0\0\x01", 3, 13, last.number)
    assert last.query == b"q" * last.number
    assert [one.number for one in ring.since(last.number - 2)] == [last.number - 1, last.number]


def test_a_query_that_is_too_long_is_cut_and_silence_has_no_size() -> None:
    ring = Ring(memoryview(bytearray(samples.SIZE)))
    ring.put(1.0, 1, -1, 0, bytes(16), b"x" * 4096, None)
    (one,) = ring.since(0)
    assert (len(one.query), one.size, one.reply_size, one.slot) == (samples.SAMPLED, 4096, 0, -1)
    assert len(one.peer) == 16


def test_a_slot_that_is_being_written_is_passed_over() -> None:
    room = bytearray(samples.SIZE)
    ring = Ring(memoryview(room))
    ring.put(1.0, 1, 1, 0, bytes(4), b"one", b"reply")
    ring.put(2.0, 1, 1, 0, bytes(4), b"two", b"reply")
    room[samples.HEAD + samples.SLOT : samples.HEAD + samples.SLOT + 8] = bytes(8)
    assert [one.query for one in ring.since(0)] == [b"two"]


def test_one_of_so_many_and_no_more_than_so_many_a_second() -> None:
    picker = Picker()
    assert not any(picker.picks(float(n)) for n in range(10)), "off"
    picker.want(10, 1000)
    assert sum(picker.picks(100.0 + n / 1000) for n in range(1000)) == 100
    picker.want(1, 5)
    assert sum(picker.picks(200.0 + n / 1000) for n in range(1000)) in (9, 10), "what was saved up, and a second's"
    assert sum(picker.picks(100.0) for _ in range(50)) <= 5, "a clock that went back"


def numbers(octets: bytes) -> list[int]:
    return memoryview(octets).cast("I").tolist()


def test_a_new_plan_counts_in_the_other_bank_and_the_last_one_stands() -> None:
    banks = Hits(memoryview(bytearray(hits.SIZE)))
    assert banks.read() == []
    for generation in range(1, 5):
        counts = banks.begin(generation, 10)
        assert counts is not None and not any(counts)
        banks.use()
        counts[3] += generation
        known = {number: numbers(found)[3] for _, number, found in banks.read()}
        assert known == {number: number for number in (generation - 1, generation) if number}


def test_a_plan_that_was_begun_and_not_taken_up_leaves_the_counts_alone() -> None:
    room = memoryview(bytearray(hits.SIZE))
    banks = Hits(room)
    first = banks.begin(1, 10)
    banks.use()
    assert first is not None
    for _ in range(3):
        assert banks.begin(2, 10) is not None
        first[0] += 1
    assert {number: numbers(found)[0] for _, number, found in banks.read()}[1] == 3
    epoch = max(epoch for epoch, _, _ in banks.read())
    successor = Hits(room)
    assert successor.begin(2, 10) is not None
    assert max(found for found, _, _ in successor.read()) > epoch, "a new beginning is known by its epoch"
    assert banks.begin(9, hits.HITS + 1) is None, "too many classes: answered, not counted"


def test_the_page_holds_it_all_for_each_worker_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    page = ControlPage.create(tmp_path, 3)
    assert (tmp_path / "control").stat().st_mode & 0o777 == 0o600
    other = ControlPage.open(tmp_path)
    for worker in range(3):
        other.row(worker)[counters.UDP] = 10 + worker
        other.row(worker, step=True)[counters.UDP] = 100
        other.ring(worker).put(1.0, 1, worker, 0, bytes(4), b"query", b"reply")
        mine = other.hits(worker)
        counts = mine.begin(5, 2)
        assert counts is not None
        mine.use()
        counts[1] = 1000 + worker
    page.sample(64, 20)
    assert other.sampled == (64, 20)
    for worker in range(3):
        assert page.counters(worker)["udp"] == 110 + worker
        assert [one.slot for one in page.ring(worker).since(0)] == [worker]
        ((_, generation, found),) = page.hits(worker).read()
        assert generation == 5 and numbers(found)[1] == 1000 + worker
    other.close()
    page.close()
    (tmp_path / "control").write_bytes(b"MNCTRL01" + bytes(100))
    with pytest.raises(LocalError, match="not a control page"):
        ControlPage.open(tmp_path)
