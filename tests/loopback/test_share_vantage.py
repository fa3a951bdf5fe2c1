"""A vantage: what it needs to start, what it says, and how it goes on when the board or its zone file is in trouble."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from board import Board
from typer.testing import CliRunner
from waiting import eventually

from mirrornet.app.server.voices.joining import fixed
from mirrornet.app.server.worlds.manners import faults
from mirrornet.app.vantage import Lookout, VantageOptions
from mirrornet.cli import _build
from mirrornet.config.load import load_zone
from mirrornet.health.eyes.observation import CONTEXT, Statement, decode, key_of
from mirrornet.image.trust.seal import Seal, genuine, make_seal, public_text
from mirrornet.model.errors import ConfigError, InputError
from mirrornet.model.verdict import State
from mirrornet.model.zone import ServerSettings, ShareSettings, Vantage

ZONE = """
zone: vantage.test
contact: a@vantage.test
serial: 1
nameservers: {{ns1.vantage.test: [127.0.0.1]}}
records: only-the-servers-have-this
select: [{{name: select, url: "http://select.vantage.test:{port}/"}}]
health: {{interval: 500ms, timeout: 450ms, up: 2, ok: 2, down: 2, probe: {probe}}}
mirrors:
  here: {{url: "http://select.vantage.test:{port}/", addresses: [127.0.0.1]}}
  gone: {{url: "http://select.vantage.test:{port}/", addresses: [127.0.8.1]}}
server:
  cookies: only-the-servers-have-this
  vantages: {{fra1: {{key: "{key}"}}, tok1: {{key: "ed25519:{other}"}}}}
