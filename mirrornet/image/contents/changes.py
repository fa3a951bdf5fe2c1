"""What came, went and changed between two lists of packages.  Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from mirrornet.image.contents.packages import Package


@dataclass(frozen=True, slots=True)
class Changes:
    """`added`, `removed`: (name, version); `changed`: (name, old version, new version).  By name, ascending.

    Of a package that is installed in several architectures the name is "name:architecture".
    """

    added: tuple[tuple[str, str], ...]
    removed: tuple[tuple[str, str], ...]
    changed: tuple[tuple[str, str, str], ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


def changes(before: Sequence[Package], after: Sequence[Package]) -> Changes:
    """The difference of two lists."""
    several = _several(before) | _several(after)
    old, new = _by_name(before, several), _by_name(after, several)
    return Changes(
        added=tuple(sorted((name, version) for name, version in new.items() if name not in old)),
        removed=tuple(sorted((name, version) for name, version in old.items() if name not in new)),
        changed=tuple(
            sorted((name, old[name], version) for name, version in new.items() if name in old and old[name] != version)
        ),
    )


def _several(packages: Sequence[Package]) -> set[str]:
    count = Counter(package.name for package in packages)
    return {name for name, number in count.items() if number > 1}


def _by_name(packages: Sequence[Package], several: set[str]) -> dict[str, str]:
    return {f"{p.name}:{p.arch}" if p.name in several else p.name: p.version for p in packages}
