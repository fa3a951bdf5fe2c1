"""TTLs from promises, and who only a verdict keeps out."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from mirrornet.dns.ranking.promise import answer_ttl, waiting
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import Mirror, Select

DEBIAN = frozenset({"debian"})
SELECT = Select("s", "http://s.test/", images=DEBIAN)
UP = Verdict(State.UP, 9.0)


@pytest.mark.parametrize(
    ("inside", "others", "ttl"),
    [
        ([9.9], [], 9),
        ([9.0, 4.0], [], 4),
        ([9.0], [3.5], 3),
        ([float("inf")], [], 20),
        ([0.1], [], 1),
        ([100.0], [50.0], 20),
        ([], [50.0], 1),
    ],
)
def test_the_shortest_promise_decides(inside: list[float], others: list[float], ttl: int) -> None:
    answer = [Verdict(State.UP, promise) for promise in inside]
    assert answer_ttl(20, answer, [Verdict(State.DOWN, promise) for promise in others]) == ttl


@pytest.mark.parametrize("state", [State.DOWN, State.STALE, State.CORRUPT, State.UNKNOWN])
def test_a_last_resort_lives_a_second(state: State) -> None:
    assert answer_ttl(20, [UP, Verdict(state, 300.0)], []) == 1


@pytest.mark.parametrize(
    ("verdict", "out"),
    [
        (UP, False),
        (Verdict(State.LAGGING, 1.0), False),
        (Verdict(State.DOWN, 1.0), True),
        (Verdict(State.UP, 1.0, serves_select=False), True),
        (Verdict(State.UP, 1.0, serves_select=True, holds=DEBIAN), False),
        (Verdict(State.UP, 1.0, holds=frozenset({"fedora"})), True),
    ],
)
def test_who_waits(verdict: Verdict, out: bool) -> None:
    mirror = Mirror("m", "http://m.test/", (ip_address("192.0.2.1"),))
    assert waiting(SELECT, [mirror], {"m": verdict}) == (["m"] if out else [])
    assert waiting(SELECT, [mirror], {"m": verdict}, 6) == []  # no address: it cannot come into AAAA


def test_who_can_never_come_in_waits_for_nothing() -> None:
    fedora = Mirror("fedora", "http://f.test/", (ip_address("192.0.2.1"),), holds=frozenset({"fedora"}))
    bucket = Mirror("bucket", "http://b.test/")
    verdicts = {"fedora": Verdict(State.DOWN, 1.0), "bucket": Verdict(State.UP, 1.0, serves_select=False)}
    assert waiting(SELECT, [fedora, bucket], verdicts) == []
