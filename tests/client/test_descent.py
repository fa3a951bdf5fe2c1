"""When a client asks again under the name of its best mirror."""

from __future__ import annotations

from mirrornet.client.mirrors.descent import DESCENTS, FAR, step


def test_a_far_best_is_asked_for_its_neighbours() -> None:
    assert step({"tokyo": 0.140, "paris": 0.055, "dallas": 0.090}, []) == "paris"


def test_near_enough_or_nothing_measured_is_the_end() -> None:
    assert step({"tokyo": 0.140, "paris": FAR}, []) is None
    assert step({}, []) is None


def test_twice_at_most_and_never_twice_under_one_name() -> None:
    assert step({"paris": 0.055, "lyon": 0.060}, ["paris"]) is None, "nothing nearer was found"
    assert step({"paris": 0.055, "lyon": 0.030}, ["paris"]) == "lyon"
    assert DESCENTS == 2 and step({"paris": 0.055, "lyon": 0.030, "nice": 0.021}, ["paris", "lyon"]) is None
