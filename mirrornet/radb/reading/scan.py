"""The compiled pass over a piece (scan.c): building it, loading it, and its rows as NumPy sees them.

`build` has the machine's own `cc` compile it into the user's cache folder, once for each version of its source; `load`
takes it from there.  Where there is no compiler, or the environment says MIRRORNET_SCAN=off, there is none, and text.py
does the same work at a third of the pace.  A file that somebody else could have written is not loaded.

Measured on 316 MB (1.1 million routes): text.py's columns 1.1 s, this 0.2 s, of a whole import of 2.4 s.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import shutil
import subprocess
from ctypes import POINTER, byref, c_char_p, c_int64, c_uint64, c_void_p
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

SOURCE: Final = Path(__file__).with_name("scan.c")
SWITCH: Final = "MIRRORNET_SCAN"  # environment: "off" leaves everything to Python
AT_ONCE: Final = 1 << 14  # rows of one call: 900 kB, whatever the text is
_COMPILE: Final = 60  # seconds
_FLAGS: Final = ("-O2", "-shared", "-fPIC")
ROW: Final = np.dtype(
    [
        *((name, "<u8") for name in ("value", "newest", "source_low", "source_high")),
        *((name, "<u4") for name in ("begin", "end", "line", "asn")),
        *((name, "u1") for name in ("kind", "length")),
        ("country", "<u2"),
        ("spare", "<u4"),
    ]
)
assert ROW.itemsize == 56


class Scanner:
    """The loaded library."""

    def __init__(self, path: Path) -> None:
        """Raises OSError where it cannot be loaded."""
        self._scan = ctypes.CDLL(str(path)).scan
        self._scan.argtypes = [c_void_p, c_uint64, c_void_p, c_int64, POINTER(c_uint64), POINTER(c_uint64)]
        self._scan.restype = c_int64

    def rows(self, text: bytes | memoryview, size: int) -> tuple[NDArray[np.void], int]:
        """A row (scan.c tells its fields) for each object in the first `size` bytes, and how many lines they are.

        At least one zero follows these, as it does in every bytes.
        """
        at, line = c_uint64(0), c_uint64(0)
        found = []
        address = c_char_p(text) if isinstance(text, bytes) else None
        pointer = ctypes.cast(address, c_void_p) if address else c_void_p(np.frombuffer(text, np.uint8).ctypes.data)
        while at.value < size:
            rows = np.empty(AT_ONCE, ROW)
            count = self._scan(pointer, size, rows.ctypes.data, AT_ONCE, byref(at), byref(line))
            found.append(rows[:count])
        return np.concatenate(found) if found else np.empty(0, ROW), line.value


def folder() -> Path:
    """Where this user's compiled passes are."""
    if os.geteuid() == 0:
        return Path("/var/cache/mirrornet")
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mirrornet"


def ready(cache: Path) -> Path | None:
    """The compiled pass in the folder `cache`, if it is there."""
    target = _target(cache)
    return target if target is not None and target.exists() else None


def _target(cache: Path) -> Path | None:
    if os.environ.get(SWITCH) == "off":
        return None
    made = repr((_compiler(), _FLAGS, os.uname().machine)).encode()
    return cache / f"scan-{hashlib.sha256(SOURCE.read_bytes() + made).hexdigest()[:16]}.so"


def _compiler() -> str:
    return os.environ.get("CC") or "cc"


def build(cache: Path) -> Path | None:
    """The same, made now where it is not there; None where it cannot be."""
    target = _target(cache)
    if target is None or target.exists():
        return target
    compiler = _compiler()
    if shutil.which(compiler) is None:
        return None
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            [compiler, *_FLAGS, "-o", str(temporary), str(SOURCE)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_COMPILE,
            check=False,
        )
        if done.returncode:
            return None
        temporary.chmod(0o755)
        temporary.rename(target)
    except (OSError, subprocess.TimeoutExpired):
        return None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    for old in cache.glob("scan-*.so"):
        if old != target:
            with contextlib.suppress(OSError):
                old.unlink()
    return target


def load(path: Path | None) -> Scanner | None:
    """The compiled pass at `path`; None where there is none, or somebody else could have put it there."""
    if path is None:
        return None
    try:
        for one in (path, path.parent):
            found = one.stat()
            if found.st_uid not in (0, os.geteuid()) or found.st_mode & 0o022:
                return None
        return Scanner(path)
    except OSError:
        return None
