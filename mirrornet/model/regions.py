"""Whom each mirror serves: shares of the addresses that are announced, and of each country's.  Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from mirrornet.model.address import Family


@dataclass(frozen=True, slots=True)
class Regions:
    """One select name.  All shares are from 0 to 1; who has none is left out.

    `shares`: by family, then by mirror: the part of the addresses (of IPv6, of the /48s) that are sent to it.
    `countries`: by country (two letters, "" for addresses of no country), then by mirror: the part of all IPv4
    addresses that are there and sent to it; of the /48s in countries that have no IPv4.
    """

    shares: Mapping[Family, Mapping[str, float]] = field(default_factory=dict)
    countries: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def of(self, mirror: str) -> list[tuple[str, float]]:
        """The countries that `mirror` serves, that first of which it has most; (country, its part of that country)."""
        found = [(-mirrors[mirror], country) for country, mirrors in self.countries.items() if mirror in mirrors]
        return [(country, -share / sum(self.countries[country].values())) for share, country in sorted(found)]

    def chief(self, country: str) -> str:
        """The mirror that serves the greatest part of `country`; "" where nobody does."""
        mirrors = self.countries.get(country, {})
        return max(sorted(mirrors), key=lambda name: mirrors[name], default="")
