"""The two address families: who stands in which answer, and what it costs whoever has both."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from mirrornet.app.server.worlds.world import examine_all
from mirrornet.dns.ranking.families import losses
from mirrornet.dns.ranking.nearest import Ranking, Reason, rank
from mirrornet.dns.ranking.promise import waiting
from mirrornet.model.place import UNKNOWN, Place
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import Mirror, Select

SELECT = Select("select", "http://s.test/")
NEAR = replace(SELECT, ipv6="near")
TOKYO = Place(1, "JP", 35.68, 139.69)
V4, V6 = ip_address("192.0.2.1"), ip_address("2001:db8::1")
MIRRORS = (
    Mirror("osaka", "http://s.test/", (V4,), Place(2, "JP", 34.69, 135.5)),
    Mirror("paris", "http://s.test/", (V4, V6), Place(3, "FR", 48.86, 2.35)),
)


def ranked(select: Select, place: Place = TOKYO, mirrors: tuple[Mirror, ...] = MIRRORS, **verdicts: Verdict) -> Ranking:
    return rank(place, select, mirrors, {m.name: verdicts.get(m.name, Verdict(State.UP, 5.0)) for m in mirrors})


def test_near_leaves_far_ipv6_out_and_says_so() -> None:
    assert ranked(SELECT).near[6] == ("paris",)
    found = ranked(NEAR)
    assert found.near[4] == ("osaka",) and found.near[6] == ()
    assert found.not_near[6] == {"osaka": Reason.NO_ADDRESS, "paris": Reason.FAR_IPV6}
    assert found.ordered == ("osaka", "paris"), "URI holds both families as ever"


def test_near_keeps_what_is_near_and_what_has_no_rival() -> None:
    berlin = Place(4, "DE", 52.5, 13.4)
    assert ranked(NEAR, berlin).near[6] == ("paris",)
    assert ranked(NEAR, mirrors=MIRRORS[1:]).near[6] == ("paris",)
    only6 = replace(MIRRORS[1], addresses=(V6,))
    assert ranked(NEAR, mirrors=(only6,)).near[6] == ("paris",), "no A answer, so nothing to be nearer than"
    assert ranked(NEAR, UNKNOWN).near[6] == ("paris",), "nothing is far from nowhere"


@pytest.mark.parametrize(
    ("up", "four", "six"), [({4}, ("paris",), ()), ({6}, (), ("paris",)), (None, ("paris",), ("paris",))]
)
def test_a_mirror_stands_where_it_answers(up: set[int] | None, four: tuple[str], six: tuple[str]) -> None:
    verdict = Verdict(State.UP, 5.0, families=None if up is None else frozenset(up))  # type: ignore[arg-type]
    found = ranked(SELECT, mirrors=MIRRORS[1:], paris=verdict)
    assert (found.near[4], found.near[6]) == (four, six) and found.ordered == ("paris",)
    silent = [family for family in (4, 6) if found.not_near[family].get("paris") is Reason.SILENT]  # type: ignore[index]
    assert silent == [family for family in (4, 6) if up is not None and family not in up]


def test_a_silent_family_may_speak_again_so_ttls_wait_for_it() -> None:
    verdicts = {"paris": Verdict(State.UP, 5.0, families=frozenset({4})), "osaka": Verdict(State.UP, 5.0)}
    assert waiting(SELECT, MIRRORS, verdicts, 6) == ["paris"]
    assert waiting(SELECT, MIRRORS, {"paris": Verdict(State.UP, 5.0), "osaka": Verdict(State.UP, 5.0)}, 6) == []


def test_losses_by_country() -> None:
    found = {loss.country: loss.ms for loss in losses(SELECT, MIRRORS)}
    assert found["JP"] > 150 and "FR" not in found and "DE" not in found
    assert losses(NEAR, MIRRORS) == []
    assert losses(SELECT, MIRRORS[:1]) == [], "without IPv6 nobody is lured"
    both = (replace(MIRRORS[0], addresses=(V4, V6)), MIRRORS[1])
    assert losses(SELECT, both) == []


ZONE = """\
zone: z.test
contact: h@z.test
serial: 1
nameservers: {ns1.z.test: [192.0.2.53]}
select: [{name: select, ipv6: MODE}]
mirrors:
  osaka: {url: "http://select.z.test/", addresses: [192.0.2.1], place: {country: JP}}
  paris: {url: "http://select.z.test/", addresses: [192.0.2.2, "2001:db8::2"], place: {country: FR}}
"""


def test_check_warns_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "z.yaml"
    path.write_text(ZONE.replace("MODE", "all"))
    (warning,) = [p for p in examine_all([path])[2] if "IPv6" in p.what]
    assert warning.warning and warning.line == 5 and "`ipv6: near`" in warning.hint and "countries" in warning.what
    path.write_text(ZONE.replace("MODE", "near"))
    assert not [p for p in examine_all([path])[2] if "IPv6" in p.what]
