"""Distances, held against published great-circle distances between cities."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornet.data.countries import COUNTRIES
from mirrornet.model.place import EARTH_RADIUS_KM, UNKNOWN, Place, great_circle_km

TOKYO, PARIS, LONDON, NEW_YORK = (35.6895, 139.6917), (48.8566, 2.3522), (51.5074, -0.1278), (40.7128, -74.0060)
SYDNEY, SAO_PAULO, JOHANNESBURG = (-33.8688, 151.2093), (-23.5505, -46.6333), (-26.2041, 28.0473)
latitudes = st.floats(-90, 90)
longitudes = st.floats(-180, 180)


@pytest.mark.parametrize(
    ("one", "other", "km"),
    [
        (LONDON, PARIS, 344),
        (LONDON, NEW_YORK, 5570),
        (TOKYO, PARIS, 9712),
        (TOKYO, SYDNEY, 7823),
        (SAO_PAULO, JOHANNESBURG, 7430),
        (NEW_YORK, SAO_PAULO, 7685),
        (SYDNEY, JOHANNESBURG, 11040),
    ],
)
def test_known_distances(one: tuple[float, float], other: tuple[float, float], km: float) -> None:
    assert great_circle_km(*one, *other) == pytest.approx(km, rel=0.005)


def test_poles_antipodes_and_the_date_line() -> None:
    half = EARTH_RADIUS_KM * 3.14159265
    assert great_circle_km(90, 0, -90, 0) == pytest.approx(half, rel=1e-6)
    assert great_circle_km(0, 0, 0, 180) == pytest.approx(half, rel=1e-6)
    assert great_circle_km(0, 179.5, 0, -179.5) == pytest.approx(111.19, rel=1e-3)
    assert great_circle_km(90, 10, 90, -120) == pytest.approx(0, abs=1e-6)


@given(latitudes, longitudes, latitudes, longitudes)
def test_a_distance_is_one(lat1: float, lon1: float, lat2: float, lon2: float) -> None:
    there = great_circle_km(lat1, lon1, lat2, lon2)
    assert 0 <= there <= EARTH_RADIUS_KM * 3.1416
    assert there == pytest.approx(great_circle_km(lat2, lon2, lat1, lon1), abs=1e-6)
    assert great_circle_km(lat1, lon1, lat1, lon1) == 0


def test_what_is_known_of_a_place() -> None:
    assert not UNKNOWN.known
    assert Place(latitude=0.0, longitude=0.0).known
    assert not Place(latitude=0.0, longitude=0.0, anycast=True).known
    assert not Place(country="JP").known


def test_countries_are_where_they_should_be() -> None:
    for code, country in COUNTRIES.items():
        assert len(code) == 2
        assert code.isupper()
        assert country.continent in ("AF", "AN", "AS", "EU", "NA", "OC", "SA")
        assert -90 <= country.latitude <= 90
        assert -180 <= country.longitude <= 180
        assert country.radius_km > 0
    for code, city, reach in (("JP", TOKYO, 400), ("FR", PARIS, 400), ("GB", LONDON, 400), ("BR", SAO_PAULO, 1000)):
        middle = COUNTRIES[code]
        assert great_circle_km(middle.latitude, middle.longitude, *city) < reach
