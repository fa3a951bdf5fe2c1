"""The keeper of overrides in a server: its file, its clock, other servers' words.  No sockets, no sleeping."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path

import pytest

from mirrornet.app.server.voices import overriding
from mirrornet.app.server.voices.overriding import ASIDE, FILE, FILE_LIMIT, Overriding, author_of, read, write
from mirrornet.model.errors import InputError
from mirrornet.model.override import Action, Override
from mirrornet.model.verdict import State, Verdict, Verdicts
from mirrornet.model.zone import Mirror, Select, Zone

NOW = 1_000_000.0
ZONE = Zone(
    Path("z"), "z.test", "h@z", 1, {}, None, (Select("s", "http://s/"),), (Mirror("a", "http://a/"), Mirror("b", "http://b/"))
)  # fmt: skip
OWN: dict[str, Verdicts] = {"z.test": {"a": Verdict(State.UP, 20.0), "b": Verdict(State.UP, 20.0)}}


@pytest.fixture(autouse=True)
def _half_is_out(expected_warnings: list[str]) -> None:
    expected_warnings += ["out by hand"]


class Server:
    """An Overriding with a clock that stands still and a count of the plans it asked for."""

    def __init__(self, state: Path) -> None:
        self.now, self.plans, self.told = NOW, 0, 0
        self.planned = asyncio.Event()
        self.overriding = Overriding(state, lambda: [ZONE], lambda: OWN, self._plan, lambda: self.now)
        self.overriding.on_change = self._tell
        self.overriding.load()

    def _plan(self) -> None:
        self.plans += 1
        self.planned.set()

    def _tell(self) -> None:
        self.told += 1

    async def say(self, action: str, **more: object) -> dict[str, list[str]]:
        return await self.overriding.take({"action": action, "mirrors": ["a"], **more}, "alice")

    def seen(self) -> tuple[State, float]:
        verdict = self.overriding.opinion(OWN)["z.test"]["a"]
        return verdict.state, round(verdict.share, 3)

    async def look(self, now: float) -> int:
        """The time is `now`, and somebody wakes it: the plans it asks for."""
        before, self.now = self.plans, now
        await self.overriding._look()
        return self.plans - before


async def test_what_is_taken_is_kept_and_holds_at_once(tmp_path: Path) -> None:
    server = Server(tmp_path)
    assert server.overriding.opinion(OWN) is OWN
    told = await server.say("force-down", why="disks")
    assert server.seen() == (State.FORCED_DOWN, 0.0)
    assert (server.plans, server.told) == (1, 1)
    assert told["warnings"] == ["z.test: 50% of the usable weight is out by hand then: 1 of 2 usable mirrors left"]
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    again = Server(tmp_path)
    assert again.seen() == (State.FORCED_DOWN, 0.0)
    assert again.overriding.ours == server.overriding.ours


async def test_auto_forgives_what_probes_hold_against_a_mirror(tmp_path: Path) -> None:
    server, asked = Server(tmp_path), []

    def pardon(zone: str, mirror: str) -> bool:
        asked.append((zone, mirror))
        return mirror == "a"

    server.overriding.pardon = pardon
    await server.say("drain")
    assert asked == []
    await server.say("auto", mirrors=["*"])
    assert asked == []  # who ends all overrides has not thought of every liar
    told = await server.say("auto", mirrors=["A", "b", "*"])
    assert asked == [("z.test", "a"), ("z.test", "b")]
    assert list(told["changed"])[2:] == ["z.test: a: pardoned, its next probe decides"]


async def test_it_ends_when_its_time_is_over_whatever_the_clock_did(tmp_path: Path) -> None:
    server = Server(tmp_path)
    await server.say("force-down", **{"for": "60s"})
    assert await server.look(NOW + 59.9) == 0
    assert await server.look(NOW + 3600) == 1
    assert server.seen() == (State.UP, 1.0)
    assert read(tmp_path) == {} and server.told == 2
    assert await server.look(NOW + 3601) == 0
    # One that ended while no server ran is not taken up.
    write(tmp_path, {("z.test", "a"): Override("z.test", "a", Action.FORCE_DOWN, NOW - 9, NOW - 1)})
    assert Server(tmp_path).seen() == (State.UP, 1.0)


async def test_a_drain_asks_for_a_plan_with_each_step_and_no_other(tmp_path: Path) -> None:
    server = Server(tmp_path)
    await server.say("drain", rate=120)  # 20 % a step
    assert server.seen() == (State.UP, 0.8)
    plans = [await server.look(NOW + second) for second in range(1, 60)]
    assert sum(plans) == 4 and [second for second, made in enumerate(plans, 1) if made] == [10, 20, 30, 40]
    assert server.seen() == (State.DRAINED, 0.0)
    # A restart in the middle goes on in the middle.
    again = Server(tmp_path)
    again.now = NOW + 15
    assert again.seen() == (State.UP, 0.6)


async def test_the_timer_wakes_for_a_step_and_for_others(tmp_path: Path) -> None:
    server = Server(tmp_path)
    running = asyncio.create_task(server.overriding.run())
    theirs = [Override("z.test", "a", Action.FORCE_UP, NOW, None, "bob", origin="ns2")]
    server.overriding.others = lambda: theirs
    server.overriding.turned()
    async with asyncio.timeout(60):
        await server.planned.wait()
    assert server.seen() == (State.FORCED_UP, 1.0)
    running.cancel()
    await asyncio.wait([running])


async def test_auto_outlives_what_others_still_say(tmp_path: Path) -> None:
    server = Server(tmp_path)
    theirs = Override("z.test", "a", Action.FORCE_DOWN, NOW + 30, None, "bob", origin="ns2")
    server.overriding.others = lambda: [theirs]
    assert server.seen() == (State.FORCED_DOWN, 0.0)
    told = await server.say("auto")
    assert "no more force-down by bob of ns2" in told["changed"][0]
    assert server.seen() == (State.UP, 1.0)
    (kept,) = Server(tmp_path).overriding.ours.values()
    assert kept.action is Action.AUTO and kept.at > theirs.at
    theirs = replace(theirs, at=NOW + 59)
    assert server.seen() == (State.FORCED_DOWN, 0.0)  # a newer word


async def test_a_full_disk_takes_no_word_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, expected_warnings: list[str]
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    server = Server(tmp_path)
    expected_warnings += ["overrides will not survive a restart"]
    monkeypatch.setattr(overriding, "write", full)
    told = await server.say("force-down")
    assert any("would not survive a restart" in line and "No space left" in line for line in told["warnings"])
    assert server.seen() == (State.FORCED_DOWN, 0.0)
    monkeypatch.undo()
    assert not any("restart" in line for line in (await server.say("force-down"))["warnings"])


@pytest.mark.parametrize(
    "garbage",
    [b"", b"{}", b"null", b"\xff" * 9, b"[1]", b"[" * 200_000, b'[{"zone": "z"}]', b" " * (FILE_LIMIT + 1)],
    ids=range(8),
)
async def test_what_is_not_ours_is_set_aside(tmp_path: Path, garbage: bytes, expected_warnings: list[str]) -> None:
    (tmp_path / FILE).write_bytes(garbage)
    with pytest.raises(InputError, match="is not what mirrornet writes") as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)
    expected_warnings += ["no override of it holds"]
    server = Server(tmp_path)
    assert server.seen() == (State.UP, 1.0)
    assert (tmp_path / f"{FILE}{ASIDE}").read_bytes() == garbage
    await server.say("force-down")
    assert len(json.loads((tmp_path / FILE).read_text())) == 1


def test_the_kernel_says_who_asks_and_sudo_only_for_root() -> None:
    assert author_of(0, None) == author_of(0, "") == author_of(0, "x" * 65) == author_of(0, "a\nb") == "root"
    assert author_of(0, "alice") == "alice (sudo)"
    assert author_of(2**31 - 5, "root") == f"uid {2**31 - 5}"
    assert author_of(None, "alice") == author_of("0", "alice") == ""
