"""Whom a mirror cannot be reached by, though it is up: what vantages and clients have seen (Verdict.barred).

It is said in the words of `never` and decided by the same code: a prefix, an AS, a country or a continent.  But where
`never` is the operator's will, this is an observation: for these askers the mirror counts as down, so they still get it
where all others are down, too.

An item that says nothing (misspelt, or a registry's set) bars nobody: what others observed must not stop a plan.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from mirrornet.dns.ranking.policy import NOTHING, Held, Policy, is_set, plain_meaning
from mirrornet.model.address import Address, Family
from mirrornet.model.place import Place
from mirrornet.model.verdict import Verdicts
from mirrornet.model.zone import Mirror

Names = frozenset[str]
NOBODY: Final[Names] = frozenset()


def barred_items(mirrors: Sequence[Mirror], verdicts: Verdicts) -> tuple[tuple[str, ...], ...]:
    """What bars whom, parallel to `mirrors`; equal where the same is barred, whatever the reasons."""
    return tuple(
        tuple(filter(_means_something, sorted(verdicts[m.name].barred))) if m.name in verdicts else () for m in mirrors
    )


class Barring:
    """The `items` of barred_items(), for askers."""

    def __init__(self, mirrors: Sequence[Mirror], items: Sequence[tuple[str, ...]]) -> None:
        self.mirrors = [replace(m, only=(), prefer=(), never=barred) for m, barred in zip(mirrors, items, strict=True)]
        self.policy = Policy(self.mirrors)

    def names(self, held: Held) -> Names:
        """The mirrors that are barred to an asker for whom this holds (of `policy`)."""
        if held is NOTHING:
            return NOBODY
        return frozenset(m.name for m in self.mirrors if held.any_of(m.never))

    def of(self, place: Place, address: Address | None) -> Names:
        """The mirrors that are barred to an asker at `place` with `address`, if he has one."""
        return self.names(self.policy.of(place, address))

    def at(self, place: Place, family: Family, value: int) -> Names:
        """Likewise for the address `value` (of `width(family)` bits)."""
        return self.names(self.policy.held(place, self.policy.ward(family, value)))


def barring_of(mirrors: Sequence[Mirror], verdicts: Verdicts) -> Barring:
    """What `verdicts` bar."""
    return Barring(mirrors, barred_items(mirrors, verdicts))


def _means_something(item: str) -> bool:
    try:
        return not is_set(item) and bool(plain_meaning(item))
    except ValueError:
        return False
