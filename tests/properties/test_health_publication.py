"""A publication moves nobody: ten mirrors sync one after the other, and A and AAAA stay as they were, everywhere."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import given, settings
from hypothesis import strategies as st

from mirrornet.data.countries import COUNTRIES
from mirrornet.dns.ranking.nearest import rank
from mirrornet.health.rule.freshness import Sightings, judge, sight
from mirrornet.health.rule.outcome import Kind, Outcome, together
from mirrornet.health.rule.state import Track, step, verdicts
from mirrornet.model.place import Place
from mirrornet.model.verdict import State, Verdicts
from mirrornet.model.zone import HealthSettings, Mirror, Select

HOUR = 3600.0
HEALTH = HealthSettings(interval=10, up=3, ok=2, down=3)
WHERE = ("JP", "JP", "JP", "KR", "FR", "FR", "DE", "US", "US", "BR")
MIRRORS = tuple(
    Mirror(f"m{n}", f"http://m{n}.example/", (ip_address(f"192.0.2.{n + 1}"), ip_address(f"2001:db8::{n + 1}")),
           Place(64500 + n, country, COUNTRIES[country].latitude, COUNTRIES[country].longitude))
    for n, country in enumerate(WHERE)
)  # fmt: skip
SELECT = Select("select", "http://select.example.net/")
ASKERS = [
    Place(0, country, middle.latitude, middle.longitude) for country, middle in sorted(COUNTRIES.items())[::16]
] + [Place()]


def answers(known: Verdicts) -> list[object]:
    return [rank(place, SELECT, MIRRORS, known).near for place in ASKERS]


@settings(max_examples=8, deadline=None)
@given(st.permutations(range(10)), st.floats(10, 300))
def test_ten_mirrors_that_sync_one_after_the_other(order: list[int], apart: float) -> None:
    tracks = {mirror.name: Track() for mirror in MIRRORS}
    seen: Sightings = {}
    before: list[object] = []
    states: set[State] = set()
    last: list[State] = []
    second = 0.0
    while second < 100 + apart * 10:
        for number, mirror in enumerate(MIRRORS):
            version = 2 if second >= 100 + apart * order.index(number) else 1
            found = [(address, Outcome(Kind.OK, second, version=version)) for address in mirror.addresses]
            seen = sight(seen, version, second)
            outcome = together([(address, judge(one, seen, HOUR)) for address, one in found])
            tracks[mirror.name] = step(tracks[mirror.name], outcome, HEALTH)
        known = verdicts(tracks, HEALTH)
        now = [verdict.state for verdict in known.values()]
        states.update(now)
        if now != last:
            before = before or answers(known)
            assert answers(known) == before
            last = now
        second += max(10.0, apart / 2 // 10 * 10)
    assert states == {State.UP, State.LAGGING}
    assert all(track.flips == 0 for track in tracks.values())
