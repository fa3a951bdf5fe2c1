"""Selects whose AAAA answers send dual-stack clients far away: a warning of `check` (dns/ranking/families.py)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from mirrornet.config.load import line_of
from mirrornet.data.countries import COUNTRIES
from mirrornet.dns.ranking.families import losses
from mirrornet.dns.ranking.terms import Terms
from mirrornet.dns.ranking.whereabouts import NOWHERE, placed_mirrors
from mirrornet.model.problem import Problem
from mirrornet.model.zone import Zone

FEW: Final = 20  # one country in so many is nothing to warn of


def problems(zones: Sequence[Zone]) -> list[Problem]:
    """Warnings about `zones`, in the order of the files.  Mirrors count whose place the zone file gives."""
    return [problem for zone in zones for problem in _of_zone(zone)]


def _of_zone(zone: Zone) -> Iterator[Problem]:
    mirrors = placed_mirrors(zone, lambda _: NOWHERE)
    for index, select in enumerate(zone.select):
        able = [m for m in mirrors if select.images is None or m.holds is None or select.images <= m.holds]
        found = losses(select, able, Terms(round_trips=zone.round_trips))
        if len(found) * FEW < len(COUNTRIES):
            continue
        worst = f"{COUNTRIES[found[0].country].name} by {found[0].ms:.0f} ms"
        text = (
            f"select[{index + 1}]: mirrors with IPv6 are far where those with IPv4 are near, so whoever has both is "
            f"sent farther than need be: in {len(found)} of {len(COUNTRIES)} countries, the worst {worst}"
        )
        hint = "give near mirrors an IPv6 address, or write `ipv6: near` to leave far ones out of AAAA"
        yield Problem(str(zone.file), line_of(zone.file, ("select", index)), text, hint, True)
