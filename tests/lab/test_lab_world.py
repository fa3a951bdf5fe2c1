"""Sites, round trips and addresses, without a network."""

from __future__ import annotations

import pytest

from mirrornet.lab.paths import QUEUE_SECONDS, Conditions, Line
from mirrornet.lab.world import Site, World, read_round_trips
from mirrornet.model.errors import InputError

TOKYO, PARIS = Site("tokyo", 35.68, 139.69, "JP"), Site("paris", 48.86, 2.35, "FR")


def test_round_trips_come_from_the_table_before_the_globe() -> None:
    world = World((TOKYO, PARIS, Site("azure")), {("azure", "tokyo"): 12.0, ("paris", "azure"): 230.0})
    assert world.rtt("tokyo", "azure") == world.rtt("azure", "tokyo") == 12
    assert 150 < world.rtt("tokyo", "paris") < 170  # 9,700 km
    assert world.address("paris") == "198.18.2.1" and world.address("azure", 6, 9) == "2001:db8:3::9"
    assert world.prefixes("tokyo") == ("198.18.1.0/24", "2001:db8:1::/48")
    with pytest.raises(InputError, match="neither a round trip nor both a place"):
        World((TOKYO, Site("azure")))
    with pytest.raises(InputError, match="one name"):
        World((TOKYO, TOKYO))


def test_a_table_of_round_trips() -> None:
    assert read_round_trips(["from,to,rtt_ms", "a,b,3", "", "a,c,4.5"], "x.csv") == {("a", "b"): 3, ("a", "c"): 4.5}
    with pytest.raises(InputError, match=r"x\.csv:2: expected from,to,ms"):
        read_round_trips(["from,to,rtt_ms", "a,b"], "x.csv")


def test_a_line_delays_queues_and_drops() -> None:
    line = Line(Conditions(rtt=40, rate=8))  # a byte a microsecond
    assert line.arrival(1.0, 1000, 0.5) == pytest.approx(1.021)
    assert line.arrival(1.0, 1000, 0.5) == pytest.approx(1.022)  # waits for the first
    assert line.arrival(2.0, 1000, 0.5) == pytest.approx(2.021)  # the wire is free again
    full = [line.arrival(3.0, 1000, 0.5) for _ in range(300)]
    kept = [when for when in full if when is not None]
    assert len(kept) == QUEUE_SECONDS * 1000 + 1 and None not in full[: len(kept)]
    assert line.dropped == 300 - len(kept)


def test_loss_and_a_cut() -> None:
    line = Line(Conditions(rtt=10, loss=25))
    assert line.arrival(0.0, 100, 0.2499) is None
    assert line.arrival(0.0, 100, 0.25) == pytest.approx(0.005)
    line.conditions = line.conditions.changed(loss=0, cut=True)
    assert line.arrival(0.0, 100, 0.99) is None
    assert line.dropped == 2 and line.packets == 1
    with pytest.raises(ValueError, match="rtt is 0 to"):
        line.conditions.changed(rtt=-1)
