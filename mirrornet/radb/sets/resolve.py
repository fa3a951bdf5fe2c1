"""What was gathered → sets whose members are found: names qualified, claims judged.  Pure.

A name without a source is looked for in the source of the set that has it in its list, then in the other sources in
order of their weight.  A name that no source has keeps the referring set's source, and stands in the table as missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from mirrornet.model.sets import NamedSet, PrefixRange, is_route_set
from mirrornet.radb.facts import SetObject
from mirrornet.radb.sets.gather import Claimed, Gathered

ANY: Final = "ANY"  # in mbrs-by-ref: whoever maintains the object


@dataclass(slots=True)
class Resolved:
    """Sets by qualified name.  `claimed`: members by their own word that counts; `refused`: claims that do not."""

    sets: dict[str, NamedSet] = field(default_factory=dict)
    claimed: int = 0
    refused: int = 0


def resolve(gathered: Gathered, rank: Callable[[str], int], never: int = 255) -> Resolved:
    """All sets of `gathered` but those of sources whose `rank` is `never`."""
    objects = {key: one for key, one in gathered.objects.items() if rank(key[0]) < never}
    sources: dict[str, list[str]] = defaultdict(list)
    for source, name in objects:
        sources[name].append(source)
    for found in sources.values():
        found.sort(key=lambda source: (rank(source), source))
    result = Resolved()
    by_word = _judged(objects, gathered.claims, result)
    for (source, name), one in objects.items():
        asns, ranges = by_word.get((source, name), ([], []))
        sets = dict.fromkeys(_qualified(ref, source, objects, sources) for ref in one.members.sets)
        every = tuple(sorted({*one.members.asns, *asns}))
        prefixes = tuple(sorted({*one.members.prefixes, *ranges}))
        qualified = f"{source}::{name}"
        result.sets[qualified] = NamedSet(
            qualified, every, tuple(sets), prefixes, odd=one.members.odd, digest=digest(every, sets, prefixes)
        )
    return result


def digest(asns: Iterable[int], sets: Iterable[str], prefixes: Iterable[PrefixRange]) -> int:
    """64 bits of a definition, by which the next import sees whether it changed."""
    text = f"{sorted(asns)}|{sorted(sets)}|{[str(one) for one in sorted(prefixes)]}"
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


def _qualified(ref: str, source: str, objects: dict[tuple[str, str], SetObject], sources: dict[str, list[str]]) -> str:
    if "::" in ref:
        return ref
    if (source, ref) in objects or ref not in sources:
        return f"{source}::{ref}"
    return f"{sources[ref][0]}::{ref}"


def _judged(
    objects: dict[tuple[str, str], SetObject], claims: Iterable[Claimed], result: Resolved
) -> dict[tuple[str, str], tuple[list[int], list[PrefixRange]]]:
    """Members by their own word, by source and name of the set."""
    found: dict[tuple[str, str], tuple[list[int], list[PrefixRange]]] = {}
    for claim in claims:
        source, _, name = claim.name.rpartition("::")
        key = (claim.source, name)
        one = objects.get(key)
        counts = (
            one is not None
            and source in ("", claim.source)
            and (ANY in one.by_ref or not set(claim.maintainers).isdisjoint(one.by_ref))
            and is_route_set(name) == isinstance(claim.member, PrefixRange)
        )
        if not counts:
            result.refused += 1
            continue
        result.claimed += 1
        asns, ranges = found.setdefault(key, ([], []))
        if isinstance(claim.member, PrefixRange):
            ranges.append(claim.member)
        else:
            asns.append(claim.member)
    return found
