"""All members of sets at once, nested ones included: bottom up over loops.  Pure.

Sets that refer to each other in a ring have all members in common, so the unit is the strongly connected component
(Tarjan 1972, without recursion: hostile sets nest as deep as they like).  Components come out lowest first, and the
members of one are the union of its own and of those of the components below it.

Members are numbered as they appear.  A small union is kept as a set of numbers, a large one as the bits of one integer:
a number of 70,000 bits is 9 KB, and a third of all sets have a single member.

Rejected: networkx (an object per node and edge, and a dependency for forty lines); one walk per set (quadratic where
13,000 sets nest and 3,050 are in loops).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Final, TypeVar

Union = frozenset[int] | int  # numbers of members; an int has their bits
EMPTY: Final[Union] = frozenset()
_SMALL: Final = 256

Node = TypeVar("Node", bound=Hashable)


class Numbering:
    """Numbers for members, whatever they are, in order of appearance."""

    def __init__(self) -> None:
        self._numbers: dict[object, int] = {}
        self._members: list[object] = []

    def union_of(self, members: Iterable[object]) -> Union:
        """The numbers of `members`."""
        found = set()
        for member in members:
            number = self._numbers.setdefault(member, len(self._numbers))
            if number == len(self._members):
                self._members.append(member)
            found.add(number)
        return _packed(found)

    def members(self, union: Union) -> list[object]:
        """The members that `union` stands for."""
        if isinstance(union, frozenset):
            return [self._members[number] for number in sorted(union)]
        return [member for number, member in enumerate(self._members) if union >> number & 1]


def join(unions: Iterable[Union]) -> Union:
    """All that is in one of `unions`."""
    bits = 0
    few: set[int] = set()
    for union in unions:
        if isinstance(union, int):
            bits |= union
        else:
            few |= union
    return bits | _bits(few) if bits else _packed(few)


def size(union: Union) -> int:
    """How many members it has."""
    return union.bit_count() if isinstance(union, int) else len(union)


def differing(one: Union, other: Union) -> int:
    """How many members are in one of the two only."""
    if isinstance(one, frozenset) and isinstance(other, frozenset):
        return len(one ^ other)
    return (_bits(one) ^ _bits(other)).bit_count()


def _packed(numbers: set[int]) -> Union:
    return frozenset(numbers) if len(numbers) <= _SMALL else _bits(numbers)


def _bits(union: Union | set[int]) -> int:
    if isinstance(union, int):
        return union
    if not union:
        return 0
    octets = bytearray((max(union) >> 3) + 1)
    for number in union:
        octets[number >> 3] |= 1 << (number & 7)
    return int.from_bytes(octets, "little")


def components(nodes: Iterable[Node], below: Callable[[Node], Iterable[Node]]) -> Iterator[list[Node]]:
    """The strongly connected components of what `nodes` reach through `below`, each after all that it reaches."""
    order: dict[Node, int] = {}
    lowest: dict[Node, int] = {}
    done: set[Node] = set()
    open_nodes: list[Node] = []
    for root in nodes:
        if root in order:
            continue
        order[root] = lowest[root] = len(order)
        open_nodes.append(root)
        path: list[tuple[Node, Iterator[Node]]] = [(root, iter(below(root)))]
        while path:
            node, rest = path[-1]
            for under in rest:
                if under not in order:
                    order[under] = lowest[under] = len(order)
                    open_nodes.append(under)
                    path.append((under, iter(below(under))))
                    break
                if under not in done:
                    lowest[node] = min(lowest[node], order[under])
            else:
                path.pop()
                if path:
                    above = path[-1][0]
                    lowest[above] = min(lowest[above], lowest[node])
                if lowest[node] == order[node]:
                    found = [open_nodes.pop()]
                    while found[-1] != node:
                        found.append(open_nodes.pop())
                    done.update(found)
                    yield found
