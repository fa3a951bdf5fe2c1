"""What the processes of a lab hold in memory: proportional set sizes (proc(5), smaps_rollup), by what they are."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Final

_PSS: Final = re.compile(r"^Pss:\s+([0-9]+) kB$", re.MULTILINE)
_OURS: Final = ("serve", "worker", "mount", "vantage")


def look(inodes: Collection[int]) -> dict[tuple[int, str], int]:
    """Bytes of each of our processes in the network namespaces `inodes`, by its id and what it is."""
    found: dict[tuple[int, str], int] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        try:
            if (folder / "ns" / "net").stat().st_ino not in inodes:
                continue
            words = (folder / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
            kind = next((one for one in _OURS if any(one == word or word.endswith(f".{one}") for word in words)), "")
            size = _PSS.search((folder / "smaps_rollup").read_text())
        except OSError:
            continue  # it ended
        if kind and size:
            found[int(folder.name), kind] = int(size[1]) << 10
    return found
