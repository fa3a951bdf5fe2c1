"""What clients reported of their round trips, kept so that nobody can flood it and little is known of anybody.

Per place the reports of at most PER_PLACE networks (a /24, or a /48), each the last one and not more often than once
an hour.  Which networks these are, a keyed hash decides: those with the least values stay.  So they are a fair sample
however fast or often somebody reports, and a liar's share of a place's votes is his share of its networks.  The hash
is also all that is kept of the network; its key is made once, by dice, and lives in the same file.

The memory is bounded: MOST_REPORTS reports, of at most 16 mirrors each, are some 20 MB; beyond that the oldest goes.

A report is worth half after a day, and forgotten after FORGET.

Rejected: the newest networks of a place (who reports fastest would own it), a mean (one liar moves it), addresses on
the disk (nobody needs them).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final

from mirrornet.dns.ranking.rendezvous import place_key
from mirrornet.model.address import Address, Prefix, key, mask
from mirrornet.model.place import Evidence, Place
from mirrornet.model.rtt import LEAST_MS, MOST_MIRRORS, MOST_MS

PER_PLACE: Final = 16  # networks; a median of more is hardly better
MOST_REPORTS: Final = 20_000
OFTEN: Final = 3600.0  # seconds between two reports of one network
FORGET: Final = 4 * 86400.0  # seconds; then a report is worth a sixteenth
EARLY: Final = 60.0  # seconds that a clock may go backwards
_MAGIC: Final = "mirrornet rtt reports 1"


class Taken(Enum):
    """What became of a report."""

    KEPT = auto()
    NOT_SAMPLED = auto()  # enough other networks of this place are kept
    TOO_SOON = auto()
    NO_PLACE = auto()  # nobody knows where the client is, so it says nothing of others
    TOO_FEW = auto()  # of fewer than two mirrors: only differences count, and only who reaches one can miss another


@dataclass(frozen=True, slots=True)
class Report:
    """The last report of one network.  `at`: Unix time.  `rtt`: ms by mirror.  `lost`: mirrors out of its reach."""

    at: float
    rtt: Mapping[str, float]
    lost: frozenset[str] = frozenset()


@dataclass(slots=True)
class Reported:
    """What is known of one place of one zone; `reports` by the network's hash."""

    place: Place
    reports: dict[int, Report] = field(default_factory=dict)


def network_of(address: Address) -> Prefix:
    """The network that has one voice: a /24, or a /48 (what one site gets, RFC 6177)."""
    family, value = key(address)
    length = 24 if family == 4 else 48
    return Prefix(family, mask(family, value, length), length)


