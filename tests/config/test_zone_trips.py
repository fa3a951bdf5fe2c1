"""An operator's round-trip times: what a row means, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirrornet.config.load import examine, load_zone
from mirrornet.config.trips import read_round_trips
from mirrornet.model.errors import ConfigError

EXAMPLE = Path(__file__).parents[2] / "zones" / "example.yaml"
ZONE = """\
zone: z.test
contact: h@z.test
serial: 1
nameservers: {ns1.z.test: [192.0.2.53]}
round_trips: trips.csv
select: [{name: select, ipv6: near}]
mirrors: {tokyo: {url: "http://select.z.test/", addresses: [192.0.2.1], place: {country: JP}}}
"""


def test_words_and_numbers() -> None:
    text = "from,to,ms\r\n# measured in March\njp, Continent:eu ,215\n\nregion:US-West,JP,104.5  # north\n"
    found, problems = read_round_trips(text, "t.csv")
    assert found == {("JP", "continent:EU"): 215.0, ("region:us-west", "JP"): 104.5} and not problems


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("JP,DE", "three fields"),
        ("JP,DE,160,ms", "three fields"),
        ("Japan,DE,160", "'Japan' is no country"),
        ("UK,DE,20", "'UK' is no country"),
        ("japn,DE,1", "japan"),
        ("continent:XX,DE,160", "no continent"),
        ("region:us-wst,DE,160", "did you mean us-west?"),
        ("as:JP,DE,160", "JP, continent:AS or region:japan"),
        ("JP,DE,fast", "no round-trip time"),
        ("JP,DE,nan", "no round-trip time"),
        ("JP,DE,-3", "no round-trip time"),
        ("JP,DE,1e9", "no round-trip time"),
        ('"JP,DE,160', "no row of a CSV file"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(row: str, what: str) -> None:
    found, (problem,) = read_round_trips(f"from,to,ms\nFR,DE,20\n{row}\n", "t.csv")
    assert found == {("FR", "DE"): 20.0}
    assert (problem.file, problem.line) == ("t.csv", 3) and what in f"{problem.what} {problem.hint}"


def test_twice_is_a_fault_and_so_is_a_file_of_another_kind_but_only_so_often() -> None:
    _, (twice,) = read_round_trips("JP,DE,1\nDE,JP,2\nJP,DE,3\n", "t.csv")
    assert twice.line == 3 and "line 1" in twice.what
    _, many = read_round_trips("<html>\n" * 1000, "t.csv")
    assert len(many) == 21 and "980 more" in many[-1].what
    _, (empty,) = read_round_trips("from,to,ms\n", "t.csv")
    assert empty.warning


def test_a_zone_names_its_table_beside_itself(tmp_path: Path) -> None:
    (tmp_path / "z.yaml").write_text(ZONE)
    with pytest.raises(ConfigError) as none:
        load_zone(tmp_path / "z.yaml")
    assert "trips.csv: there is no such file" in str(none.value)
    (tmp_path / "trips.csv").write_text("JP,DE,200\n")
    zone = load_zone(tmp_path / "z.yaml")
    assert zone.round_trips == {("JP", "DE"): 200.0} and zone.select[0].ipv6 == "near"
    (tmp_path / "trips.csv").write_text("JP,ZZ,200\n")
    _, problems = examine([tmp_path / "z.yaml"])
    assert [(p.file, p.line) for p in problems if not p.warning] == [(str(tmp_path / "trips.csv"), 1)]


def test_the_example_has_a_table_and_an_unknown_word_for_ipv6_is_refused(tmp_path: Path) -> None:
    assert load_zone(EXAMPLE).round_trips[("JP", "continent:EU")] == 215.0
    (tmp_path / "z.yaml").write_text(ZONE.replace("ipv6: near", "ipv6: far"))
    (tmp_path / "trips.csv").write_text("JP,DE,200\n")
    with pytest.raises(ConfigError, match="near"):
        load_zone(tmp_path / "z.yaml")
