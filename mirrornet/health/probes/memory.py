"""What survives a restart: STATE/health.<zone>.json.

A name server that is restarted must not forget that a mirror lied, nor since when another one lags, nor start every
promise anew.  The file is written by rename whenever a verdict changes, and now and then in between.  It is only a
memory: one that is damaged, of another version or too old is worth a warning and a fresh start, never a refusal.

How much is believed depends on age.  While fewer probes were missed than would flip a verdict, the tracks go on as if
nothing had happened.  Later the first probe decides again, as on the first day, except that a corrupt mirror stays so,
and that what is owed for flapping is forgotten by time alone.

A file of an older version is read, and what it does not know is as on the first day: an upgrade makes nobody honest.

Rejected: sqlite (one small value, one writer), pickle (a state folder is not a place to run code from).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from mirrornet.health.rule.damping import Flaps
from mirrornet.health.rule.freshness import Sightings
from mirrornet.health.rule.outcome import Sample
from mirrornet.health.rule.pace import Pace
from mirrornet.health.rule.state import FAMILIES, Change, Reach, Track
from mirrornet.health.rule.table import Level, Meter
from mirrornet.image.files import replacing
from mirrornet.model.address import Family
from mirrornet.model.verdict import State
from mirrornet.model.zone import HealthSettings

_log = logging.getLogger(__name__)
VERSION: Final = 2
READ: Final = (1, 2)  # 1: before families, damping, pace and audits


@dataclass(frozen=True, slots=True)
class Memory:
    """All a zone's health has to remember, and when (Unix time) it was written down."""

    at: float = 0.0
    tracks: Mapping[str, Track] = field(default_factory=dict)
    sightings: Sightings = field(default_factory=dict)


def encode(memory: Memory) -> bytes:
    """The file's bytes."""
    document = {
        "version": VERSION,
        "at": memory.at,
        "sightings": {str(version): at for version, at in memory.sightings.items()},
        "tracks": {name: _track_to(track) for name, track in memory.tracks.items()},
    }
    return json.dumps(document, indent=1, sort_keys=True).encode()


def decode(data: bytes) -> Memory:
    """The memory in a file's bytes.  Raises ValueError with a sentence for a person."""
    try:
        document = json.loads(data)
        if document["version"] not in READ:
            raise ValueError(f"its version is {document['version']!r}, and this program reads {VERSION}")
        return Memory(
            at=float(document["at"]),
            tracks={str(name): _track_from(fields) for name, fields in document["tracks"].items()},
            sightings={int(version): float(at) for version, at in document["sightings"].items()},
        )
    except (KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"it is damaged: {type(error).__name__}: {error}") from None


def _meter_to(meter: Meter) -> list[Any]:
    return [meter.level, meter.good, meter.bad]


def _meter_from(fields: list[Any]) -> Meter:
    level, good, bad = fields
    return Meter(Level(level), int(good), int(bad))


def _flaps_to(flaps: Flaps) -> list[Any]:
    return [flaps.owed, flaps.at, flaps.held]


def _flaps_from(fields: list[Any]) -> Flaps:
    owed, at, held = fields
    return Flaps(float(owed), float(at), bool(held))


def _families_from(fields: dict[str, Any]) -> dict[Family, Reach]:
    known: dict[str, Family] = {str(family): family for family in FAMILIES}
    return {
        known[name]: Reach(_meter_from(meter), _flaps_from(flaps), str(reason))
        for name, (meter, flaps, reason) in fields.items()
    }