class Reports:
    """All reports.  `secret`: 16 bytes or more that nobody can guess."""

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self._zones: dict[str, dict[int, Reported]] = {}
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def copy(self) -> Reports:
        """The same at this moment, for a thread to read while this one goes on."""
        found = Reports(self.secret)
        found._count = self._count
        found._zones = {
            zone: {number: Reported(one.place, dict(one.reports)) for number, one in places.items()}
            for zone, places in self._zones.items()
        }
        return found

    def of_zone(self, zone: str) -> Iterator[Reported]:
        """The places of `zone` of which something was reported."""
        return iter(self._zones.get(zone, {}).values())

    def take(
        self,
        zone: str,
        place: Place,
        network: Prefix,
        rtt: Mapping[str, float],
        now: float,
        lost: frozenset[str] = frozenset(),
    ) -> Taken:
        """Takes one report from `network`, which is at `place` (located()); `rtt`, `lost`: only mirrors of `zone`."""
        if not place.known:
            return Taken.NO_PLACE
        if not rtt or len(rtt) + len(lost) < 2 or max(len(rtt), len(lost)) > MOST_MIRRORS:
            return Taken.TOO_FEW
        name = self._hash(network)
        places = self._zones.setdefault(zone, {})
        reported = places.setdefault(place_key(place), Reported(place))
        last = reported.reports.get(name)
        if last is not None and -EARLY <= now - last.at < OFTEN:
            return Taken.TOO_SOON
        if last is None:
            if len(reported.reports) >= PER_PLACE:
                self._forget_old(reported, now)
            if len(reported.reports) >= PER_PLACE:
                greatest = max(reported.reports)
                if name > greatest:
                    return Taken.NOT_SAMPLED
                self._drop(reported, greatest)
            self._count += 1
        reported.reports[name] = Report(now, dict(rtt), lost)
        if self._count > MOST_REPORTS:
            self._drop_oldest()
        return Taken.KEPT

    def forget(self, now: float, zones: Iterable[str]) -> None:
        """Drops what is too old or of the future, and all of zones that are not in `zones`."""
        kept = set(zones)
        for zone, places in list(self._zones.items()):
            if zone not in kept:
                self._count -= sum(len(reported.reports) for reported in places.values())
                del self._zones[zone]
                continue
            for number, reported in list(places.items()):
                self._forget_old(reported, now)
                if not reported.reports:
                    del places[number]

    def _hash(self, network: Prefix) -> int:
        told = f"{network.family} {network.value} {network.length}".encode()
        return int.from_bytes(hashlib.blake2b(told, digest_size=8, key=self.secret[:64]).digest(), "big")

    def _drop(self, reported: Reported, name: int) -> None:
        del reported.reports[name]
        self._count -= 1

    def _forget_old(self, reported: Reported, now: float) -> None:
        for name, report in list(reported.reports.items()):
            if not -EARLY <= now - report.at <= FORGET:
                self._drop(reported, name)

    def _drop_oldest(self) -> None:
        """Drops the oldest twentieth, so that a full memory is not searched at every report."""
        every = [
            (report.at, zone, number, name)
            for zone, places in self._zones.items()
            for number, reported in places.items()
            for name, report in reported.reports.items()
        ]
        every.sort()
        for _, zone, number, name in every[: max(1, MOST_REPORTS // 20)]:
            reported = self._zones[zone][number]
            self._drop(reported, name)
            if not reported.reports:
                del self._zones[zone][number]

    # -- the file

    def encode(self) -> bytes:
        """The file: a line with the kind and the SHA-256 of the rest, then JSON."""
        told: dict[str, Any] = {"secret": self.secret.hex(), "zones": {}}
        for zone, places in self._zones.items():
            told["zones"][zone] = [
                [
                    [p.asn, p.country, p.latitude, p.longitude, p.radius_km, p.country_from, p.coordinates_from],
                    [
                        [name, round(report.at, 1), dict(report.rtt), sorted(report.lost)]
                        for name, report in reported.reports.items()
                    ],
                ]
                for reported in places.values()
                for p in (reported.place,)
            ]
        body = json.dumps(told, separators=(",", ":")).encode()
        return f"{_MAGIC} {hashlib.sha256(body).hexdigest()}\n".encode() + body


def decode(data: bytes) -> Reports:
    """The reports of a file.  Raises ValueError where it is damaged or no such file."""
    head, _, body = data.partition(b"\n")
    if head != f"{_MAGIC} {hashlib.sha256(body).hexdigest()}".encode():
        raise ValueError("it is damaged, or no such file: its checksum does not match")
    try:
        told = json.loads(body)
        found = Reports(bytes.fromhex(told["secret"]))
        if len(found.secret) < 16:
            raise ValueError("its secret is too short")
        for zone, places in told["zones"].items():
            for fields, reports in places:
                asn, country, latitude, longitude, radius, country_from, coordinates_from = fields
                place = Place(
                    int(asn), str(country), float(latitude), float(longitude), int(radius), False,
                    Evidence(country_from), Evidence(coordinates_from),
                )  # fmt: skip
                reported = Reported(place)
                for name, at, rtt, *more in reports[:PER_PLACE]:
                    kept = {str(m): float(ms) for m, ms in rtt.items() if LEAST_MS <= float(ms) <= MOST_MS}
                    lost = frozenset(str(m) for m in more[0][:MOST_MIRRORS]) if more else frozenset()
                    if found._count < MOST_REPORTS and kept and 2 <= len(kept) + len(lost) <= 2 * MOST_MIRRORS:
                        reported.reports[int(name)] = Report(float(at), kept, lost)
                        found._count += 1
                found._zones.setdefault(str(zone), {})[place_key(place)] = reported
    except (TypeError, KeyError, AttributeError, RecursionError, OverflowError) as error:
        raise ValueError(f"it is not what this program writes ({type(error).__name__})") from None
    return found
