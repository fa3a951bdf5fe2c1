"""The as-sets and route-sets that zones name, held against the table: faults that only the two together show.

A set that the table does not have is a warning and not a fault: the table is made anew every night from what others
write, and a name server that stopped for a stranger's deletion would be worse than a mirror that waits for its sponsor.
But `only` with such a set shuts people out, so it is said with what it does, by `check` and whenever `serve` reads its
files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from mirrornet.config.load import line_of
from mirrornet.dns.ranking.policy import expansion_of, is_set
from mirrornet.dns.ranking.reasons import EMPTY_SET, facts_of
from mirrornet.model.names import closest
from mirrornet.model.problem import Problem
from mirrornet.model.sets import SECTION, SetFlag, Sets
from mirrornet.model.table import WorldTable
from mirrornet.model.zone import Mirror, Zone

_COMPARED: Final = 2_000  # names that a mistyped one is compared with
_NO_TABLE: Final = "is not known without a world.table"
_NO_SETS: Final = "is not in world.table, which has no sets at all"
_NO_SUCH: Final = "is not in world.table"
_NOBODY: Final = frozenset({_NO_TABLE, _NO_SETS, _NO_SUCH, EMPTY_SET})
_EFFECTS: Final = {
    "only": "so this mirror serves nobody by it",
    "prefer": "so it prefers nobody by it",
    "never": "so nobody is kept out by it",
}


def names_sets(zones: Iterable[Zone]) -> bool:
    """Whether any mirror of `zones` names a set."""
    return any(is_set(item) for zone in zones for mirror in zone.mirrors for _, item in _items(mirror))


def problems(zones: Sequence[Zone], table: WorldTable | None) -> list[Problem]:
    """Warnings about the sets that `zones` name, in the order of the files; `table` None: there is none (yet)."""
    sets = None if table is None else Sets.read(table.section(SECTION))
    return [problem for zone in zones for problem in _of_zone(zone, sets, table is not None)]


def _items(mirror: Mirror) -> Iterator[tuple[tuple[str, int], str]]:
    for key in ("only", "prefer", "never"):
        for index, item in enumerate(getattr(mirror, key)):
            yield (key, index), item


def _of_zone(zone: Zone, sets: Sets | None, has_table: bool) -> Iterator[Problem]:
    known: dict[str, list[tuple[str, str]]] = {}
    for mirror in zone.mirrors:
        for (key, index), item in _items(mirror):
            if not is_set(item):
                continue
            if item not in known:
                known[item] = _said(item, sets, has_table)
            for what, hint in known[item]:
                line = line_of(zone.file, ("mirrors", mirror.name, key, index))
                text = f"mirrors.{mirror.name}.{key}[{index + 1}]: {item} {what}"
                text += f", {_EFFECTS[key]}" if what in _NOBODY else ""
                yield Problem(str(zone.file), line, text, hint, True)


def _said(item: str, sets: Sets | None, has_table: bool) -> list[tuple[str, str]]:
    """(what, hint) for each thing that is unusual about the set `item`."""
    if not has_table:
        return [(_NO_TABLE, "make it with `mirrornet import-radb`")]
    if sets is None:
        return [(_NO_SETS, "import dumps that hold as-sets and route-sets")]
    if sets.find(item) is None:
        return [(_NO_SUCH, _meant(item, sets))]
    return [(fact, "") for fact in facts_of(expansion_of(item, sets))]


def _meant(item: str, sets: Sets) -> str:
    """Which known set was probably meant: of this name in another source, else of a similar name in the same."""
    source, _, bare = item.partition("::")
    elsewhere, similar, sources = [], [], set()
    for number in range(len(sets)):
        name = sets.name(number)
        if sets.flags(number) & SetFlag.MISSING:
            continue
        its_source, _, its_bare = name.partition("::")
        sources.add(its_source)
        if its_bare == bare:
            elsewhere.append(name)
        elif its_source == source and abs(len(its_bare) - len(bare)) < 3 and its_bare[:5] == bare[:5]:
            similar.append(name)
    if elsewhere:
        return f"did you mean {elsewhere[0]}?"
    found = closest(item, similar[:_COMPARED])
    if found:
        return f"did you mean {found}?"
    if source not in sources:
        return f"no dump of {source} was imported; there are sets of {', '.join(sorted(sources)[:8])}"
    return "is it spelt right, and was it deleted there?"
