"""From samples to the query log and the window's stream; which mirrors were named how often."""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import dns.edns
import dns.message
import pytest

from mirrornet.app.server.answers.asked import Asked
from mirrornet.app.server.showing.seeing import line, seen
from mirrornet.app.server.showing.watching import LIVE, Watching, append
from mirrornet.dns.message import wire
from mirrornet.dns.serving.samples import SAMPLED, Sample
from mirrornet.model.zone import QueryLogSettings


def sample(
    peer: str = "198.51.100.77",
    subnet: tuple[str, int] | None = None,
    query: bytes | None = None,
    name: str = "SeLect.example.net",
    kind: str = "A",
) -> Sample:
    if query is None:
        message = dns.message.make_query(name, kind, use_edns=0)
        if subnet is not None:
            message.use_edns(0, 0, 1232, options=[dns.edns.ECSOption(*subnet)])
        query = message.to_wire()
    octets = ip_address(peer).packed
    return Sample(1, 1_800_000_000.25, 3, 0, len(query), 100, 0x8403, wire.UDP, octets, query[:SAMPLED])


@pytest.mark.parametrize(
    ("peer", "subnet", "shown", "whole"),
    [
        ("198.51.100.77", None, "198.51.100.0/24", "198.51.100.77"),
        ("2001:db8:1234:5678:9abc::1", None, "2001:db8:1234:5600::/56", "2001:db8:1234:5678:9abc::1"),
        ("198.51.100.77", ("203.0.113.0", 24), "203.0.113.0/24", "203.0.113.0/24"),
        ("198.51.100.77", ("203.0.113.9", 32), "203.0.113.0/24", "203.0.113.9"),
        ("198.51.100.77", ("203.0.0.0", 16), "203.0.0.0/16", "203.0.0.0/16"),
        ("198.51.100.77", ("0.0.0.0", 0), "198.51.100.0/24", "198.51.100.77"),
        ("192.0.2.1", ("2001:db8:1:2::", 64), "2001:db8:1::/56", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.9", None, "203.0.113.0/24", "203.0.113.9"),
        ("2002:cb00:7109::1", None, "203.0.113.0/24", "203.0.113.9"),  # 6to4: a /56 would hold all of it
        ("192.0.2.1", ("2002:cb00:7109::", 48), "203.0.113.0/24", "203.0.113.9"),
    ],
)
def test_addresses_are_cut_unless_the_operator_wants_them_whole(
    peer: str, subnet: tuple[str, int] | None, shown: str, whole: str
) -> None:
    one = sample(peer, subnet)
    assert seen(one).client == shown
    assert seen(one, whole=True).client == whole
    assert seen(one).subnet == (subnet is not None and subnet[1] > 0)


def test_a_query_in_words() -> None:
    one = seen(sample(kind="AAAA"), ["tokyo", "paris"])
    assert (one.name, one.type, one.rcode, one.transport) == ("select.example.net", "AAAA", "NXDOMAIN", "udp")
    assert (one.at, one.mirrors) == (1_800_000_000.25, ("tokyo", "paris"))
    assert line(one, 100, 50)["time"] == "2027-01-15T08:00:00.250Z"
    silent = replace(sample(), reply_size=0)
    assert seen(silent).rcode == "" and line(seen(silent), 0, 1)["rcode"] is None
    assert seen(replace(sample(), flags=0x8017)).rcode == "BADCOOKIE"
    assert seen(sample(kind="TYPE4711")).type == "TYPE4711"


def test_what_is_no_query_or_was_cut_is_shown_as_far_as_it_goes() -> None:
    assert seen(sample(query=b"")).name == ""
    assert seen(sample(query=bytes(range(200)))).type in ("", "TYPE0")
    whole = dns.message.make_query(
        "select.example.net", "URI", use_edns=0, options=[dns.edns.GenericOption(12, bytes(400))]
    )
    cut = seen(sample(query=whole.to_wire()))
    assert (cut.name, cut.type) == ("select.example.net", "URI")
    evil = seen(sample(query=dns.message.make_query("a\\010b\\034.example", "A").to_wire()))
    text = json.dumps(line(evil, 1, 1))
    assert "\n" not in text and json.loads(text)["name"] == 'a\\010b\\".example'


def test_whatever_strangers_send_can_be_shown() -> None:
    dice = random.Random(7)
    seeds = [sample(subnet=("203.0.113.0", 24)).query, sample(name="a.b.c.example", kind="URI").query]
    for _ in range(5000):
        data = bytearray(dice.choice(seeds))
        for _ in range(dice.randrange(4)):
            at = dice.randrange(len(data))
            data[at : at + dice.randrange(3)] = dice.randbytes(dice.randrange(3))
        one = replace(sample(query=bytes(data[: dice.randrange(len(data) + 1)])), flags=dice.randrange(1 << 16))
        one = replace(one, transport=dice.randrange(5), peer=dice.randbytes(dice.choice([4, 16])))
        told = json.dumps(line(seen(one), 0, 1))
        assert told.isprintable()
        length = int(seen(one).client.rpartition("/")[2])
        assert length <= (24 if "." in seen(one).client.rpartition(":")[2] else 56)


CLASSES = [
    {"zone": "z", "select": "select", "family": 4, "mirrors": ["tokyo", "paris"]},
    {"zone": "z", "select": "select", "family": None, "mirrors": ["dallas", "paris", "tokyo"]},
    {"zone": "y", "select": "@", "family": 6, "mirrors": ["osaka"]},
]


def bank(epoch: int, generation: int, *counts: int) -> tuple[int, int, bytes]:
    return epoch, generation, b"".join(count.to_bytes(4, "little") for count in (*counts, 9, 9))  # longer than the plan


def test_answers_are_added_up_over_plans_and_workers() -> None:
    asked = Asked()
    asked.add(0, [bank(1, 1, 7, 7, 7)])  # of a plan that nobody knows
    asked.know(1, asked.prepare(CLASSES))
    asked.add(0, [bank(1, 1, 4, 1, 0)])
    asked.add(1, [bank(1, 1, 2, 0, 5)])
    asked.add(0, [bank(1, 1, 4, 1, 0)])
    asked.know(2, asked.prepare(CLASSES[2:]))
    asked.add(0, [bank(1, 1, 6, 1, 0), bank(2, 2, 7)])
    asked.add(0, [bank(2, 2, 7), bank(1, 1, 6, 1, 0)])
    assert asked.kinds_of("z") == {("tokyo", "A"): 8, ("paris", "A"): 8, ("tokyo", "list"): 1, ("paris", "list"): 1,
                                   ("dallas", "list"): 1}  # fmt: skip
    assert asked.kinds_of("y") == {("osaka", "AAAA"): 12}
    assert asked.of_zone("z") == {"tokyo": 0.5, "paris": 0.5}
    assert asked.of_zone("nowhere") == {}
    assert list(asked.mirrors(1, 0)) == ["tokyo", "paris"]
    assert list(asked.mirrors(1, 99)) == list(asked.mirrors(1, -1)) == list(asked.mirrors(9, 0)) == []


def test_a_replaced_worker_begins_from_zero_and_nothing_is_counted_twice() -> None:
    asked = Asked()
    asked.know(1, asked.prepare(CLASSES))
    asked.add(0, [bank(1, 1, 10, 0, 0)])
    asked.add(0, [bank(1, 1, 10, 0, 0), bank(2, 1, 3, 0, 0)])  # its successor counts in the other bank
    asked.add(0, [bank(3, 1, 4, 0, 0), bank(2, 1, 3, 0, 0)])  # who was killed in turn, and the first one taken again
    assert asked.kinds_of("z")["tokyo", "A"] == 17
    for generation in range(2, 7):
        asked.know(generation, asked.prepare(CLASSES))
    asked.add(0, [bank(3, 1, 9, 0, 0), bank(4, 6, 1, 0, 0)])  # the first plan is forgotten, and no harm
    assert asked.kinds_of("z")["tokyo", "A"] == 18


def test_a_count_that_wraps() -> None:
    asked = Asked()
    asked.know(1, asked.prepare(CLASSES))
    asked.add(0, [bank(1, 1, 2**32 - 1, 0, 0)])
    asked.add(0, [bank(1, 1, 4, 0, 0)])
    assert asked.kinds_of("z")["tokyo", "A"] == 2**32 + 4


class Source:
    """An engine."""

    def __init__(self) -> None:
        self.wanted = (0, 0)
        self.ready: list[Sample] = []
        self.queries = 0

    def sample(self, every: int, rate: int) -> None:
        self.wanted = every, rate

    def samples(self) -> Sequence[Sample]:
        found, self.ready = self.ready, []
        return found

    def mirrors_of(self, generation: int, slot: int) -> Sequence[str]:
        return ["tokyo"]

    def counters(self) -> dict[str, int]:
        return {"udp": self.queries}


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.fixture
def source() -> Source:
    return Source()


async def test_samples_are_taken_only_while_somebody_wants_them(source: Source) -> None:
    watching = Watching(source, 2)
    running = asyncio.create_task(watching.run())
    await asyncio.sleep(0)
    assert source.wanted == (0, 0)
    async with watching.listening() as queue:
        await until(lambda: source.wanted == (1, LIVE))
        source.ready = [sample(), sample()]
        async with asyncio.timeout(60):
            batch = await queue.get()
        assert [one.mirrors for one in batch] == [("tokyo",), ("tokyo",)]
    await until(lambda: source.wanted == (0, 0))
    running.cancel()
    await asyncio.wait([running])


async def test_a_bug_in_here_is_told_once_and_ends_nothing(source: Source, expected_warnings: list[str]) -> None:
    expected_warnings.append("samples of queries are not shown: a bug of ours: what")
    broken = source.samples
    calls = 0

    def breaks() -> Sequence[Sample]:
        nonlocal calls
        calls += 1
        if calls < 3:
            raise LookupError("what")
        return broken()

    source.samples = breaks  # type: ignore[method-assign]
    watching = Watching(source, 1)
    running = asyncio.create_task(watching.run())
    async with watching.listening() as queue:
        source.ready = [sample()]
        async with asyncio.timeout(20):
            assert await queue.get()
    running.cancel()
    await asyncio.wait([running])
    assert calls >= 3


async def test_a_listener_who_does_not_read_loses_and_holds_up_nobody(source: Source) -> None:
    watching = Watching(source, 1)
    async with watching.listening() as slow, watching.listening() as quick:
        for _ in range(200):
            source.ready = [sample()]
            watching._look()
            assert quick.get_nowait()
        assert slow.full() and slow.qsize() < 200


async def test_the_log_takes_its_part_and_says_once_that_it_cannot(
    source: Source, tmp_path: Path, expected_warnings: list[str]
) -> None:
    path = tmp_path / "queries.jsonl"
    wanted = QueryLogSettings(path, sample=10, most=30)
    watching = Watching(source, 2)
    assert watching.counters() == {}
    watching.settle(wanted)
    watching._decide()
    assert source.wanted == (10, 15), "one in ten, its rate shared by the workers"

    async def look(count: int) -> None:
        source.ready = [sample()] * count
        watching._look()
        if watching._writing is not None:
            await watching._writing

    await look(3)
    told = [json.loads(text) for text in path.read_text().splitlines()]
    assert len(told) == 3 and told[0]["client"] == "198.51.100.0/24" and told[0]["of"] == 10
    assert path.stat().st_mode & 0o777 == 0o640
    async with watching.listening():
        watching._decide()
        watching._decide()
        assert source.wanted == (1, LIVE), "a quiet server shows every query to who looks"
        await look(25)
        source.queries += 1_000_000
        watching._decide()
        assert source.wanted[0] == 10, "a busy one does not"
    assert len(path.read_text().splitlines()) == 3 + 2
    path.rename(tmp_path / "moved")
    await look(1)
    assert len(path.read_text().splitlines()) == 1, "it may be moved away"
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    expected_warnings.append("the query log has gaps")
    await look(4)
    await look(4)
    assert not (tmp_path / "elsewhere").exists()
    assert watching.counters() == {"log_lines": 6, "log_lost": 8}


def test_a_pipe_without_a_reader_does_not_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError):
        append(tmp_path / "pipe", ["x"])
