"""Spots, split for as long as some places of one are treated apart: a mirror is barred or closed to these alone.

Neither changes the map or an estimate.  So spots stay, and a View lists which of them are asked for, some several times
with other bits: one *view spot* for each distinct (spot, mirrors barred, mirrors closed).  What nobody is barred from
or closed to is one view spot for each spot, and costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from mirrornet.dns.planning.ground import Flags, Keys, Numbers, mix
from mirrornet.dns.planning.rows import distinct
from mirrornet.dns.ranking.rendezvous import LOT_BITS, LOTS

Bits = npt.NDArray[np.uint8]  # one row for each view spot, a bit for each mirror, in whole words
_WORD: Final = 64


def packed(flags: Flags) -> Bits:
    """A bit for each flag; rows are whole words long."""
    width = -(-flags.shape[1] // _WORD) * _WORD
    padded = np.zeros((len(flags), width), np.bool_)
    padded[:, : flags.shape[1]] = flags
    return np.packbits(padded, axis=1, bitorder="little")


def unpacked(bits: Bits, mirrors: int) -> Flags:
    """The flags of so many mirrors."""
    return np.unpackbits(bits, axis=1, count=mirrors, bitorder="little").view(np.bool_)


def lots(places: Keys, mirror: int) -> Numbers:
    """rendezvous.lot() of many places (keys) and one mirror (its key)."""
    mixed = mix(places ^ np.uint64(mirror) ^ np.uint64(LOTS)) >> np.uint64(64 - LOT_BITS)
    return mixed.astype(np.int64)


@dataclass(frozen=True, slots=True)
class View:
    """The view spots, and the rows of the ground that have one.

    `spots`: the spot of each view spot; `closed` and `barred`: its mirrors (None: none anywhere).  `rows` are sorted by
    `of_row`, their view spots; `keys`: theirs for the rendezvous hash.
    """

    spots: Numbers
    rows: Numbers
    of_row: Numbers
    keys: Keys
    closed: Bits | None = None
    barred: Bits | None = None

    def __len__(self) -> int:
        return len(self.spots)

    @property
    def spot_of_row(self) -> Numbers:
        return self.spots[self.of_row]

    def split(self, closed: Bits | None = None, barred: Bits | None = None) -> View:
        """This one with rows treated apart by these bits as well, one row of them for each of `rows`."""
        keys = [self.of_row]
        for bits in (closed, barred):
            if bits is not None:
                words = bits.view(np.int64)
                keys += [words[:, column] for column in range(words.shape[1])]
        first, numbers = distinct(keys)
        turn = np.argsort(numbers, kind="stable")
        theirs = self.of_row[first]
        laid = _laid(self.closed, theirs, closed, first), _laid(self.barred, theirs, barred, first)
        return View(self.spots[theirs], self.rows[turn], numbers[turn], self.keys[turn], *laid)

    def only(self, some: Numbers) -> View:
        """Of this one only `some` of the rows: ascending positions among `rows`, which are its rows now."""
        return replace(self, rows=some, of_row=self.of_row[some], keys=self.keys[some])


def view_of(spot_of: Numbers, keys: Keys) -> View:
    """Each spot once; `spot_of` each row, -1 for none, and each row's rendezvous key."""
    rows = np.flatnonzero(spot_of >= 0)
    rows = rows[np.argsort(spot_of[rows], kind="stable")]
    of_row = spot_of[rows]
    return View(np.arange(int(of_row.max(initial=-1)) + 1), rows, of_row, keys[rows])


def _laid(old: Bits | None, theirs: Numbers, new: Bits | None, first: Numbers) -> Bits | None:
    """Those of `old` at `theirs` and of `new` at `first`, together."""
    if new is None:
        return None if old is None else old[theirs]
    found: Bits = new[first] if old is None else new[first] | old[theirs]
    return found
