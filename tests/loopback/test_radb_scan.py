"""The compiled pass: built once, loaded only where nobody else could have put it, and never beyond its text."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mirrornet.radb.reading import scan
from mirrornet.radb.reading.batch import padded

ROUTE = b"route: 8.8.8.0/24\norigin: AS1\nsource: RADB\n\n"
needs_compiler = pytest.mark.skipif(shutil.which("cc") is None and not os.environ.get("CI"), reason="no C compiler")


@needs_compiler
def test_it_is_built_once_and_an_older_one_goes(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    (tmp_path / "cache").mkdir()
    (cache / "scan-0123.so").touch()
    assert scan.ready(cache) is None
    built = scan.build(cache)
    assert built is not None and scan.ready(cache) == built
    assert list(cache.iterdir()) == [built]
    made = built.stat().st_mtime_ns
    assert scan.build(cache) == built and built.stat().st_mtime_ns == made
    scanner = scan.load(built)
    assert scanner is not None
    rows, lines = scanner.rows(padded(ROUTE), len(ROUTE))
    assert (rows["kind"].tolist(), rows["asn"].tolist(), lines) == ([4], [1], 4)


@needs_compiler
def test_more_objects_than_one_call_takes(tmp_path: Path) -> None:
    scanner = scan.load(scan.build(tmp_path))
    assert scanner is not None
    count = 2 * scan.AT_ONCE
    for text, objects in ((ROUTE * count, count), (b"\n" + ROUTE * (count + 1) + b"\n\n", count + 1)):
        rows, lines = scanner.rows(memoryview(padded(text)), len(text))
        assert lines == text.count(b"\n")
        assert len(rows) == objects and set(rows["kind"].tolist()) == {4}
        first = len(text) - len(text.lstrip(b"\n"))
        assert rows["begin"].tolist() == [first + len(ROUTE) * number for number in range(objects)]
        assert rows["line"].tolist() == [first + 4 * number for number in range(objects)]


@pytest.mark.parametrize("why", ["off", "no compiler", "broken compiler", "no folder"])
def test_without_it_nothing_is_built(why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if why == "off":
        monkeypatch.setenv(scan.SWITCH, "off")
    if why == "no compiler":
        monkeypatch.setenv("CC", "no-such-compiler")
    if why == "broken compiler":
        monkeypatch.setenv("CC", "false")
    cache = tmp_path / "cache"
    if why == "no folder":
        cache.write_text("a file")
    assert scan.build(cache) is None
    assert scan.load(None) is None
    assert not cache.is_dir() or not list(cache.iterdir())


@needs_compiler
def test_what_others_may_write_is_not_loaded(tmp_path: Path) -> None:
    built = scan.build(tmp_path / "cache")
    assert built is not None and scan.load(built) is not None
    built.chmod(0o777)
    assert scan.load(built) is None
    built.chmod(0o755)
    built.parent.chmod(0o777)
    assert scan.load(built) is None
    built.parent.chmod(0o755)
    other = built.with_name("scan-other.so")
    other.write_bytes(b"no library")
    other.chmod(0o755)
    assert scan.load(other) is None


# Texts of every shape end at the last byte that this process may touch: one more, and it dies of SIGSEGV.
EDGE = """
import ctypes, mmap, random, sys
from pathlib import Path
from mirrornet.radb.reading import scan
scanner = scan.load(Path(sys.argv[1]))
page = mmap.PAGESIZE
memory = mmap.mmap(-1, 2 * page)
address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
libc = ctypes.CDLL(None, use_errno=True)
assert libc.mprotect(ctypes.c_void_p(address + page), page, 0) == 0
dice = random.Random(7)
parts = [b"route:", b"route6:", b"aut-num:", b"origin:", b"source:", b"changed:", b"last-modified:", b"country:",
         b"member-of:", b" ", b"\\t", b"8.8.8.0/24", b"2a00::/16", b"AS1", b"RADB", b"a@b 20010101", b"2023-11-13",
         b"JP", b"#", b"%", b"+", b":", b"\\0", b"\\xff", b"r", b"m", b"l", b"c"]
for number in range(20000):
    ends = [b"", b"", b"\\n", b"\\n", b"\\n\\n"]
    text = b"".join(dice.choice(parts) + dice.choice(ends) for _ in range(dice.randrange(12)))
    text += dice.choice([b"", b"\\n", b"\\n\\n"])
    begin = page - 1 - len(text)
    memory[begin:page] = text + bytes(1)
    view = memoryview(memory)[begin:page]
    rows, lines = scanner.rows(view, len(text))
    assert lines == text.count(b"\\n"), text
    assert len(rows) <= len(text)
print("whole")
"""


@needs_compiler
def test_it_reads_no_byte_beyond_its_text(tmp_path: Path) -> None:
    built = scan.build(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", EDGE, str(built)], capture_output=True, text=True, timeout=120, check=False
    )
    assert (done.returncode, done.stdout) == (0, "whole\n"), done.stderr
