"""Servers and vantages at one real Redis, turn by turn, with a clock of the test's own: who believes whom, and when."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import pytest
from board import Board

from mirrornet.app.server.voices.joining import join
from mirrornet.app.server.voices.overriding import Overriding
from mirrornet.app.server.voices.probing import AllVerdicts, Probing
from mirrornet.app.server.voices.sharing import Sharing
from mirrornet.app.server.worlds.world import World
from mirrornet.health.eyes.exchange import Speaker
from mirrornet.health.eyes.link import Link
from mirrornet.health.eyes.observation import key_of
from mirrornet.image.trust.seal import Seal, make_seal
from mirrornet.model.errors import InputError, PeerError
from mirrornet.model.override import Action, Override
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import HealthSettings, Mirror, Select, ServerSettings, ShareSettings, Vantage, Zone

NAMES = ("ns1", "ns2", "ns3", "fra1", "tok1", "dal1", "lag1")
NETWORKS = {"fra1": (64501, "DE"), "tok1": (64502, "JP"), "dal1": (64503, "US"), "lag1": (64504, "NG")}
UP = Verdict(State.UP, 20.0, since=1.0, serves_select=True)
DOWN = Verdict(State.DOWN, 20.0, since=2.0, reason="connection refused", serves_select=True)
CORRUPT = Verdict(State.CORRUPT, 20.0, since=2.0, reason="bad block")
LIFE = 33  # seconds: three intervals and a timeout


class Clock:
    now = 1_800_000_000.25

    def __call__(self) -> float:
        return self.now


class Scene:
    """A zone of four mirrors; servers ns1 to ns3 and vantages, each with eyes that the test sets."""

    def __init__(self, folder: Path, board: Board, seals: dict[str, Path]) -> None:
        self.board, self.clock, self.seals = board, Clock(), seals
        keys = {name: Seal(path).public for name, path in seals.items()}
        self.vantages = tuple(
            Vantage(name, keys[name], *NETWORKS.get(name, (0, "")), overrides=name.startswith("ns")) for name in NAMES
        )
        self.zone = Zone(
            file=folder / "zone.yaml",
            name="zone.test",
            contact="a@zone.test",
            serial=1,
            nameservers={},
            world=None,
            select=(Select("select", "http://select.zone.test/"),),
            mirrors=tuple(
                Mirror(f"m{number}", "http://m.test/", (ip_address(f"192.0.2.{number}"),)) for number in range(1, 5)
            ),
            health=HealthSettings(interval=10, timeout=3),
            server=ServerSettings(share=ShareSettings(board.url), vantages=self.vantages),
        )
        self.eyes = {name: self.world() for name in NAMES}
        self.links: list[Link] = []
        self.speakers = {name: self._speaker(name) for name in NAMES if not name.startswith("ns")}
        self.servers = {name: self.server(name) for name in ("ns1", "ns2", "ns3")}
        self.changes = dict.fromkeys(NAMES, 0)

    @staticmethod
    def world(**changed: Verdict) -> dict[str, Verdict]:
        return dict.fromkeys(("m1", "m2", "m3", "m4"), UP) | changed

    def _speaker(self, name: str) -> Speaker:
        self.links.append(Link(self.board.url, 1 << 20))
        return Speaker(self.links[-1], name, Seal(self.seals[name]), self.clock)

    def server(self, name: str, **changed: object) -> Sharing:
        settings = replace(ShareSettings(self.board.url, key=self.seals[name]), **changed)  # type: ignore[arg-type]
        world = World((replace(self.zone, server=ServerSettings(share=settings, vantages=self.vantages)),), None, {})

        def changes() -> None:
            self.changes[name] += 1

        return Sharing(settings, world, lambda: {"zone.test": self.eyes[name]}, changes, self.clock)

    async def turns(self, *silent: str) -> None:
        """Everybody who is not silent says and hears, twice, so that all have heard all."""
        for _ in range(2):
            for name, speaker in self.speakers.items():
                if name not in silent:
                    await speaker.speak(self.zone, self.eyes[name])
            for name, server in self.servers.items():
                if name not in silent:
                    await server.turn()

    def verdicts(self, name: str) -> dict[str, Verdict]:
        server = self.servers[name]
        return dict(server.bounded(server.opinion({"zone.test": self.eyes[name]}))["zone.test"])

    def states(self, name: str) -> str:
        """One letter a mirror: U, D, C …"""
        return "".join(verdict.state.value[0].upper() for verdict in self.verdicts(name).values())

    def agreed(self) -> str:
        found = {self.states(name) for name in self.servers}
        assert len(found) == 1, found
        return found.pop()


@pytest.fixture(scope="module")
def seals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("seals")
    for name in (*NAMES, "stranger"):
        make_seal(folder / name, None)
    return {name: folder / name for name in (*NAMES, "stranger")}


@pytest.fixture
async def scene(tmp_path: Path, board: Board, seals: dict[str, Path]) -> AsyncIterator[Scene]:
    scene = Scene(tmp_path, board, {name: path for name, path in seals.items() if name in NAMES})
    yield scene
    for server in scene.servers.values():
        await server.close()
    for link in scene.links:
        await link.close()


async def test_servers_of_one_zone_answer_alike_without_a_leader(scene: Scene) -> None:
    await scene.turns()
    assert scene.agreed() == "UUUU"
    for name in ("ns1", "fra1", "tok1"):
        scene.eyes[name] = scene.world(m1=DOWN)
    await scene.turns()
    assert scene.agreed() == "UUUU"  # three of seven
    scene.eyes["ns3"] = scene.world(m1=DOWN, m2=DOWN)
    await scene.turns()
    assert scene.agreed() == "DUUU"  # four of seven
    assert scene.changes["ns2"] > 0
    status = scene.servers["ns2"].status()
    assert {one.name for one in status.vantages if one.outvoted} == {"dal1", "lag1", "ns3"}
    assert next(one for one in status.vantages if one.name == "ns3").outvoted == ("m2: down",)
    assert (status.name, status.outvoted, status.trouble) == ("ns2", ("m1: up",), "")


async def test_the_silent_expire_together_and_ones_own_eyes_stay(scene: Scene, expected_warnings: list[str]) -> None:
    expected_warnings += ["is silent: its votes count no more"]
    for name in NETWORKS:
        scene.eyes[name] = scene.world(m1=DOWN)
    await scene.turns()
    assert scene.agreed() == "DUUU"
    scene.clock.now += LIFE
    await scene.turns(*NETWORKS)
    assert scene.agreed() == "DUUU"
    scene.clock.now += 0.75
    assert scene.agreed() == "UUUU"  # the vantages' 33 seconds are over, for all in the same second
    for name in scene.servers:
        before = scene.changes[name]
        scene.servers[name].look()
        assert scene.changes[name] > before
    scene.eyes["ns1"] = scene.world(m2=DOWN)
    scene.clock.now += LIFE + 1
    assert scene.states("ns1") == "UDUU"


async def test_a_mirror_dead_for_one_network_is_kept_from_that_one(scene: Scene) -> None:
    scene.eyes["fra1"] = scene.world(m1=DOWN)
    await scene.turns()
    assert scene.agreed() == "UUUU"
    for name in scene.servers:
        found = {mirror: dict(verdict.barred) for mirror, verdict in scene.verdicts(name).items() if verdict.barred}
        assert found == {"m1": {"AS64501": "fra1 cannot reach it: connection refused"}}
    scene.eyes["fra1"] = scene.world()
    await scene.turns()
    assert not any(verdict.barred for verdict in scene.verdicts("ns1").values())


async def test_a_liar_is_outvoted_and_named(scene: Scene, expected_warnings: list[str]) -> None:
    expected_warnings.append("vantage tok1 is outvoted on 100 % of the weight")
    scene.eyes["tok1"] = dict.fromkeys(scene.world(), CORRUPT)
    await scene.turns()
    assert scene.agreed() == "UUUU"
    assert not any(verdict.barred for verdict in scene.verdicts("ns1").values())
    (liar,) = [one for one in scene.servers["ns3"].status().vantages if one.outvoted]
    assert (liar.name, liar.outvoted[0]) == ("tok1", "m1: corrupt")


async def test_what_was_seen_to_be_corrupt_cannot_be_outvoted(scene: Scene) -> None:
    scene.eyes["ns1"] = scene.world(m3=CORRUPT)
    await scene.turns()
    assert (scene.states("ns1"), scene.states("ns2")) == ("UUCU", "UUUU")


async def test_garbage_on_the_board(
    scene: Scene, seals: dict[str, Path], expected_warnings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    expected_warnings += ["is not believed"]
    await scene.turns()
    board, key = scene.board, {name: key_of("zone.test", name) for name in NAMES}
    board.put(key["fra1"], b"\xff" * 3_000_000)
    board.ask("DEL", key["tok1"])
    board.ask("LPUSH", key["tok1"], "x")
    board.ask("COPY", key["lag1"], key["dal1"], "REPLACE")
    forger = Speaker(scene.links[0], "ns3", Seal(seals["stranger"]), scene.clock)
    scene.clock.now += 5
    await forger.speak(scene.zone, scene.world(m1=DOWN))
    for number in range(50):
        board.put(f"mirrornet:eyes:1:zone.test:x{number}", b"noise")
    await scene.servers["ns1"].turn()
    refused = {one.name: one.refused for one in scene.servers["ns1"].status().vantages if one.refused}
    assert refused.keys() == {"fra1", "tok1", "dal1", "ns3"}
    assert "signature is not that of the key" in refused["ns3"]
    assert scene.states("ns1") == "UUUU"
    await scene.servers["ns1"].turn()
    assert len([one for one in caplog.records if "fra1 is not believed" in one.getMessage()]) == 1
    scene.clock.now += 10
    await scene.turns()  # who speaks again puts things right
    assert not any(one.refused for one in scene.servers["ns1"].status().vantages)


async def test_yesterdays_word_put_back(scene: Scene, expected_warnings: list[str]) -> None:
    expected_warnings += ["is not believed"]
    scene.eyes["fra1"] = scene.world(m1=DOWN)
    await scene.turns()
    scene.board.ask("COPY", key_of("zone.test", "fra1"), "kept")
    scene.eyes["fra1"] = scene.world()
    scene.clock.now += 1
    await scene.turns()
    scene.board.ask("COPY", "kept", key_of("zone.test", "fra1"), "REPLACE")
    await scene.servers["ns1"].turn()
    assert not scene.verdicts("ns1")["m1"].barred
    assert "older" in next(one.refused for one in scene.servers["ns1"].status().vantages if one.name == "fra1")
    late = scene.server("ns2")  # one that starts now has not seen the newer one, but a clock
    scene.clock.now += LIFE
    await late.turn()
    assert [one.fresh for one in late.status().vantages if one.name == "fra1"] == [False]
    await late.close()


async def test_a_clock_that_was_days_ahead_keeps_nobody_silent(scene: Scene, expected_warnings: list[str]) -> None:
    expected_warnings += [
        "is silent",
        "not believed: its clock is 5.0 d ahead",
    ]  # for what they said before is there still
    now, later = scene.clock.now, scene.clock.now + 5 * 86400
    scene.clock.now = later
    await scene.turns()
    scene.clock.now = now
    scene.speakers["fra1"] = scene._speaker("fra1")  # started anew; the others speak on
    del scene.speakers["tok1"]  # and one is gone
    scene.board.ask("DEL", key_of("zone.test", "tok1"))
    await scene.turns()
    heard = {one.name: (one.fresh, one.refused) for one in scene.servers["ns2"].status().vantages}
    assert heard == {name: (name != "tok1", "") for name in NAMES}


async def test_others_move_no_more_than_their_share(scene: Scene, expected_warnings: list[str]) -> None:
    expected_warnings += ["others would move more than 30 %", "outvoted"]
    dark = dict.fromkeys(scene.world(), DOWN)
    for name in NAMES:
        if name != "ns1":
            scene.eyes[name] = dark
    await scene.turns()
    assert scene.states("ns1") == "DUUU"
    status = scene.servers["ns1"].status()
    assert (status.stopped, status.moved) == ({"zone.test": ("m2", "m3", "m4")}, {"zone.test": 0.25})
    assert scene.states("ns2") == "DDDD"  # it has seen it itself


async def test_what_is_said_by_hand_travels_from_servers_only(scene: Scene, expected_warnings: list[str]) -> None:
    def order(mirror: str) -> Override:
        return Override("zone.test", mirror, Action.FORCE_DOWN, scene.clock(), None, "alice", "fire")

    turned: list[str] = []
    scene.servers["ns2"].turned = lambda: turned.append("ns2")
    scene.servers["ns1"].ours = lambda: (order("m1"), replace(order("m1"), zone="other.test"))
    await scene.speakers["fra1"].speak(scene.zone, scene.world(), (order("m2"),))
    for name in ("ns1", "ns2", "ns1"):
        await scene.servers[name].turn()
    assert scene.servers["ns2"].theirs() == (replace(order("m1"), origin="ns1"),)
    assert turned == ["ns2"]
    assert scene.servers["ns1"].theirs() == ()
    scene.clock.now += LIFE + 1
    expected_warnings += ["is silent"]
    scene.servers["ns2"].look()
    assert scene.servers["ns2"].theirs()  # its server may be gone; what was said is not
    scene.servers["ns1"].ours = tuple
    for name in ("ns1", "ns2"):
        await scene.servers[name].turn()
    assert scene.servers["ns2"].theirs() == ()


async def test_an_override_from_the_future_is_not_the_last_word(scene: Scene) -> None:
    late = Override("zone.test", "m1", Action.FORCE_DOWN, scene.clock() + 10, None, "mallory", "for ever")
    scene.servers["ns1"].ours = lambda: (late,)
    for name in ("ns1", "ns2"):
        await scene.servers[name].turn()
    assert scene.servers["ns2"].theirs() == ()


class Watched(Probing):
    """Probing that sees what the test says."""

    def __init__(self, state: Path, seen: dict[str, Verdict]) -> None:
        super().__init__(state, lambda: None)
        self.seen = seen

    def own(self) -> AllVerdicts:
        return {"zone.test": self.seen}


async def test_an_operators_word_on_one_server_holds_on_all_and_can_be_taken_back_on_any(
    scene: Scene, tmp_path: Path, expected_warnings: list[str]
) -> None:
    """As `mirrornet force-down` and `auto` order it, with everything wired as in `serve`."""
    expected_warnings += ["others would move more than 30 %", "is out by hand"]
    servers = {}
    for name in ("ns1", "ns2"):
        state = tmp_path / f"state-{name}"
        state.mkdir()
        share = ShareSettings(scene.board.url, key=scene.seals[name])
        world = World((replace(scene.zone, server=ServerSettings(share=share, vantages=scene.vantages)),), None, {})
        probing = Watched(state, scene.world())
        overriding = Overriding(state, lambda world=world: world.zones, probing.own, lambda: None)
        probing.opinions.append(overriding.opinion)
        sharing = join("", None, world, probing, overriding, lambda: None)
        assert sharing is not None and sharing.name == name
        servers[name] = (probing, overriding, sharing)

    async def order(name: str, action: str, *mirrors: str) -> None:
        await servers[name][1].take({"action": action, "mirrors": list(mirrors)}, "alice")
        for one in ("ns1", "ns2", "ns1", "ns2"):
            await servers[one][2].turn()

    def states(name: str) -> str:
        return "".join(one.state.value[-1] for one in servers[name][0].verdicts()["zone.test"].values())

    try:
        await order("ns1", "force-down", "m2")
        assert (states("ns1"), states("ns2")) == ("pnpp", "pnpp")
        verdict = servers["ns2"][0].verdicts()["zone.test"]["m2"]
        assert verdict.state is State.FORCED_DOWN and "by alice of ns1" in verdict.reason
        await order("ns2", "auto", "m2")
        assert (states("ns1"), states("ns2")) == ("pppp", "pppp")
        await order("ns1", "force-down", "m1", "m2", "m3")  # here all of it; from elsewhere 30 % at most
        assert (states("ns1"), states("ns2")) == ("nnnp", "nppp")
        assert servers["ns2"][2].status().stopped == {"zone.test": ("m2", "m3")}
        m2, m3 = servers["ns2"][1].unheeded()  # `mirrornet overrides` must not tell that they hold, and no more
        assert m2.startswith("zone.test: m2: force-down by alice of ns1, until ") and "not done here" in m2
        assert m3.startswith("zone.test: m3: ") and servers["ns1"][1].unheeded() == []
        await order("ns2", "auto", "*")  # ns1 has said it of three mirrors, and may be told otherwise of one
        assert (states("ns1"), states("ns2")) == ("pnnp", "pppp")
        asked = await servers["ns1"][1].answer({"do": "overrides"})
        assert asked["overrides"] == []
        assert [line.partition(": not done here")[0] for line in asked["unheeded"]] == [
            "zone.test: m2: auto by alice of ns2",
            "zone.test: m3: auto by alice of ns2",
        ]
        await order("ns1", "auto", "*")
        assert (states("ns1"), servers["ns1"][1].unheeded()) == ("pppp", [])
    finally:
        for _, _, sharing in servers.values():
            await sharing.close()


@pytest.mark.parametrize("listed", [(), ("ns1",), ("ns1", "ns2")], ids=len)
async def test_who_shares_with_nobody_but_himself_is_told_so(
    scene: Scene,
    tmp_path: Path,
    expected_warnings: list[str],
    caplog: pytest.LogCaptureFixture,
    listed: tuple[str, ...],
) -> None:
    expected_warnings += ["nobody is heard: list the public keys"]
    vantages = tuple(one for one in scene.vantages if one.name in listed)
    world = World((replace(scene.zone, server=ServerSettings(vantages=vantages)),), None, {})
    probing = Watched(tmp_path, scene.world())
    overriding = Overriding(tmp_path, lambda: world.zones, probing.own, lambda: None)
    sharing = join(scene.board.url, scene.seals["ns1"] if listed else None, world, probing, overriding, lambda: None)
    assert sharing is not None
    await sharing.close()
    assert ("nobody is heard" in caplog.text) == (len(listed) < 2)


async def test_a_server_that_only_listens_and_one_with_a_strangers_key(scene: Scene, seals: dict[str, Path]) -> None:
    await scene.turns()
    listening = scene.server("ns1", key=None)
    await listening.turn()
    assert (listening.name, sum(one.fresh for one in listening.status().vantages)) == ("", 7)
    await listening.close()
    with pytest.raises(InputError, match="is nobody's key: list it under `server: vantages`"):
        scene.server("ns1", key=seals["stranger"])
    with pytest.raises(InputError, match=r"gone\.pem: is not here; .* --vantage"):
        scene.server("ns1", key=Path("gone.pem"))


async def test_a_board_that_is_gone_is_said_once(scene: Scene, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    gone = scene.server("ns1", url="redis://127.0.0.1:1/0")
    with pytest.raises(PeerError, match="connection refused"):
        await gone.turn()
    await gone.first()  # a start does not fail for it
    assert gone.opinion({"zone.test": scene.world(m1=DOWN)})["zone.test"]["m1"] is DOWN
    await gone.close()


async def test_a_reload_changes_who_is_heard(scene: Scene) -> None:
    scene.eyes["fra1"] = scene.world(m1=DOWN)
    await scene.turns()
    server = scene.servers["ns1"]
    assert scene.verdicts("ns1")["m1"].barred
    fewer = tuple(one for one in scene.vantages if one.name != "fra1")
    settings = ServerSettings(share=ShareSettings(scene.board.url, quorum=5), vantages=fewer)
    server.adopt(World((replace(scene.zone, server=settings),), None, {}))
    assert not scene.verdicts("ns1")["m1"].barred
    assert server.status().quorum == 5
    with pytest.raises(InputError, match="nobody's key"):
        server.prove(World((replace(scene.zone, server=None),), None, {}))


async def test_who_changes_its_mind_all_the_time_does_not_keep_the_planner_busy(scene: Scene) -> None:
    await scene.turns()
    before = scene.changes["ns1"]
    for number in range(40):  # twenty seconds of two statements a second
        scene.eyes["fra1"] = scene.world(m1=DOWN) if number % 2 else scene.world()
        await scene.speakers["fra1"].speak(scene.zone, scene.eyes["fra1"])
        await scene.servers["ns1"].turn()
        scene.clock.now += 0.5
    assert 10 <= scene.changes["ns1"] - before <= 15
    before = scene.changes["ns1"]
    scene.clock.now += 5
    scene.servers["ns1"].look()
    assert scene.changes["ns1"] == before + 1  # what it said last is not lost
    assert scene.verdicts("ns1")["m1"].barred


async def test_two_with_one_key_are_told(
    scene: Scene, expected_warnings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    expected_warnings += ["another process speaks as ns1"]
    await scene.turns()
    assert "another process" not in caplog.text
    twin = scene.server("ns1")
    scene.clock.now += 5
    await twin.turn()
    await scene.servers["ns1"].turn()
    assert "another process speaks as ns1" in caplog.text
    await twin.close()
