"""A control socket: long paths, who asks, what was left behind, what is no request."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from typing import Any

import pytest

from mirrornet.app.control import LONGEST_ADDRESS, Control, answers, ask
from mirrornet.model.errors import InputError, LocalError


async def echo(request: dict[str, Any]) -> dict[str, Any]:
    if "error" in request:
        raise InputError("mend it")
    return {"seen": request}


async def asked(path: Path, request: Any) -> dict[str, Any]:
    return await asyncio.to_thread(ask, path, request)


@pytest.mark.parametrize("length", [10, LONGEST_ADDRESS, LONGEST_ADDRESS + 1, 240])
async def test_a_path_of_any_length(tmp_path: Path, length: int) -> None:
    folder = tmp_path
    while (left := length - len(os.fsencode(folder)) - len("/c")) > 1:
        folder = folder / ("x" * min(left - 1, 200))
    path = folder / "c"
    control = Control(path, echo)
    await control.start()
    assert path.is_socket() and path.stat().st_mode & 0o777 == 0o660
    assert answers(path)
    told = await asked(path, {"do": "x", "uid": 12345})
    assert told == {"seen": {"do": "x", "uid": os.getuid()}}  # who asks is the kernel's word
    await control.stop()
    assert not path.exists() and not answers(path)


async def test_what_was_left_behind_is_replaced_and_what_is_not_ours_stays(tmp_path: Path) -> None:
    path = tmp_path / "c"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))  # and nobody listens any more
    control = Control(path, echo)
    await control.start()
    second = Control(path, echo)
    with pytest.raises(LocalError, match="another process listens there"):
        await second.start()
    await control.stop()
    path.write_text("precious")
    with pytest.raises(LocalError, match="no socket: move it away"):
        await second.start()
    await second.stop()
    assert path.read_text() == "precious"
    with pytest.raises(LocalError, match="no answer"):
        await asked(path, {})
    with pytest.raises(LocalError, match="no answer"):
        await asked(tmp_path / "absent" / ("x" * 200), {})


async def test_what_is_no_request_is_answered_in_one_line(tmp_path: Path) -> None:
    control = Control(tmp_path / "c", echo)
    await control.start()
    reader, writer = await asyncio.open_unix_connection(str(tmp_path / "c"))
    for line in (b"", b"[]", b"\xff", b"{", b"[" * 100_000, b'{"error": 1}'):
        writer.write(line + b"\n")
        answer = await asyncio.wait_for(reader.readline(), 60)
        assert b'"code": 2' in answer
    writer.close()
    await control.stop()