"""


class Stage:
    """A zone file, a key, and a mirror that answers."""

    def __init__(self, folder: Path, port: int) -> None:
        self.folder, self.port, self.zone = folder, port, folder / "zone.yaml"
        self.key = folder / "fra1.pem"
        self.public = make_seal(self.key, None)
        self.write()

    def write(self, probe: str = "http", **changed: str) -> None:
        text = ZONE.format(port=self.port, probe=probe, key=self.public, other="0" * 64)
        for old, new in changed.items():
            text = text.replace(old, new)
        fresh = self.zone.with_suffix(".new")
        fresh.write_text(text)
        fresh.rename(self.zone)

    def options(
        self, url: str = "redis://127.0.0.1:1/0", name: str = "fra1", key: Path | None = None
    ) -> VantageOptions:
        return VantageOptions((self.zone,), name, key or self.key, url, None, self.folder / "state")


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="{}")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port: int = site._server.sockets[0].getsockname()[1]  # type: ignore[union-attr]
    yield Stage(tmp_path, port)
    await runner.cleanup()


@contextlib.asynccontextmanager
async def running(lookout: Lookout, reload: asyncio.Event) -> AsyncIterator[None]:
    task = asyncio.create_task(lookout.run(reload))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


def said(stage: Stage, board: Board) -> Statement | None:
    """What stands on the board, if it is to be believed."""
    public = bytes.fromhex(stage.public.partition(":")[2])
    data = board.ask("GET", key_of("vantage.test", "fra1")).encode()
    if not data:
        return None
    return decode(data, "vantage.test", "fra1", lambda message, signature: genuine(public, CONTEXT, message, signature))


def states(statement: Statement | None) -> dict[str, State]:
    return {} if statement is None else {name: one.state for name, one in statement.verdicts.items()}


async def test_it_says_what_it_sees_and_goes_on_saying_it(
    stage: Stage, board: Board, expected_warnings: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    expected_warnings += ["what is seen here is not heard", "reload refused", "vantage.test: mirror "]
    reload = asyncio.Event()
    async with running(Lookout(stage.options(board.url)), reload):
        expected = {"here": State.UP, "gone": State.DOWN}
        await eventually(lambda: states(said(stage, board)) == expected, lambda: said(stage, board))
        first = said(stage, board)
        assert first is not None
        assert first.overrides == ()
        board.stop()
        board.start()  # with nothing on it
        await eventually(lambda: said(stage, board))
        again = said(stage, board)
        assert again is not None and again.sequence > first.sequence
        stage.write(serial="nonsense")
        reload.set()
        await eventually(lambda: "reload refused, the old file stays in force" in caplog.text)
        stage.write(gone="away")
        reload.set()
        await eventually(lambda: "away" in (said(stage, board) or first).verdicts)
    other = Lookout(stage.options(board.url))
    assert other.zones[0].name == "vantage.test"


async def test_what_is_missing_is_said(stage: Stage, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no vantage 'fra': did you mean fra1\?"):
        Lookout(stage.options(name="fra"))
    with pytest.raises(InputError, match=r"has no vantage 'x9': add to `server: vantages:`  x9: \{key: ed25519:"):
        Lookout(stage.options(name="x9"))
    with pytest.raises(InputError, match="is not the key of tok1"):
        Lookout(stage.options(name="tok1"))
    with pytest.raises(InputError, match="nowhere to say what is seen: give --share"):
        Lookout(stage.options(url=""))
    with pytest.raises(InputError, match=r"--share: .*redis://HOST:PORT"):
        Lookout(stage.options(url="http://127.0.0.1"))
    with pytest.raises(InputError, match="which others would read"):
        Lookout(stage.options(url="redis://:secret@127.0.0.1"))
    with pytest.raises(InputError, match=r"gone\.pem"):
        Lookout(stage.options(key=tmp_path / "gone.pem"))
    stage.write(probe="none")
    with pytest.raises(InputError, match="nothing for a vantage to look at"):
        Lookout(stage.options())
    stage.write(zone="zne")
    with pytest.raises(ConfigError):
        Lookout(stage.options())


def test_keygen_makes_one_key(tmp_path: Path) -> None:
    def keygen(*words: str) -> tuple[int, str]:
        result = CliRunner().invoke(_build(), ["keygen", *words])
        return result.exit_code, result.stdout.strip().splitlines()[-1] if result.stdout.strip() else str(
            result.exception
        )

    code, public = keygen(str(tmp_path / "keys"), "--vantage", "fra1.pem")
    assert code == 0
    assert public == public_text(Seal(tmp_path / "keys" / "fra1.pem").public)
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["fra1.pem"]
    code, why = keygen("--vantage", str(tmp_path / "keys" / "fra1.pem"))
    assert code != 0 and "is there already" in why
    code, why = keygen()
    assert code != 0 and "DIR is missing" in why


def test_check_knows_whose_key_it_is(stage: Stage, tmp_path: Path) -> None:
    key = Seal(stage.key).public
    for vantages, why in (((), "is nobody's key: list it"), ((Vantage("fra1", key),), "")):
        settings = ServerSettings(share=ShareSettings("redis://a", key=stage.key), vantages=vantages)
        assert why in "".join(map(str, faults(settings, stage.zone)))
    make_seal(tmp_path / "locked.pem", b"secret")
    settings = ServerSettings(share=ShareSettings("redis://a", key=tmp_path / "locked.pem"))
    assert faults(settings, stage.zone) == []  # only a start, which has the passphrase, can tell
    (tmp_path / "text").write_text("no key")
    settings = ServerSettings(share=ShareSettings("redis://a", key=tmp_path / "text"))
    assert "PEM" in str(faults(settings, stage.zone)[0])


def test_what_a_reload_may_change_of_sharing(stage: Stage) -> None:
    share = ShareSettings("redis://a", quorum=2, limit=0.5)
    one = ServerSettings(share=share, vantages=(Vantage("fra1", b"1"),))
    assert fixed(one) == fixed(ServerSettings(share=ShareSettings("redis://a")))
    assert fixed(one) != fixed(ServerSettings(share=ShareSettings("redis://b")))
    assert fixed(None) == ServerSettings()
    with pytest.raises(ConfigError, match="only-the-servers-have-this"):
        load_zone(stage.zone)  # a name server needs what a vantage does not
