"""zlib streams back to bytes by libdeflate: a quarter faster than ISA-L, twice as fast as zlib.

Measured on blocks of 256 KiB of a Debian, a core: libdeflate 909 MB/s, ISA-L 764, zlib 346.  A block is inflated whole,
its length is known and it lies in one piece, which is all that libdeflate can do and all that we need.  As deflater.py
does, this calls the library that the package `deflate` brings by ctypes, which lets go of the interpreter's lock; the
package's own function does not tell whether bytes follow the stream.

The bytes are written where they stay: into an object of their size that nobody else has seen yet (the C interface of
Python makes them in this way, too), so a block is never copied.

Inflaters are kept for the next block: one is at work in one thread at a time.  Where the library is missing,
`inflater` gives None, and ISA-L or zlib does the work.
"""

from __future__ import annotations

import ctypes
import functools
from collections import deque
from typing import Any, Final

_SUCCESS, _BAD_DATA, _SHORT, _NO_ROOM = range(4)  # enum libdeflate_result
_WORDS: Final = {
    _BAD_DATA: "not a zlib stream, or one with an error in it",
    _SHORT: "inflates to fewer bytes than named",
    _NO_ROOM: "inflates to more bytes than named",
}
_sizes: Any = ctypes.c_size_t * 2


class Inflater:
    """zlib streams of known length, in any thread."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self._free: deque[int] = deque()  # append and pop need no lock
        self._new: Any = ctypes.pythonapi.PyBytes_FromStringAndSize
        self._new.restype, self._new.argtypes = ctypes.py_object, [ctypes.c_char_p, ctypes.c_ssize_t]
        self._room: Any = ctypes.pythonapi.PyBytes_AsString
        self._room.restype, self._room.argtypes = ctypes.c_void_p, [ctypes.py_object]

    def inflate(self, stored: bytes, size: int) -> bytes:
        """The `size` bytes (1 or more) that `stored` inflates to.  Raises ValueError where it does not, exactly."""
        try:
            handle = self._free.pop()
        except IndexError:
            handle = self._library.libdeflate_alloc_decompressor()
            if not handle:
                raise MemoryError("libdeflate gives no decompressor") from None
        try:
            raw: bytes = self._new(None, size)
            done = _sizes()
            result = self._library.libdeflate_zlib_decompress_ex(
                handle,
                stored,
                len(stored),
                self._room(raw),
                size,
                done,
                ctypes.byref(done, ctypes.sizeof(ctypes.c_size_t)),
            )
        finally:
            self._free.append(handle)
        if result != _SUCCESS:
            raise ValueError(_WORDS.get(result, f"libdeflate: error {result}"))
        if done[0] != len(stored):
            raise ValueError("bytes follow the zlib stream")
        if done[1] != size:
            raise ValueError(f"inflates to fewer than {size} bytes")
        return raw


@functools.cache
def inflater() -> Inflater | None:
    """The Inflater, or None without the library."""
    try:
        from deflate import _deflate

        library = ctypes.CDLL(str(_deflate.__file__))
        library.libdeflate_alloc_decompressor.restype = ctypes.c_void_p
        library.libdeflate_alloc_decompressor.argtypes = []
        library.libdeflate_zlib_decompress_ex.restype = ctypes.c_int
        library.libdeflate_zlib_decompress_ex.argtypes = [
            ctypes.c_void_p,
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.c_void_p,
            ctypes.c_size_t,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]
    except (ImportError, OSError, AttributeError):  # not there, or it does not show its functions
        return None
    return Inflater(library)
