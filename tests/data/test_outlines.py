"""The map's outlines and its projection: what is drawn lies where it should."""

from __future__ import annotations

import re

import pytest

from mirrornet.data.countries import COUNTRIES
from mirrornet.data.outlines import BORDERS, HEIGHT, WIDTH, outlines, project


def points(path: str) -> list[tuple[int, int]]:
    """The absolute points of a path of M, l and z."""
    found = []
    for part in path.split("M")[1:]:
        numbers = [int(number) for number in re.findall(r"-?\d+", part)]
        x, y = numbers[0], numbers[1]
        found.append((x, y))
        for dx, dy in zip(numbers[2::2], numbers[3::2], strict=True):
            x, y = x + dx, y + dy
            found.append((x, y))
    return found


def test_every_outline_is_a_path_on_the_map() -> None:
    paths = outlines()
    assert len(paths) > 170
    for country, path in paths.items():
        assert re.fullmatch(r"(M-?\d+ ?-?\d+l[\d -]+z?)+", path), country
        for x, y in points(path):
            assert -10 <= x <= WIDTH + 20 and 0 <= y <= HEIGHT, country


def test_countries_are_those_we_know() -> None:
    assert outlines().keys() - COUNTRIES.keys() - {BORDERS} <= {"TF"}  # the French Southern Lands have no city


@pytest.mark.parametrize("country", ["JP", "DE", "BR", "ZA", "US", "AU", "IN", "RU", "NZ"])
def test_a_country_lies_around_its_middle(country: str) -> None:
    """The projection that outlines were made with is the one that mirrors are placed by."""
    middle = COUNTRIES[country]
    x, y = project(middle.latitude, middle.longitude)
    drawn = points(outlines()[country])
    assert min(a for a, _ in drawn) <= x <= max(a for a, _ in drawn)
    assert min(b for _, b in drawn) <= y <= max(b for _, b in drawn)


def test_the_projection_keeps_to_the_map() -> None:
    assert project(0, 11)[0] == WIDTH / 2
    assert project(0, -168.9)[0] < 1 and project(0, -169.1)[0] > WIDTH - 1
    assert project(0, 180) == project(0, -180)
    assert project(90, 0)[1] == project(84, 0)[1] == 0
    assert round(project(-90, 0)[1]) == HEIGHT
    assert project(60, 0)[1] < project(30, 0)[1] < project(-30, 0)[1]
