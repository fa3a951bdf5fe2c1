"""Who is behind, since when; and ten mirrors that sync one after the other while nobody leaves."""

from __future__ import annotations

import pytest

from mirrornet.health.rule.freshness import KEPT, Sightings, behind_since, judge, sight
from mirrornet.health.rule.outcome import Kind, Outcome
from mirrornet.health.rule.state import Track, step, verdict
from mirrornet.model.verdict import State
from mirrornet.model.zone import HealthSettings

HOUR = 3600.0


def shown(version: int, at: float, expires: float | None = None) -> Outcome:
    return Outcome(Kind.OK, at, version=version, expires=expires)


def test_the_newest_is_fresh_until_it_expires() -> None:
    judged = judge(shown(5, 1000, 2000), {4: 0.0, 5: 10.0}, HOUR)
    assert (judged.kind, judged.until) == (Kind.OK, 2000)


def test_expired_metadata_is_stale_at_once() -> None:
    judged = judge(shown(5, 2000, 2000), {5: 10.0}, HOUR)
    assert judged.kind is Kind.STALE
    assert "expired" in judged.reason


@pytest.mark.parametrize(("at", "kind"), [(100.0, Kind.LAGGING), (3699.0, Kind.LAGGING), (3700.0, Kind.STALE)])
def test_behind_is_lagging_until_lag_is_over(at: float, kind: Kind) -> None:
    assert judge(shown(4, at), {4: 0.0, 5: 100.0, 6: 3000.0}, HOUR).kind is kind


def test_lagging_ends_at_the_earlier_of_lag_and_expiry() -> None:
    seen = {4: 0.0, 5: 100.0}
    assert judge(shown(4, 200), seen, HOUR).until == 3700
    assert judge(shown(4, 200, 900), seen, HOUR).until == 900


def test_other_outcomes_are_not_judged() -> None:
    for kind in set(Kind) - {Kind.OK}:
        outcome = Outcome(kind, 10, "because", version=1)
        assert judge(outcome, {9: 0.0}, 1.0) == outcome
    http = Outcome(Kind.OK, 10)
    assert judge(http, {9: 0.0}, 1.0) == http


def test_sightings_are_bounded_and_the_first_one_counts() -> None:
    seen: Sightings = {}
    for version in range(1, 3 * KEPT):
        seen = sight(seen, version, float(version))
        seen = sight(seen, version, 1e9)
    assert len(seen) == KEPT
    assert behind_since(seen, 3 * KEPT - 2) == 3 * KEPT - 1
    assert behind_since(seen, 3 * KEPT - 1) is None


def test_a_publication_moves_nobody_out_while_ten_mirrors_sync_one_after_the_other() -> None:
    settings = HealthSettings(interval=10, up=3, ok=2, down=3)
    seen: Sightings = {}
    tracks = [Track() for _ in range(10)]
    for second in range(0, 700, 10):
        for number in range(10):
            version = 2 if second >= 100 + 60 * number else 1
            outcome = shown(version, float(second))
            seen = sight(seen, version, outcome.at)
            tracks[number] = step(tracks[number], judge(outcome, seen, HOUR), settings)
        assert all(verdict(track, settings).usable for track in tracks)
        behind = sum(track.state is State.LAGGING for track in tracks)
        assert behind == (0 if second < 100 else max(0, 9 - (second - 100) // 60))
    assert all(track.flips == 0 for track in tracks)
