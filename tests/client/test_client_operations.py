"""What the kernel is told when something goes wrong: an error at once, never silence, in which a reader would hang."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Coroutine
from typing import Any

import pyfuse3
import pytest

from mirrornet.client.fuse import mountpoint
from mirrornet.client.fuse.mount import TASKS, Operations
from mirrornet.image.format.block import Codec
from mirrornet.image.format.index import PREAMBLE, Head
from mirrornet.model.errors import LocalError, Unreachable

SIZE = 700_000
CONTEXT: Any = None


def head(codec: Codec) -> Head:
    streams = (PREAMBLE, b"zero") if codec is Codec.ZLIB else (b"", b"")
    return Head(SIZE, 262144, 1000, 1000, codec, 1, 1024, (), (), *streams)


class Reader:
    """Gives or raises what it was told to, at once or when awaited."""

    def __init__(self, codec: Codec = Codec.ZLIB) -> None:
        self.head, self.size = head(codec), SIZE
        self.what: bytes | BaseException = b"bytes"
        self.later = False

    def answer(self, offset: int, size: int, handle: int = 0) -> bytes | Coroutine[Any, Any, bytes]:
        if self.later:
            return self._later()
        if isinstance(self.what, BaseException):
            raise self.what
        return self.what

    async def _later(self) -> bytes:
        await asyncio.sleep(0)
        if isinstance(self.what, BaseException):
            raise self.what
        return self.what


def operations(reader: Reader) -> Operations:
    return Operations("disk", reader, 0)  # type: ignore[arg-type]


async def opened(made: Operations, name: bytes = b"disk.raw") -> pyfuse3.FileHandleT:
    entry = await made.lookup(pyfuse3.ROOT_INODE, pyfuse3.FileNameT(name), CONTEXT)
    return (await made.open(entry.st_ino, pyfuse3.FlagT(0), CONTEXT)).fh  # type: ignore[return-value]


@pytest.mark.parametrize("later", [False, True])
@pytest.mark.parametrize(
    ("what", "told"),
    [
        (Unreachable("no mirror"), "no mirror"),
        (LocalError("short"), "short"),
        (TimeoutError(), "did not end in time"),
        (asyncio.CancelledError(), ""),
        (RuntimeError("oops"), "this is a bug"),
        (KeyError("oops"), "this is a bug"),
        (MemoryError(), "this is a bug"),
    ],
)
async def test_whatever_goes_wrong_is_eio(
    what: BaseException, told: str, later: bool, expected_warnings: list[str]
) -> None:
    expected_warnings.append("EIO")
    reader = Reader()
    made = operations(reader)
    handle = await opened(made)
    assert await made.read(handle, 0, 5) == b"bytes"
    reader.what, reader.later = what, later
    with pytest.raises(pyfuse3.FUSEError) as refused:
        await made.read(handle, 0, 5)
    assert refused.value.errno == errno.EIO
    assert made.waiting == 0
    reader.what = b"again"
    assert await made.read(handle, 0, 5) == b"again"


async def test_a_handle_that_was_never_opened_is_eio(expected_warnings: list[str]) -> None:
    expected_warnings.append("this is a bug")
    with pytest.raises(pyfuse3.FUSEError) as refused:
        await operations(Reader()).read(pyfuse3.FileHandleT(99), 0, 5)
    assert refused.value.errno == errno.EIO


@pytest.mark.parametrize(("codec", "names"), [(Codec.ZLIB, ["disk.raw", "disk.cloop"]), (Codec.ZSTD, ["disk.raw"])])
async def test_names_sizes_and_refusals(codec: Codec, names: list[str]) -> None:
    made = operations(Reader(codec))
    assert made.file_names == names and bool(made.no_cloop) == (codec is not Codec.ZLIB)
    assert (await made.statfs(CONTEXT)).f_files == 1 + len(names)
    sizes = {"disk.raw": SIZE, "disk.cloop": 136 + 8 * 4 + 1000}
    for name in names:
        entry = await made.lookup(pyfuse3.ROOT_INODE, pyfuse3.FileNameT(name.encode()), CONTEXT)
        assert entry.st_size == sizes[name]
        assert (await made.getattr(entry.st_ino, CONTEXT)).st_size == sizes[name]
        with pytest.raises(pyfuse3.FUSEError) as refused:
            await made.open(entry.st_ino, pyfuse3.FlagT(1), CONTEXT)
        assert refused.value.errno == errno.EROFS
    with pytest.raises(pyfuse3.FUSEError) as refused:
        await made.lookup(pyfuse3.ROOT_INODE, pyfuse3.FileNameT(b"disk.other"), CONTEXT)
    assert refused.value.errno == errno.ENOENT
    with pytest.raises(pyfuse3.FUSEError) as refused:
        await made.open(pyfuse3.ROOT_INODE, pyfuse3.FlagT(0), CONTEXT)
    assert refused.value.errno == errno.EISDIR


def test_stat_never_waits_behind_reads() -> None:
    assert TASKS > mountpoint.MAX_BACKGROUND
