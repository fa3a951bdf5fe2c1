"""The estimates between many places and all mirrors at once, with numpy; equal to estimate.estimate().

Apart from spots.py, which ranks by them, since what an estimate knows and how a ranking decides change for different
reasons.  Every operation is that of estimate.py in the same order, so that only sines may differ, and only in their
last place, which whole units swallow.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from mirrornet.data.detours import CELL, LETTERS, MAP
from mirrornet.dns.planning.ground import Columns, Floats, Numbers
from mirrornet.dns.ranking import estimate as est
from mirrornet.dns.ranking import terms as tms
from mirrornet.dns.ranking.terms import NO_TERMS, Terms
from mirrornet.model.place import EARTH_RADIUS_KM, Place
from mirrornet.model.zone import Mirror

_LETTERS: Final = np.frombuffer("".join(MAP).encode("ascii"), np.uint8).reshape(len(MAP), -1)
_REGIONS: Final = np.array([LETTERS.find(chr(code)) for code in range(256)], np.int64)[_LETTERS]


def distances(
    columns: Columns, places: Numbers, mirrors: Sequence[Mirror], terms: Terms = NO_TERMS
) -> npt.NDArray[np.uint16]:
    """estimate.estimate() of `places` (rows of `columns`) and `mirrors`, in 1/64 ms; one row a place."""
    latitudes, longitudes = columns.latitudes[places], columns.longitudes[places]
    radii, asns = columns.radii[places], columns.asns[places]
    regions = _regions(latitudes, longitudes)
    detours = np.array(terms.detours, np.float64)
    cosines = np.cos(np.radians(latitudes))
    vocabulary, word_of = _words(columns.countries[places], regions) if terms.round_trips else ([], regions)
    result = np.empty((len(places), len(mirrors)), np.uint16)
    for index, mirror in enumerate(mirrors):
        place = mirror.place
        table = None
        if place.known and place.latitude is not None and place.longitude is not None:
            half_phi = np.radians(place.latitude - latitudes) / 2
            half_lambda = np.radians(place.longitude - longitudes) / 2
            cosine = np.cos(np.radians(place.latitude))
            haversine = np.sin(half_phi) ** 2 + cosines * cosine * np.sin(half_lambda) ** 2
            km = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(1.0, haversine)))
            detour = detours[:, tms.region_of(place.latitude, place.longitude)][regions]
            way = km + np.maximum(est.LEAST_DETOUR * km, np.minimum(detour, est.MOST_DETOUR * km))
            if vocabulary:
                table = _table(vocabulary, place, terms)[word_of]
        else:
            way = km = np.full(len(places), est.ANYCAST_KM if place.anycast else est.FARTHEST_KM)
        spread = np.maximum(radii, place.radius_km if place.known else 0) / 2
        ms = est.BASE_MS + est.MS_PER_KM * np.sqrt(way * way + spread * spread)
        if table is not None:
            first, full = est.TABLE_KM
            share = est.TABLE_SHARE * np.maximum(0.0, np.minimum(1.0, (km - first) / (full - first)))
            ms = np.where(np.isnan(table), ms, ms + share * (table - ms))
        units = _to_units(ms) + est.HOP_UNITS * hops(asns, place.asn, terms)
        units -= np.where((asns == place.asn) & (place.asn != 0), est.SAME_AS_UNITS, 0)
        result[:, index] = np.minimum(units, est.MOST_UNITS)
    _measure(result, columns.keys[places], mirrors, terms)
    return result


def hops(asns: Numbers, mirror_asn: int, terms: Terms) -> Numbers:
    """terms.hops_between() for many askers; 0 where no relationships are known."""
    found = np.zeros(len(asns), np.int64)
    if not terms.hops:
        return found
    found[:] = tms.MOST_HOPS
    known = terms.hops.get(mirror_asn)
    if known is not None and len(known.asns):
        every = np.asarray(known.asns)
        at = np.minimum(np.searchsorted(every, asns), len(every) - 1)
        found = np.where(every[at] == asns, np.asarray(known.counts)[at].astype(np.int64), tms.MOST_HOPS)
    found[(asns == mirror_asn) & (asns != 0)] = 0
    return found


def apart(columns: Columns, mirrors: Sequence[Mirror], terms: Terms) -> list[npt.NDArray[np.int64]]:
    """Columns that tell places apart which `terms` tell apart, beside their coordinates, radii and mirrors' ASes."""
    found = []
    if terms.round_trips:
        found.append(columns.countries)
    if terms.hops:
        asns, of_place = np.unique(columns.asns, return_inverse=True)
        rows = np.stack([hops(asns, asn, terms) for asn in sorted({m.place.asn for m in mirrors})], axis=1)
        _, classes = np.unique(rows.astype(np.uint8), axis=0, return_inverse=True)
        found.append(classes.reshape(-1)[of_place].astype(np.int64))
    if terms.measured:
        measured = np.array(sorted(terms.measured), np.uint64)
        found.append(np.where(np.isin(columns.keys, measured), columns.keys, np.uint64(0)).view(np.int64))
    return found


def _regions(latitudes: Floats, longitudes: Floats) -> Numbers:
    rows = np.minimum(((90.0 - latitudes) / CELL).astype(np.int64), _REGIONS.shape[0] - 1)
    found: Numbers = _REGIONS[rows, ((longitudes + 180.0) / CELL).astype(np.int64) % _REGIONS.shape[1]]
    return found


def _words(countries: Numbers, regions: Numbers) -> tuple[list[tuple[str, ...]], Numbers]:
    """(the words() that occur, the number of each place's among them)."""
    pairs, numbers = np.unique(countries << 8 | regions, return_inverse=True)
    letters = [(pair >> 8).to_bytes(2, "big").rstrip(b"\0").decode("ascii", "replace") for pair in pairs.tolist()]
    return [tms.words(c, pair & 0xFF) for c, pair in zip(letters, pairs.tolist(), strict=True)], numbers


def _table(vocabulary: Sequence[tuple[str, ...]], mirror_place: Place, terms: Terms) -> Floats:
    """What the round-trip table says for each of the `vocabulary`; NaN where it says nothing."""
    there = tms.words_of(mirror_place)
    found = [tms.round_trip(terms.round_trips, here, there) for here in vocabulary]
    return np.array([np.nan if ms is None else ms for ms in found], np.float64)


def _measure(
    result: npt.NDArray[np.uint16], keys: npt.NDArray[np.uint64], mirrors: Sequence[Mirror], terms: Terms
) -> None:
    """Replaces estimates by what was measured, within its bound."""
    if not terms.measured:
        return
    for row in np.flatnonzero(np.isin(keys, np.array(sorted(terms.measured), np.uint64))).tolist():
        measured = terms.measured[int(keys[row])]
        for column, mirror in enumerate(mirrors):
            if (ms := measured.get(mirror.name)) is not None:
                units = int(result[row, column])
                result[row, column] = min(max(est.to_units(ms), units - units // 2), units + units // 2, est.MOST_UNITS)


def _to_units(ms: Floats) -> Numbers:
    return np.floor(ms * est.UNIT + 0.5).astype(np.int64)
