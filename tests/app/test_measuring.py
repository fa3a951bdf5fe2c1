"""From reports to a new world: only when something was believed anew, and with the wider levels of the table."""

from __future__ import annotations

import array
import time
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest

from mirrornet.app.server.voices.measuring import FILE, Measuring, as_served
from mirrornet.app.server.worlds.world import World
from mirrornet.dns.ranking.estimate import located
from mirrornet.dns.ranking.rendezvous import place_key
from mirrornet.dns.ranking.unreached import RECENT
from mirrornet.model.place import UNKNOWN, Place
from mirrornet.model.rtt import RttReport
from mirrornet.model.table import WorldTable, encode, encode_place
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import Mirror, Select, ServerSettings, Zone

HOME, SILENT = Place(7, "IT", 41.5, 12.5), Place(8, "IT")
MIRRORS = (
    Mirror("milan", "http://a.test/", (), Place(0, "IT", 45.46, 9.19)),
    Mirror("paris", "http://b.test/", (), Place(0, "FR", 48.86, 2.35)),
)
ZONE = Zone(
    Path("z.yaml"), "zone.test", "h@zone.test", 1, {}, None, (Select("select", "http://s.test/"),), MIRRORS,
    server=ServerSettings(rtt=(ip_address("127.0.0.1"), 8054)),
)  # fmt: skip


def world() -> World:
    """20.0.0.0/8 is HOME (and, in 20.1.0.0/16 and 20.2.0.0/16, of two more ASes), 30.0.0.0/8 is SILENT."""
    places = [UNKNOWN, HOME, Place(71, "IT", 41.5, 12.5), Place(72, "IT", 41.5, 12.5), SILENT]
    starts = [0, 20 << 24, 0x14010000, 0x14020000, 0x14030000, 21 << 24, 30 << 24, 31 << 24]
    numbers = [0, 1, 2, 3, 1, 0, 4, 0]
    lengths = bytes([255, 8, 16, 16, 8, 255, 8, 255])
    four = (array.array("I", starts).tobytes(), array.array("I", numbers).tobytes(), lengths, bytes(8), bytes(8))
    six = (array.array("Q", [0]).tobytes(), bytes(4), b"\xff", b"\xff", b"\0")
    return World((ZONE,), WorldTable(b"".join(encode(0.0, four, six, b"".join(map(encode_place, places)), ["R"]))), {})


class Server:
    """What Measuring serves."""

    def __init__(self, state: Path) -> None:
        self.world = world()
        self.adopted = self.changes = 0
        self.measuring = Measuring(state, lambda: self.world, self.adopt, self.change)

    async def adopt(self, new: World) -> None:
        self.world = new
        self.adopted += 1

    def change(self) -> None:
        self.changes += 1

    def verdicts(self, since: float = 0.0) -> dict[str, Verdict]:
        """What is answered by, where probes find all mirrors up."""
        up = {mirror.name: Verdict(State.UP, 20.0, since) for mirror in self.world.zones[0].mirrors}
        return dict(self.measuring.opinion({"zone.test": up})["zone.test"])

    def lose(self, client: str, *lost: str) -> int:
        return self.measuring.take(ip_address(client), RttReport("select.zone.test", {"milan": 50.0}, frozenset(lost)))

    def post(self, client: str, paris: float, select: str = "select.zone.test") -> int:
        return self.measuring.take(ip_address(client), RttReport(select, {"milan": 50.0, "paris": paris}))


async def test_a_plan_only_where_something_is_believed_anew(tmp_path: Path) -> None:
    server = Server(tmp_path)
    await server.measuring.renew()
    assert [server.post(f"20.9.{n}.1", 55.0) for n in range(2)] == [204, 204]
    await server.measuring.renew()
    assert server.adopted == 0, "two networks are none"
    assert server.post("20.9.2.1", 55.0) == 204
    await server.measuring.renew()
    assert server.adopted == 1 and set(server.world.measured["zone.test"]) == {place_key(HOME)}
    await server.measuring.renew()
    assert server.post("20.9.3.1", 55.0) == 204
    await server.measuring.renew()
    assert server.adopted == 1, "a fourth that says the same changes nothing"


FOUR = (*MIRRORS, Mirror("sofia", "http://c.test/", ()), Mirror("tokyo", "http://d.test/", ()))


