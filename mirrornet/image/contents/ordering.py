"""Which of two versions is newer, by the rules of each package manager.  Pure; a thin door to univers.

Debian Policy 5.6.12 for deb, apk-tools' order for apk, rpmvercmp with epochs for rpm.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

from univers.versions import AlpineLinuxVersion, DebianVersion, InvalidVersion, RpmVersion

KINDS: Final = frozenset({"deb", "apk", "rpm"})
_ORDER: Final[dict[str, Any]] = {"deb": DebianVersion, "apk": AlpineLinuxVersion, "rpm": RpmVersion}


def compare(kind: str, one: str, other: str) -> int:
    """Negative, 0 or positive as `one` is older than, equal to or newer than `other`.

    Raises ValueError where one of them is no version of packages of `kind`.
    """
    first, second = _parsed(kind, one), _parsed(kind, other)
    return -1 if first < second else int(first > second)


@lru_cache(maxsize=65536)
def _parsed(kind: str, text: str) -> Any:
    try:
        return _ORDER[kind](text)
    except (InvalidVersion, KeyError, AttributeError, TypeError, IndexError) as error:
        raise ValueError(f"{text!r} is no version of a {kind} package") from error
