"""The real choice and failover against a thousand schedules of trouble, in virtual time."""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Iterator

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from virtual_mirrors import STATES, Server, World, blocks, virtually

from mirrornet.client.fetching import attempt
from mirrornet.client.fetching.body import Within
from mirrornet.client.fetching.stretch import Piece
from mirrornet.client.mirrors.breaker import RAMP
from mirrornet.client.mirrors.choice import HEDGE_BURST, HEDGE_SHARE, HELD
from mirrornet.model.errors import Unreachable

REFS, FILES = blocks(40)
# Seconds: with one good mirror a read may take that long, a sixth of its deadline; one in ten thousand takes 3.
LONGEST = 5.0

phases = st.lists(
    st.tuples(st.floats(0.2, 10.0).map(lambda seconds: round(seconds, 2)), st.sampled_from(STATES)),
    min_size=1,
    max_size=4,
)
shapes = st.tuples(
    st.sampled_from([0.005, 0.04, 0.09, 0.16, 0.25]),  # round trip
    st.sampled_from([1e6, 6e6, 25e6]),  # bytes a second
    phases,
    st.sampled_from([0.0, 0.0, 0.01]),
)


async def _session(world: World, reads: int, pause: float, ahead: int) -> list[float]:
    """Reads in a row, with `ahead` prefetches in front of them and the watch beside; seconds of each."""
    proof = asyncio.create_task(world.failover.watch(REFS[0], lambda: True))
    nobody = asyncio.Event()
    prefetches: set[asyncio.Task[object]] = set()
    try:
        waits = []
        for number in range(reads):
            for step in range(ahead):
                ref = REFS[(number + 1 + step) % len(REFS)]
                task = asyncio.create_task(world.failover.block(ref, deadline=world.now() + 30, wanted=nobody))
                prefetches.add(task)
                task.add_done_callback(lambda task: (prefetches.discard(task), task.cancelled() or task.exception()))
            waits.append(await world.read(REFS[number % len(REFS)]))
            await asyncio.sleep(world.dice.uniform(0, 2 * pause))
        return waits
    finally:
        proof.cancel()
        for task in tuple(prefetches):
            task.cancel()
        await asyncio.gather(proof, *prefetches, return_exceptions=True)


def _sound(world: World, servers: list[Server]) -> None:
    """Bounded load, no flapping, no count that was forgotten."""
    choice = world.choice
    assert choice.hedges - choice.left <= HEDGE_SHARE * choice.requests + HEDGE_BURST
    assert choice.left <= sum(server.asked_bad for server in servers) + sum(server.tail > 0 for server in servers) * 3
    assert all(record.under_way == 0 for record in choice.records())
    by_name = {server.name: server for server in servers}
    for (_, _), (at, former), (later, _) in zip(
        world.favourites, world.favourites[1:], world.favourites[2:], strict=False
    ):
        if later - at < HELD[0]:
            assert by_name[former].faulty(at - 3.0, later) or by_name[former].tail, (world.favourites, former)


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    """A thousand liars are no news."""
    attempt.log.disabled = True
    yield
    attempt.log.disabled = False


@settings(max_examples=1000, derandomize=True, deadline=None, phases=[Phase.generate])
@given(
    st.lists(shapes, min_size=1, max_size=3),
    st.integers(0, 3),
    st.sampled_from([(0.04, 6e6), (0.04, 25e6), (0.16, 25e6), (0.25, 6e6)]),
    st.sampled_from([0.0, 0.1, 1.0]),
    st.integers(0, 2),
    st.integers(0, 1 << 30),
)
def test_while_one_mirror_is_good_no_read_waits_long(
    bad: list[tuple[float, float, list[tuple[float, str]], float]],
    place: int,
    good: tuple[float, float],
    pause: float,
    ahead: int,
    seed: int,
) -> None:
    servers = [Server(f"m{number}", *shape) for number, shape in enumerate(bad)]
    servers.insert(place, Server("good", *good))

    async def run() -> None:
        world = World(servers, random.Random(seed), FILES)
        waits = await _session(world, 18, pause, ahead)
        assert max(waits) <= LONGEST, (max(waits), waits)
        await asyncio.sleep(0)
        _sound(world, servers)

    virtually(run)


def test_a_mirror_that_is_up_and_down_in_turn_costs_a_change_in_half_a_minute() -> None:
    servers = [Server("square", 0.01, 25e6, ((1.5, "up"), (1.5, "refuse"))), Server("steady", 0.09, 25e6)]

    async def run() -> None:
        world = World(servers, random.Random(1), FILES)
        waits = await _session(world, 1200, 0.1, 0)
        minutes = world.now() / 60
        assert minutes > 2
        assert len(world.favourites) <= 2 + 2 * minutes * 60 / RAMP, world.favourites
        assert max(waits) <= 0.5
        assert servers[0].asked <= 0.2 * servers[1].asked
        assert 1.5 <= world.troubles[0] <= 4 and len(world.troubles) <= minutes * 60 / 2, "a new list was asked for"
        _sound(world, servers)

    virtually(run)


def test_one_that_is_20_times_slower_in_one_of_100_costs_few_requests_and_no_tail() -> None:
    def p99(tail: float) -> tuple[float, float]:
        servers = [Server(name, 0.04, 25e6, tail=share) for name, share in (("a", tail), ("b", 0.0), ("c", 0.0))]

        async def run() -> tuple[float, float]:
            world = World(servers, random.Random(7), FILES)
            waits = sorted(await _session(world, 2000, 0.02, 0))
            _sound(world, servers)
            choice = world.choice
            proofs = sum(record.blocks for record in choice.records()) - len(waits)
            assert proofs < 20
            return waits[int(0.99 * len(waits))], choice.hedges / len(waits)

        return virtually(run)

    healthy, _ = p99(0.0)
    for tail in (0.01, 0.02, 0.2):
        slow, extra = p99(tail)
        assert slow <= 2 * healthy and extra <= HEDGE_SHARE, (tail, slow, healthy, extra)


