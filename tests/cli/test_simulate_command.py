"""The verb `simulate`: exit codes, lists of clients, JSON for a program."""

from __future__ import annotations

import array
import json
from pathlib import Path

import pytest

from mirrornet.app.server.showing.simulating import read_clients
from mirrornet.cli import main
from mirrornet.model.errors import InputError
from mirrornet.model.place import UNKNOWN, Place
from mirrornet.model.table import encode, encode_place

ZONE = """
zone: zone.test
contact: h@zone.test
serial: 1
nameservers: {ns1.zone.test: [192.0.2.53]}
world: world.table
select: [{name: select}]
health: {probe: none}
mirrors:
  tokyo: {url: "http://select.zone.test/", addresses: [192.0.2.1], place: {country: JP}}
  paris: {url: "http://select.zone.test/", addresses: [192.0.2.2], place: {country: FR}}
"""


@pytest.fixture
def zone(tmp_path: Path) -> Path:
    """20.0.0.0/8 is in Japan, 30.0.0.0/8 in France."""
    places = [UNKNOWN, Place(1, "JP"), Place(2, "FR")]
    starts = [0, 20 << 24, 21 << 24, 30 << 24, 31 << 24]
    numbers, lengths = [0, 1, 0, 2, 0], bytes([255, 8, 255, 8, 255])
    four = (array.array("I", starts).tobytes(), array.array("I", numbers).tobytes(), lengths, bytes(5), bytes(5))
    six = (array.array("Q", [0]).tobytes(), bytes(4), b"\xff", b"\xff", b"\0")
    table = b"".join(encode(0.0, four, six, b"".join(map(encode_place, places)), ["RADB"]))
    (tmp_path / "world.table").write_bytes(table)
    path = tmp_path / "zone.yaml"
    path.write_text(ZONE)
    return path


def run(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main(["simulate", *map(str, arguments)])
    return int(left.value.code or 0)


def test_describing_a_zone(zone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(zone) == 0
    said = capsys.readouterr().out
    assert "select.zone.test" in said and "IPv4: 33,554,432 addresses" in said and "move" not in said


def test_a_limit_that_is_exceeded_is_exit_code_3(zone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(zone, "--down", "tokyo", "--limit", "50") == 0
    assert run(zone, "--down", "tokyo", "--limit", "49.9") == 3
    out, err = capsys.readouterr()
    assert "tokyo → paris" in out and "50.0 % move, and --limit is 49.9 %" in err


def test_json_is_for_programs(zone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(zone, "--down", "tokyo", "--json") == 0
    (found,) = json.loads(capsys.readouterr().out)["simulations"]
    assert found["moved"] == pytest.approx(0.5) and found["families"][0]["flows"][0]["source"] == "tokyo"


def test_against_another_file(zone: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = zone.with_name("other.yaml")
    other.write_text(ZONE.replace("country: FR", "country: JP"))
    assert run(zone, "--against", other) == 0
    assert "→" in capsys.readouterr().out
    other.write_text(ZONE.replace("name: select", "name: elsewhere").replace("//select.", "//elsewhere."))
    assert run(zone, "--against", other) == 2
    assert "has no select 'select'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--down", "osaka"], "has no mirror 'osaka': its mirrors are"),
        (["--down", "tokyo,"], "a mirror's name is empty"),
        (["--limit", "5"], "nothing changes"),
        (["--table", "absent.table"], "no such file"),
        (["--clients", "absent.txt"], "no such file"),
    ],
)
def test_slips_are_one_line_and_exit_code_2(
    zone: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    assert run(zone, *arguments) == 2
    err = capsys.readouterr().err
    assert said in err and err.count("\n") == 1


def test_a_state_folder_without_verdicts(zone: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(zone, "--state", tmp_path) == 2
    assert "no verdicts of zone.test" in capsys.readouterr().err


def clients(path: Path, text: str) -> list[str]:
    path.write_text(text)
    return [str(address) for address in read_clients(path)]


def test_lists_of_clients(tmp_path: Path) -> None:
    path = tmp_path / "clients"
    assert clients(path, "192.0.2.1\n\n# one more\n2001:db8::1  # home\n") == ["192.0.2.1", "2001:db8::1"]
    assert clients(path, "ip,country,anycast\n192.0.2.1,ZW,False\n192.0.2.2,JP,True\n") == ["192.0.2.1", "192.0.2.2"]
    assert clients(path, "country,address\r\nJP,192.0.2.7\r\n") == ["192.0.2.7"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("192.0.2.1\nnobody\n", "clients:2: 'nobody' is not an IPv4 or IPv6 address"),
        ("country,address\nJP\n", "clients:2: 1 columns"),
        ("x" * 100_000, "clients:1: the line is longer"),
    ],
)
def test_lists_that_are_none(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as caught:
        clients(tmp_path / "clients", text)
    assert said in str(caught.value)


def test_a_list_that_is_binary(tmp_path: Path) -> None:
    (tmp_path / "clients").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="this is no text"):
        list(read_clients(tmp_path / "clients"))
