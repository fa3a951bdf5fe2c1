"""The estimates between many places and all mirrors at once, with numpy; equal to estimate.estimate().

Apart from spots.py, which ranks by them, since what an estimate knows and how a ranking decides change for different
reasons.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from mirrornet.dns.planning.ground import Columns, Floats, Numbers
from mirrornet.dns.ranking import estimate as est
from mirrornet.model.place import EARTH_RADIUS_KM
from mirrornet.model.zone import Mirror


def distances(columns: Columns, places: Numbers, mirrors: Sequence[Mirror]) -> npt.NDArray[np.uint16]:
    """estimate.estimate() of `places` (rows of `columns`) and `mirrors`, in 1/64 ms; one row a place."""
    latitudes, longitudes = columns.latitudes[places], columns.longitudes[places]
    radii, asns = columns.radii[places], columns.asns[places]
    cosines = np.cos(np.radians(latitudes))
    result = np.empty((len(places), len(mirrors)), np.uint16)
    for index, mirror in enumerate(mirrors):
        place = mirror.place
        if place.known and place.latitude is not None and place.longitude is not None:
            half_phi = np.radians(place.latitude - latitudes) / 2
            half_lambda = np.radians(place.longitude - longitudes) / 2
            cosine = np.cos(np.radians(place.latitude))
            haversine = np.sin(half_phi) ** 2 + cosines * cosine * np.sin(half_lambda) ** 2
            km = 2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.minimum(1.0, haversine)))
        else:
            km = np.full(len(places), est.ANYCAST_KM if place.anycast else est.FARTHEST_KM)
        radius = np.maximum(radii, place.radius_km if place.known else 0)
        floor_ms = np.where(radius > 0, est.BASE_MS + est.MS_PER_KM * (radius / 2), 0.0)
        units = np.maximum(_to_units(est.BASE_MS + est.MS_PER_KM * km), _to_units(floor_ms))
        same_as = (asns == place.asn) & (place.asn != 0)
        result[:, index] = units - np.where(same_as, est.SAME_AS_UNITS, 0)
    return result


def _to_units(ms: Floats) -> Numbers:
    return np.floor(ms * est.UNIT + 0.5).astype(np.int64)
