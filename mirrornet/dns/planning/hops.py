"""AS hops from the mirrors' ASes, and with them the terms that a zone's estimates go by.

A path between two ASes is one that somebody pays for: from the asker up to providers, over at most one peering, and
down to customers (valley-free; Gao 2001).  It is as long one way as the other, so one sweep from a mirror's AS tells
the hops to every AS.  Since more than MOST_HOPS are not told apart, a sweep is a few passes over the columns of links:
no queue, no graph object, 3 ms for half a million links.

Rejected: paths by the routes that a looking glass sees (one vantage point is not a mirror's); hops without the rule of
who pays (every AS is two hops from every other by way of a customer of both).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from mirrornet.dns.planning.ground import Flags
from mirrornet.dns.ranking.terms import MOST_HOPS, Hops, Measured, Terms
from mirrornet.model.links import PEERS, PROVIDER, SECTION, Links
from mirrornet.model.table import WorldTable
from mirrornet.model.zone import Mirror, Zone


class Graph:
    """The relationships of one world.table, and the sweeps already made over it."""

    def __init__(self, links: Links) -> None:
        ends = np.concatenate([np.asarray(links.a), np.asarray(links.b)])
        self._asns, numbers = np.unique(ends, return_inverse=True)
        self._columns = self._asns.astype(np.uint32).data
        one, two = numbers[: len(links)], numbers[len(links) :]
        kind = np.asarray(links.kind)
        self._providers, self._customers = one[kind == PROVIDER], two[kind == PROVIDER]
        peers = kind == PEERS
        self._left = np.concatenate([one[peers], two[peers]])
        self._right = np.concatenate([two[peers], one[peers]])
        self._swept: dict[int, Hops] = {}

    def hops(self, asn: int) -> Hops:
        """Hops from `asn` to every AS of the graph; empty where the graph does not have it."""
        if asn not in self._swept:
            self._swept[asn] = self._sweep(asn)
        return self._swept[asn]

    def _sweep(self, asn: int) -> Hops:
        at = int(np.searchsorted(self._asns, asn))
        if at == len(self._asns) or self._asns[at] != asn:
            return Hops((), ())
        up: Flags = np.zeros(len(self._asns), np.bool_)  # reached by going up only, so that all ways are open
        down = up.copy()  # reached over a peering or down: from here, down only
        up[at] = True
        counts = np.full(len(self._asns), MOST_HOPS, np.uint8)
        counts[at] = 0
        for hop in range(1, MOST_HOPS):
            further_up, further_down = up.copy(), down.copy()
            further_up[self._providers[up[self._customers]]] = True
            further_down[self._customers[(up | down)[self._providers]]] = True
            further_down[self._right[up[self._left]]] = True
            up, down = further_up, further_down
            counts[(up | down) & (counts == MOST_HOPS)] = hop
        return Hops(self._columns, counts.data)


def graph_of(table: WorldTable | None) -> Graph | None:
    """The graph of `table`; None where it has no relationships.  Raises InputError where that section is damaged."""
    links = None if table is None else Links.read(table.section(SECTION))
    return Graph(links) if links else None


def terms_of(zone: Zone, mirrors: Iterable[Mirror], graph: Graph | None, measured: Measured | None = None) -> Terms:
    """What the estimates of `zone` go by; `mirrors` with their placed_mirrors() places."""
    hops: Mapping[int, Hops] = {}
    if graph is not None:
        hops = {asn: graph.hops(asn) for asn in sorted({m.place.asn for m in mirrors})}
    return Terms(round_trips=zone.round_trips, hops=hops, measured=measured or {})