def wider(state: Path) -> Server:
    server = Server(state)
    server.world = replace(server.world, zones=(replace(ZONE, mirrors=FOUR),))
    return server


async def test_a_mirror_that_three_networks_of_an_as_cannot_reach_is_kept_from_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = wider(tmp_path)
    server.verdicts()
    for client in ("20.9.1.1", "20.9.2.1", "20.1.1.1"):  # the third is of another AS
        assert server.lose(client, "paris", "nonsense") == 204
    await server.measuring.renew()
    assert server.changes == 0 and not any(one.barred for one in server.verdicts().values())
    assert server.lose("20.9.3.1", "paris") == 204
    await server.measuring.renew()
    assert server.changes == 1
    barred = {name: dict(one.barred) for name, one in server.verdicts().items() if one.barred}
    assert barred == {"paris": {"AS7": "3 networks of it could not reach it lately, 0 did"}}
    await server.measuring.save()
    again = wider(tmp_path)
    again.measuring.look()
    assert again.verdicts()["paris"].barred, "it outlives a restart"
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + RECENT + 60)
    await server.measuring.renew()
    assert server.changes == 2 and not server.verdicts()["paris"].barred, "and is tried again after two hours"


async def test_what_everybody_has_lost_is_no_matter_of_one_as(tmp_path: Path) -> None:
    server = wider(tmp_path)
    for client in ("20.9.1.1", "20.9.2.1", "20.9.3.1"):
        assert server.lose(client, "paris") == 204  # nobody has said yet how it is
    server = wider(tmp_path)
    server.verdicts(since=time.time() - 60)
    for client in ("20.9.1.1", "20.9.2.1", "20.9.3.1"):
        assert server.lose(client, "paris") == 204  # it has come back just now
    await server.measuring.renew()
    assert server.changes == 0
    server = wider(tmp_path)
    server.verdicts()
    for client in ("20.9.1.1", "20.9.2.1", "20.9.3.1"):
        assert server.lose(client, "paris", "sofia") == 204  # half of all: they are cut off, or lie
    await server.measuring.renew()
    assert server.changes == 0
    for number in range(4, 6):
        assert server.lose(f"20.9.{number}.1", "paris") == 204
    assert server.post("20.9.6.1", 55.0) == 204 and server.post("20.9.7.1", 55.0) == 204  # two of seven reach it
    await server.measuring.renew()
    assert not server.verdicts()["paris"].barred


async def test_three_ases_speak_for_their_country(tmp_path: Path) -> None:
    server = Server(tmp_path)
    for client in ("20.9.1.1", "20.1.1.1", "20.2.1.1"):
        assert server.post(client, 45.0) == 204
    await server.measuring.renew()
    assert place_key(located(SILENT)) in server.world.measured["zone.test"]


def test_strangers_and_the_unplaced(tmp_path: Path) -> None:
    server = Server(tmp_path)
    assert server.post("20.9.1.1", 45.0, "select.other.test") == 404
    assert server.post("99.0.0.1", 45.0) == 204 and len(server.measuring.reports) == 0
    assert server.post("20.9.1.1", 45.0) == 204 and server.post("20.9.1.2", 45.0) == 429


async def test_the_file_and_who_reads_it(tmp_path: Path, expected_warnings: list[str]) -> None:
    server = Server(tmp_path)
    await server.measuring.save()
    assert not (tmp_path / FILE).exists(), "nothing to keep"
    for n in range(3):
        server.post(f"20.9.{n}.1", 55.0)
    await server.measuring.save()
    again = Server(tmp_path)
    assert len(again.measuring.reports) == 3
    recalled = await again.measuring.recall(again.world)
    assert recalled.measured and recalled.measured == as_served(tmp_path, world(), time.time())
    (tmp_path / FILE).write_bytes(b"nonsense")
    expected_warnings.append("are begun anew: it is damaged")
    assert len(Server(tmp_path).measuring.reports) == 0


async def test_a_full_disk_is_told_once_and_tried_again(
    tmp_path: Path, expected_warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Server(tmp_path)
    server.post("20.9.0.1", 55.0)
    expected_warnings.append("would not outlive a restart")
    (tmp_path / FILE).mkdir()
    await server.measuring.save()
    (tmp_path / FILE).rmdir()
    await server.measuring.save()
    assert (tmp_path / FILE).is_file()
