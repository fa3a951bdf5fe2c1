"""What of a zone outlives a plan: its ground, its spots, and the last sight of it."""

from __future__ import annotations

from mirrornet.dns.planning.crowding import NO_CROWD, Crowd, Crowding, Usual
from mirrornet.dns.planning.dealing import Dealt, deal, limited, shed
from mirrornet.dns.planning.ground import Ground
from mirrornet.dns.planning.loads import Demand, demand_of
from mirrornet.dns.planning.sights import Sight, barred_sight, plain_sight, sight_of_each
from mirrornet.dns.planning.spots import Spots
from mirrornet.dns.planning.standing import Standing
from mirrornet.dns.ranking.barring import Barring
from mirrornet.dns.ranking.closing import Limits
from mirrornet.model.zone import Select

Items = tuple[tuple[str, ...], ...]  # barring.barred_items()


class Field:
    """`ground`, whose rows are the columns that `spots` were made of.

    `around`: the rows are the mirrors themselves, each with its first address; else addresses are the ground's.
    """

    def __init__(self, ground: Ground, spots: Spots, around: bool = False) -> None:
        self.ground, self.spots, self._around = ground, spots, around
        self._plain = plain_sight(ground, spots)
        self._last: tuple[Items, Sight] | None = None
        self._usual: dict[str, tuple[tuple[bytes, ...], Usual]] = {}  # by select: for whom
        self._demands: dict[int, Demand] = {}  # by number of the ground

    def sight(self, items: Items) -> Sight:
        """As it is with these items barred; made anew only where they changed."""
        if not any(items):
            return self._plain
        if self._last is None or self._last[0] != items:
            mirrors = self.spots.mirrors
            barring = Barring(mirrors, items)
            if self._around:
                names = [barring.of(m.place, next(iter(m.addresses), None)) for m in mirrors]
                self._last = items, sight_of_each(self.ground, self.spots, names, barring)
            else:
                self._last = items, barred_sight(self.ground, self.spots, barring)
        return self._last[1]

    def deal(self, select: Select, standing: Standing, sight: Sight, limits: Limits) -> Dealt:
        """What every row of `sight` gets, with these mirrors full."""
        view = shed(self.spots, standing, sight.view)
        return deal(self.spots, select, standing, limited(self.spots, standing, view, limits))

    def crowd(
        self, select: Select, standing: Standing, whole: Standing, sight: Sight, dealt: Dealt, spill: float
    ) -> Crowd:
        """Who is full, where `dealt` is what every row of `sight` gets otherwise.  `whole`: standing_of() all_up()."""
        if not spill or (sight is self._plain and standing.deals_as(whole)):
            return NO_CROWD
        what = whole.holds.tobytes(), *(able.tobytes() for able in whole.able.values())
        if select.name not in self._usual or self._usual[select.name][0] != what:
            all_up = deal(self.spots, select, whole, self._plain.view)
            self._usual[select.name] = what, self._crowding(self._plain).usual(all_up, whole)
        return self._crowding(sight).relieve(select, standing, dealt, self._usual[select.name][1], spill)

    def _crowding(self, sight: Sight) -> Crowding:
        if sight.ground.number not in self._demands:
            self._demands = {number: demand for number, demand in self._demands.items() if number == self.ground.number}
            self._demands[sight.ground.number] = demand_of(sight.ground, sight.view.rows)
        return Crowding(self.spots, self._demands[sight.ground.number])