def test_one_that_becomes_20_times_slower_is_left_and_one_that_lies_is_out_for_ten_minutes() -> None:
    servers = [
        Server("slow", 0.02, 25e6, ((20.0, "up"), (1e6, "slow"))),
        Server("liar", 0.03, 25e6, ((10.0, "up"), (1e6, "lie"))),
        Server("good", 0.09, 25e6),
    ]

    async def run() -> None:
        world = World(servers, random.Random(1), FILES)
        waits = await _session(world, 3000, 0.3, 0)
        assert world.now() > 600
        assert max(waits) <= 0.5
        liar = world.choice.record("liar")
        assert liar is not None and liar.blames["corrupt"] >= 1 and servers[1].asked - liar.blocks <= 5
        assert servers[0].asked < 400, "20 s of use, then a measurement now and then"
        assert servers[2].asked >= 2200
        assert len(world.favourites) <= 4, world.favourites
        _sound(world, servers)

    virtually(run)


@pytest.mark.parametrize("trouble", ["refuse", "hole"])
def test_when_all_are_down_nobody_is_punished_and_a_reader_gets_his_block_when_they_return(trouble: str) -> None:
    servers = [Server(name, 0.04, 25e6, ((10.0, "up"), (15.0, trouble), (1e6, "up"))) for name in "abc"]

    async def run() -> None:
        world = World(servers, random.Random(3), FILES)
        waits = await _session(world, 300, 0.1, 1)
        assert 5 <= max(waits) <= 15 + 6.5, "the network was away for 15 s; a request that hangs ends after 3 or 5"
        assert sum(wait > 1 for wait in waits) <= 2
        assert all(record.breaker.share(world.now()) == 1.0 for record in world.choice.records())
        assert not world.choice.network_down

    virtually(run)


def test_mirrors_that_all_stop_half_way_give_a_block_together() -> None:
    servers = [Server(name, 0.04, 25e6, ((10.0, "up"), (15.0, "stall"), (1e6, "up"))) for name in "abc"]

    async def run() -> None:
        world = World(servers, random.Random(3), FILES)
        assert max(await _session(world, 300, 0.1, 1)) < 5
        _sound(world, servers)

    virtually(run)


def test_when_nobody_ever_answers_the_reader_gets_his_error_at_his_deadline() -> None:
    servers = [Server("a", 0.04, 25e6, ((1e6, "hole"),)), Server("b", 0.04, 25e6, ((1e6, "refuse"),))]

    async def run() -> None:
        world = World(servers, random.Random(3), FILES)
        with pytest.raises(Unreachable, match="no mirror gave it"):
            await world.read(REFS[1], deadline=5.0)
        assert 3.9 <= world.now() <= 5.0

    virtually(run)


def test_a_reader_without_deadline_waits_and_the_log_says_so_each_minute(
    caplog: pytest.LogCaptureFixture, expected_warnings: list[str]
) -> None:
    expected_warnings.append("a reader has waited for")
    servers = [Server(name, 0.04, 25e6, ((1.0, "up"), (200.0, "hole"), (1e6, "up"))) for name in "ab"]

    async def run() -> float:
        world = World(servers, random.Random(3), FILES)
        await asyncio.sleep(1.0)
        return await world.read(REFS[1], deadline=math.inf)

    caplog.set_level(logging.WARNING, "mirrornet.client.fetching.failover")
    assert 199 <= virtually(run) <= 206
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split("waited for ")[1].split(";")[0] for line in lines] == ["1 min", "2 min", "3 min"], lines


@pytest.mark.parametrize(
    ("trouble", "begins", "waited", "longest"),
    [
        ("hole", 4.95, True, 0.6),
        ("hole", 4.95, False, 0.8),
        ("hole", 5.01, True, 0.8),
        ("hole", 5.01, False, 1.0),
        ("slow", 5.01, False, 4.0),
    ],
)
def test_a_stretch_leaves_a_mirror_in_mid_stream(trouble: str, begins: float, waited: bool, longest: float) -> None:
    servers = [Server("a", 0.04, 25e6, ((5.0, "up"), (1e6, trouble))), Server("b", 0.09, 25e6)]
    pack = Piece("pack", Within(0, len(REFS) * 65536), REFS)
    files = {**FILES, "pack": b"".join(FILES[ref.path] for ref in REFS)}

    async def run() -> None:
        world = World(servers, random.Random(3), files)
        await _session(world, 10, 0.05, 0)
        await asyncio.sleep(begins - world.now())
        wanted, broken = asyncio.Event(), []
        if waited:
            wanted.set()
        begun = world.now()
        came = [one async for one in world.failover.stretch(pack, begun + 30, wanted, lambda: broken.append(1))]
        assert [one.ref for one in came] == list(REFS) and came[-1].mirror == "b"
        assert (came[0].mirror == "a") == (begins < 5), "what was whole was kept"
        assert broken and world.now() - begun <= longest, (world.now() - begun, [one.mirror for one in came])
        assert all(record.under_way == 0 for record in world.choice.records())

    virtually(run)


def test_a_reader_is_as_fast_beside_prefetch_as_a_queue_of_half_a_round_trip_allows() -> None:
    servers = [Server("a", 0.04, 25e6)]

    async def run() -> tuple[float, int]:
        world = World(servers, random.Random(3), FILES)
        await _session(world, 20, 0.05, 0)
        waits = sorted(await _session(world, 100, 0.05, 4))
        return waits[50], servers[0].asked

    median, _ = virtually(run)
    assert median <= 0.04 * 1.1 + 0.04, median
