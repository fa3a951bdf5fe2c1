"""What changed since the last table, and what of it has to wait for the operator.  Pure.

A set whose members, nested ones included, changed by more than LIMIT keeps its former content.  Only sets that can have
changed are looked at: those whose own definition did, and all that reach them.  They are judged lowest first, so that
the set that jumped is held, and those above it, which see its former content, are not.  Where a jump is confirmed, it
is confirmed for the sets above it as well, unless their own definition changed, too.  Within a loop all sets have the
same members; there those are held whose own definition changed, and the others are judged anew without them.

A held set that jumped already at an earlier import is judged against what it was before it jumped, each time again: it
comes free by itself when it comes back to within LIMIT of that.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from mirrornet.model.sets import NamedSet, PrefixRange, SetFlag, Sets
from mirrornet.radb.sets.closure import EMPTY, Numbering, Union, components, differing, join, size

LIMIT: Final = 0.30  # of the members that a set had
EVERYTHING: Final = "all"  # confirms every set
_ROUNDS: Final = 8  # of judging one loop anew; then all that jumped in it are held at once


@dataclass(slots=True)
class Changes:
    """The `sets` for the new table by name; `held` of them keep their former content; `accepted`: jumps confirmed."""

    sets: dict[str, NamedSet]
    held: list[str] = field(default_factory=list)
    accepted: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Judge:
    """The state of one comparison."""

    new: Mapping[str, NamedSet]
    former: dict[str, NamedSet]
    confirmed: Collection[str]
    numbering: Numbering = field(default_factory=Numbering)
    before: dict[str, Union] = field(default_factory=dict)  # members in the old table
    now: dict[str, Union] = field(default_factory=dict)  # members as decided
    held: dict[str, NamedSet] = field(default_factory=dict)
    accepted: set[str] = field(default_factory=set)
    freed: set[str] = field(default_factory=set)  # they reach a set whose jump was confirmed


def compare(new: Mapping[str, NamedSet], old: Sets | None, confirmed: Collection[str] = ()) -> Changes:
    """`new` sets, of which those that jumped since `old` and are not `confirmed` keep what they were."""
    if old is None:
        return Changes(dict(new))
    former = {one.name: one for one in _former(old)}
    changed = _changed(new, former)
    if not changed:
        return Changes(dict(new))
    judge = _Judge(new, former, confirmed)
    touched = _touched(new, changed)
    _look_back(judge, [name for name in former if name in touched])
    _look_now(judge, touched, changed)
    sets = dict(new) | judge.held
    return Changes(sets, sorted(judge.held), sorted(judge.accepted))


def _former(old: Sets) -> list[NamedSet]:
    found = []
    for number in range(len(old)):
        if old.flags(number) & SetFlag.MISSING:
            continue
        one = old.get(number)
        refs = tuple(old.name(ref) for ref in one.sets)
        flags = one.flags
        found.append(
            NamedSet(one.name, tuple(one.asns), refs, tuple(one.prefixes), flags, one.odd, one.kept, one.offered)
        )
        found[-1] = replace(found[-1], digest=one.digest)
    return found


def _changed(new: Mapping[str, NamedSet], former: Mapping[str, NamedSet]) -> set[str]:
    """Sets that are new, gone or held, or whose own definition is another one."""
    found = new.keys() ^ former.keys()
    for name in new.keys() & former.keys():
        was = former[name]
        if was.flags & SetFlag.HELD or was.digest != new[name].digest:
            found.add(name)
    return found


def _touched(new: Mapping[str, NamedSet], changed: set[str]) -> set[str]:
    """`changed` and all sets that reach one of these."""
    above: dict[str, list[str]] = defaultdict(list)
    for name, one in new.items():
        for ref in one.sets:
            above[ref].append(name)
    found, waiting = set(changed), deque(changed)
    while waiting:
        for name in above.get(waiting.popleft(), ()):
            if name not in found:
                found.add(name)
                waiting.append(name)
    return found


def _own(judge: _Judge, one: NamedSet) -> Union:
    return judge.numbering.union_of([*one.asns, *one.prefixes])


def _look_back(judge: _Judge, names: list[str]) -> None:
    """Fills `before` for `names` and all below them."""

    def below(name: str) -> tuple[str, ...]:
        one = judge.former.get(name)
        return one.sets if one else ()

    for component in components(names, below):
        inside = set(component)
        ones = [one for name in component if (one := judge.former.get(name))]
        under = {ref for one in ones for ref in one.sets if ref not in inside}
        union = join([*(_own(judge, one) for one in ones), *(judge.before[ref] for ref in under)])
        judge.before.update(dict.fromkeys(component, union))


def _look_now(judge: _Judge, touched: set[str], changed: set[str]) -> None:
    """Decides about `touched` and fills `now` for them and all below them."""

    def below(name: str) -> tuple[str, ...]:
        one = judge.new.get(name)
        return one.sets if one else ()

    waiting = deque((found, 0) for found in components(touched, below))
    while waiting:
        component, rounds = waiting.popleft()
        inside = set(component)
        ones = [one for name in component if (one := judge.new.get(name))]
        under = {ref for one in ones for ref in one.sets if ref not in inside}
        union = join([*(_own(judge, one) for one in ones), *(judge.now.get(ref, EMPTY) for ref in under)])
        jumped = [name for name in component if name in touched and _jumps(judge, name, union)]
        if not inside.isdisjoint(judge.accepted) or not under.isdisjoint(judge.freed):
            judge.freed |= inside
            jumped = [name for name in jumped if name in changed]
        if not jumped:
            judge.now.update(dict.fromkeys(component, union))
            continue
        guilty = [name for name in jumped if name in changed] if rounds < _ROUNDS else []
        for name in guilty or jumped:
            _hold(judge, name, union)
        rest = [name for name in component if name not in judge.held]
        left = {name: [ref for ref in below(name) if ref in inside and ref not in judge.held] for name in rest}
        again = components(rest, left.__getitem__)
        waiting.extendleft([(found, rounds + 1) for found in again][::-1])


def _jumps(judge: _Judge, name: str, union: Union) -> bool:
    """Whether `name` changed by more than LIMIT, and nobody confirmed it."""
    was = judge.before.get(name, EMPTY)
    if name not in judge.former or differing(was, union) <= LIMIT * size(was):
        return False
    if EVERYTHING in judge.confirmed or name in judge.confirmed:
        judge.accepted.add(name)
        return False
    return True


def _hold(judge: _Judge, name: str, union: Union) -> None:
    """`name` keeps its former content; `union` is what it would have."""
    was, one = judge.before[name], judge.former[name]
    flags = SetFlag.HELD if name in judge.new else SetFlag.HELD | SetFlag.GONE
    same = all(ref in judge.now for ref in one.sets) and name not in one.sets
    if same:
        same = differing(join([_own(judge, one), *(judge.now[ref] for ref in one.sets)]), was) == 0
    if not same:
        members = judge.numbering.members(was)
        asns = tuple(sorted(member for member in members if isinstance(member, int)))
        prefixes = tuple(sorted(member for member in members if isinstance(member, PrefixRange)))
        one = replace(one, asns=asns, sets=(), prefixes=prefixes)
    judge.held[name] = replace(one, flags=flags, kept=size(was), offered=size(union))
    judge.now[name] = was
