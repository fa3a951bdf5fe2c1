"""POST /v1/override: who may, what is refused before it is read, what is passed on.  Tokens and their file."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from mirrornet.app.server.worlds.tokens import TokenFile, read_tokens
from mirrornet.model.errors import InputError, LocalError
from mirrornet.web.overriding import BODY_LIMIT, BURST, PATH, OverrideDoor, owner
from mirrornet.web.server import Window
from mirrornet.web.status import Snapshot

TOKEN, OTHER = "a" * 32, "b" * 40
JSON = {"Content-Type": "application/json"}
MAY = {**JSON, "Authorization": f"Bearer {TOKEN}"}


class Server:
    """A window whose door remembers what came through it; time stands still for its rates."""

    def __init__(self) -> None:
        self.taken: list[tuple[object, str]] = []
        self.tokens = {TOKEN: "alice", OTHER: "cron"}
        self.error: Exception | None = None
        door = OverrideDoor(self.take, lambda: self.tokens, lambda: 0.0)
        self.window = Window(lambda: Snapshot(now=1.0, started=0.0, zones=()), overrides=door)

    async def take(self, document: object, author: str) -> dict[str, Any]:
        if self.error:
            raise self.error
        self.taken.append((document, author))
        return {"changed": ["done"], "warnings": []}

    async def ask(self, headers: dict[str, str], data: bytes = b"{}", method: str = "POST") -> tuple[int, Any, Any]:
        url = f"http://127.0.0.1:{self.window.port}{PATH}"
        async with (
            aiohttp.ClientSession() as session,
            session.request(method, url, headers=headers, data=data) as answer,
        ):
            text = await answer.text()
            return answer.status, json.loads(text) if text.startswith("{") else text, answer.headers


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    running = Server()
    await running.window.start("127.0.0.1", 0)
    yield running
    await running.window.stop()


async def test_with_a_token_a_request_is_passed_on_with_its_owner(server: Server) -> None:
    document = {"action": "drain", "mirrors": ["fra*"]}
    status, answer, headers = await server.ask(MAY, json.dumps(document).encode())
    assert (status, answer) == (200, {"changed": ["done"], "warnings": []})
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-store"
    await server.ask({**MAY, "Authorization": f"bearer  {OTHER} "})
    assert server.taken == [(document, "alice"), ({}, "cron")]


async def test_without_one_nothing_is_read(server: Server, expected_warnings: list[str]) -> None:
    expected_warnings += ["without a token"]
    for given in ("", "Bearer", f"Bearer {TOKEN[:-1]}", f"Bearer {TOKEN}x", f"Basic {TOKEN}", TOKEN, "Bearer \xff\xfe"):
        status, answer, headers = await server.ask({**JSON, "Authorization": given})
        assert status == 401 and "token_file" in answer["error"]
        assert headers["WWW-Authenticate"].startswith("Bearer")
    status, _, headers = await server.ask(JSON, b"x" * 1_000_000)
    assert status == 401 and headers["Connection"] == "close"
    server.tokens = {}
    status, answer, _ = await server.ask(MAY)
    assert status == 403 and "token_file" in answer["error"]
    assert server.taken == []


async def test_what_is_no_request_is_refused_by_name(server: Server) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"{}"

    for headers, data, wanted in [
        ({**MAY, "Content-Type": "text/plain"}, b"{}", 415),
        ({**MAY, "Content-Type": "application/x-www-form-urlencoded"}, b"{}", 415),
        ({**MAY, "Content-Encoding": "gzip"}, b"{}", 411),
        (MAY, chunks(), 411),
        (MAY, b"x" * (BODY_LIMIT + 1), 413),
        (MAY, b"", 400),
        (MAY, b"{", 400),
        (MAY, b"\xff\xfe", 400),
        (MAY, b"[" * BODY_LIMIT, 400),
    ]:
        status, answer, _ = await server.ask(headers, data)  # type: ignore[arg-type]
        assert (status, list(answer)) == (wanted, ["error"])
    assert server.taken == []
    for method in ("GET", "PUT", "DELETE", "OPTIONS"):
        assert (await server.ask(MAY, method=method))[0] == 405


async def test_what_cannot_be_done_is_told(server: Server, expected_warnings: list[str]) -> None:
    server.error = InputError("there is no mirror 'tokio': did you mean tokyo?")
    assert (await server.ask(MAY))[:2] == (400, {"error": "there is no mirror 'tokio': did you mean tokyo?"})
    server.error = LocalError("the disk is full")
    assert (await server.ask(MAY))[0] == 503
    expected_warnings += ["cannot be shown"]
    server.error = RuntimeError("secret detail")
    status, answer, _ = await server.ask(MAY)
    assert status == 500 and "secret" not in answer


async def test_each_token_has_its_own_rate(server: Server) -> None:
    seen = [(await server.ask(MAY))[0] for _ in range(int(BURST) + 2)]
    assert seen == [200] * int(BURST) + [429] * 2
    status, _, headers = await server.ask(MAY)
    assert status == 429 and int(headers["Retry-After"]) >= 1
    assert (await server.ask({**MAY, "Authorization": f"Bearer {OTHER}"}))[0] == 200


async def test_a_body_that_never_comes_is_cut_off(server: Server) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.window.port)
    head = f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
    writer.write(f"{head}Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{{".encode())
    writer.write_eof()
    await asyncio.wait_for(reader.read(), 60)
    writer.close()
    assert server.taken == []
    assert (await server.ask(MAY))[0] == 200


def test_a_token_has_one_owner_and_the_scheme_counts() -> None:
    tokens = {TOKEN: "alice", OTHER: "cron"}
    assert [owner(f"Bearer {each}", tokens) for each in (TOKEN, OTHER, "c" * 32, "")] == ["alice", "cron", None, None]
    assert owner(f"Digest {TOKEN}", tokens) is None and owner("", tokens) is None
    assert owner("Bearer \udcff", tokens) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no token in it"),
        ("# nothing\n\n", "no token in it"),
        (f"{TOKEN}\n", "line 1 has 1 words"),
        (f"alice {TOKEN} more", "line 1 has 3 words"),
        (f"\nalice {'x' * 31}", "line 2: a token has 32 to 256"),
        (f"alice {'x' * 300}", "line 1: a token has 32 to 256"),
        ("alice " + "\xe4" * 40, "line 1: a token has 32 to 256"),
        (f"al!ce {TOKEN}", "line 1: a name has"),
        (f"{'a' * 65} {TOKEN}", "line 1: a name has"),
        (f"alice {TOKEN}\nbob {TOKEN}", "line 2: this token has an owner"),
    ],
)
def test_a_token_file_is_proven_and_never_quoted(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=r"\w") as caught:
        read_tokens(text)
    assert told in str(caught.value) and TOKEN not in str(caught.value)


def test_a_token_file_is_read_again_when_it_changes(tmp_path: Path, expected_warnings: list[str]) -> None:
    path = tmp_path / "tokens"
    assert TokenFile(None).current() == {}
    with pytest.raises(InputError, match="No such file"):
        TokenFile(path)

    def write(text: str, at: int) -> None:
        path.write_text(text)
        os.utime(path, (at, at))

    write(f"alice {TOKEN}  # until May\n\ncron {OTHER}\n", 1)
    tokens = TokenFile(path)
    assert tokens.current() == {TOKEN: "alice", OTHER: "cron"}
    write(f"alice {TOKEN}\n", 2)
    assert tokens.current() == {TOKEN: "alice"}
    expected_warnings += ["the tokens read before stay"]
    write("alice short\n", 3)
    assert tokens.current() == {TOKEN: "alice"}
    path.unlink()
    assert tokens.current() == {TOKEN: "alice"}
    write(f"bob {OTHER}\n", 4)
    assert tokens.current() == {OTHER: "bob"}
