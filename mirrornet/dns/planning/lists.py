"""The answers of one kind under one select: distinct lists of mirrors, and which of them every place gets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mirrornet.dns.planning.dealing import Dealt
from mirrornet.dns.planning.ground import Numbers
from mirrornet.dns.planning.rows import Rows, distinct_rows
from mirrornet.dns.planning.sights import Sight
from mirrornet.dns.planning.views import View
from mirrornet.dns.ranking import rendezvous
from mirrornet.model.address import Family
from mirrornet.model.zone import Mirror

List = tuple[int, ...]  # mirrors of one answer, as indices


@dataclass(slots=True)
class Lists:
    """`of_place` numbers the `lists`, of which the first is `anywhere`."""

    lists: list[List]
    of_place: Numbers

    def mapped(self, change: Callable[[List], List]) -> Lists:
        """The same with each list changed, and those that became equal made one."""
        numbers: dict[List, int] = {}
        translated = [numbers.setdefault(change(one), len(numbers)) for one in self.lists]
        return Lists(list(numbers), np.array(translated, np.int64)[self.of_place])


def indices(names: Iterable[str], index: Mapping[str, int]) -> List:
    """`names` as indices."""
    return tuple(index[name] for name in names)


def arranged(one: List, mirrors: Sequence[Mirror]) -> List:
    """`one` in the order in which an answer holds it."""
    order = rendezvous.arranged([mirrors[i].name for i in one], [mirrors[i].weight for i in one])
    return tuple(one[i] for i in order)


def near_lists(dealt: Dealt, sight: Sight, family: Family, unplaced: Sequence[List]) -> Lists:
    """The near-equals of every row; `unplaced[0]` is of the unknown place, then by kind of `sight`."""
    return _lists(*dealt.near[family], dealt.view, sight, unplaced)


def ranked_lists(dealt: Dealt, sight: Sight, unplaced: Sequence[List]) -> Lists:
    """The ranked list of every row; `unplaced` as in near_lists()."""
    assert dealt.ranked is not None
    rows, numbers = distinct_rows(dealt.ranked)
    return _lists(rows, numbers[dealt.view.of_row], dealt.view, sight, unplaced)


def _lists(rows: Rows, of_row: Numbers, view: View, sight: Sight, unplaced: Sequence[List]) -> Lists:
    numbers: dict[List, int] = {unplaced[0]: 0}
    known = [numbers.setdefault(tuple(i for i in row if i >= 0), len(numbers)) for row in rows.tolist()]
    of_kind = [numbers.setdefault(one, len(numbers)) for one in unplaced[1:]]
    answers = np.array(of_kind, np.int64)[sight.kind_of]
    if len(view.rows):
        answers[view.rows] = np.array(known, np.int64)[of_row]
    return Lists(list(numbers), answers)