def _track_to(track: Track) -> dict[str, Any]:
    pace = track.pace
    return {
        "state": track.state,
        "meter": _meter_to(track.meter),
        "flaps": _flaps_to(track.flaps),
        "families": {
            str(family): [_meter_to(reach.meter), _flaps_to(reach.flaps), reach.reason]
            for family, reach in track.families.items()
        },
        "select": _meter_to(track.select),
        "images": {name: _meter_to(meter) for name, meter in track.images.items()},
        "quick": _meter_to(track.quick),
        "pace": [pace.usual_ms, pace.seen, pace.at, pace.ratio],
        "since": track.since,
        "at": track.at,
        "blame": track.blame,
        "reason": track.reason,
        "rtt_ms": track.rtt_ms,
        "repository_version": track.version,
        "until": track.until,
        "flips": track.flips,
        "suspects": [[s.image, s.hash.hex(), s.stored, s.pack.hex(), s.offset] for s in track.suspects],
        "audited": [track.audited, track.audit],
        "wary": track.wary,
        "lag": track.lag,
        "certificate_until": track.certificate_until,
        "back": track.back,
        "within": track.within,
        "changes": [[change.at, change.state, change.reason] for change in track.changes],
    }


def _track_from(fields: dict[str, Any]) -> Track:
    def number(name: str) -> float | None:
        return None if fields.get(name) is None else float(fields[name])

    def whole(name: str) -> int | None:
        return None if fields.get(name) is None else int(fields[name])

    usual, seen, paced, ratio = fields.get("pace", (0.0, 0, 0.0, None))
    audited, audit = fields.get("audited", (0, 0))
    return Track(
        state=State(fields["state"]),
        meter=_meter_from(fields["meter"]),
        flaps=_flaps_from(fields["flaps"]) if "flaps" in fields else Flaps(),
        families=_families_from(fields.get("families", {})),
        select=_meter_from(fields["select"]),
        images={str(name): _meter_from(meter) for name, meter in fields["images"].items()},
        quick=_meter_from(fields["quick"]) if "quick" in fields else Meter(),
        pace=Pace(float(usual), int(seen), float(paced), None if ratio is None else float(ratio)),
        since=float(fields["since"]),
        at=float(fields["at"]),
        blame=str(fields["blame"]),
        reason=str(fields["reason"]),
        rtt_ms=number("rtt_ms"),
        version=whole("repository_version"),
        until=number("until"),
        flips=int(fields["flips"]),
        suspects=tuple(_sample_from(sample) for sample in fields["suspects"]),
        audited=int(audited),
        audit=int(audit),
        wary=bool(fields.get("wary", False)),
        lag=number("lag") or 0.0,
        certificate_until=number("certificate_until"),
        back=number("back"),
        within=number("within") or 0.0,
        changes=tuple(Change(float(at), State(state), str(why)) for at, state, why in fields["changes"]),
    )


def _sample_from(fields: list[Any]) -> Sample:
    image, name, stored, pack, offset = [*fields, "", 0][:5]
    return Sample(str(image), bytes.fromhex(name), int(stored), bytes.fromhex(pack), int(offset))


def recall(memory: Memory, now: float, settings: HealthSettings) -> Memory:
    """`memory` as far as it is still worth believing at `now` (Unix time)."""
    if 0 <= now - memory.at <= settings.interval * max(settings.up, settings.down):
        return memory
    return replace(memory, tracks={name: _doubt(track) for name, track in memory.tracks.items()})


def _doubt(track: Track) -> Track:
    if track.state is State.CORRUPT:
        return replace(track, meter=Meter(Level.OUT))
    return replace(track, meter=Meter(), families={}, select=Meter(), images={}, quick=Meter(), back=None)


def load(path: Path, now: float, settings: HealthSettings) -> Memory:
    """What was kept at `path`, as far as `recall` believes it; an empty memory where there is nothing to believe."""
    try:
        return recall(decode(path.read_bytes()), now, settings)
    except FileNotFoundError:
        return Memory()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        _log.warning("%s is ignored, every mirror is judged anew: %s", path, reason)
        return Memory()


def save(path: Path, memory: Memory) -> None:
    """Writes `memory` to `path` by rename.  Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path, mode=0o600) as file:
        file.write(encode(memory))
