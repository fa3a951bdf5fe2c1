"""What one vantage sees of a zone's mirrors, as the bytes that it signs and others believe.

    mirrornet-eyes 1 ZONE VANTAGE SEQUENCE SIGNATURE\\n        one line of ASCII, at most HEAD_LIMIT octets
    {"at":…,"mirrors":{…},"overrides":[…],"sees":[4,6]}        JSON in its one canonical form

The signature (Ed25519, RFC 8032, 128 hexadecimal digits) covers the line up to SEQUENCE and a line feed, and the JSON.
So nothing said for one zone, or by one vantage, can be put in another's place.  The sequence only grows; it is
milliseconds of the clock at least, so that a vantage need not remember it.

Nothing is parsed before the signature is checked but the first line, whose every field has a length.  And a signature
makes nobody honest: what a vantage with a good key says is read by type, range and size, unknown keys are refused, and
what this program would have written otherwise is refused (`canonical`), so that there is one form to reason about.

A mirror's entry leaves out what is as by default; reasons are cut to REASON characters.  Only what probes can find
travels: no state by hand, no barred askers.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mirrornet.model.address import Family
from mirrornet.model.override import Override, recalled, told
from mirrornet.model.verdict import State, Verdict

CONTEXT: Final = b"mirrornet-eyes"  # what the signature is for
VERSION: Final = 1
PREFIX: Final = f"mirrornet:eyes:{VERSION}"  # of all keys on the board
HEAD_LIMIT: Final = 512  # octets: a zone's name has 253 at most, a vantage's 63
BASE_LIMIT: Final = 256 << 10  # octets of a statement without its mirrors: overrides, mostly
MIRROR_LIMIT: Final = 2048  # octets of one mirror's entry
MOST_OVERRIDES: Final = 100
MOST_IMAGES: Final = 256
REASON: Final = 120  # characters
LATEST: Final = 2.0**40  # Unix time, far beyond anybody's clock
LONGEST: Final = 1e6  # seconds of a promise; what is endless is said as this
_HEAD = re.compile(
    rb"mirrornet-eyes ([0-9]{1,3}) ([a-z0-9._-]{1,253}) ([a-z0-9-]{1,63}) ([1-9][0-9]{0,15}) ([0-9a-f]{128})\n"
)
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
SEEN: Final = frozenset({State.UP, State.LAGGING, State.SLOW, State.DOWN, State.STALE, State.CORRUPT})

BOTH: Final[frozenset[Family]] = frozenset({4, 6})

Verify = Callable[[bytes, bytes], bool]  # (message, signature) → whether it is this vantage's
Sign = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True)
class Statement:
    """One vantage's whole word on one zone.  `at`: Unix time.  `verdicts`: by mirror, those it has probed.

    `sees`: the address families over which it has ever reached any mirror: of the others it knows nothing.
    """

    zone: str
    vantage: str
    sequence: int
    at: float
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    overrides: tuple[Override, ...] = ()
    sees: frozenset[Family] = BOTH


def key_of(zone: str, vantage: str) -> str:
    """The key under which `vantage` says what it sees of `zone`."""
    return f"{PREFIX}:{zone}:{vantage}"


def size_limit(mirrors: int) -> int:
    """The most octets that a statement on a zone of so many mirrors may have."""
    return BASE_LIMIT + MIRROR_LIMIT * max(mirrors, 16)


def heading(data: bytes) -> tuple[str, str, int] | None:
    """Zone, vantage and sequence of the first line, which nobody has proven; None where it is no such line."""
    found = _HEAD.match(data[:HEAD_LIMIT])
    return None if found is None else (found[2].decode(), found[3].decode(), int(found[4]))


def encode(statement: Statement, sign: Sign) -> bytes:
    """The signed bytes of `statement`."""
    body = _body(statement)
    message = _covered(statement.zone, statement.vantage, statement.sequence) + body
    signature = sign(message).hex()
    first = f"mirrornet-eyes {VERSION} {statement.zone} {statement.vantage} {statement.sequence} {signature}\n"
    return first.encode("ascii") + body


def decode(data: bytes, zone: str, vantage: str, verify: Verify) -> Statement:
    """The statement of `vantage` on `zone` in `data`.  Raises ValueError with why it is not believed."""
    found = _HEAD.match(data[:HEAD_LIMIT])
    if found is None:
        raise ValueError("these are not the bytes of a statement")
    if int(found[1]) != VERSION:
        raise ValueError(f"its version is {int(found[1])}, and this program reads {VERSION}")
    if (found[2].decode(), found[3].decode()) != (zone, vantage):
        raise ValueError("it is another's statement, put in this place")
    sequence, body = int(found[4]), data[found.end() :]
    if not verify(_covered(zone, vantage, sequence) + body, bytes.fromhex(found[5].decode())):
        raise ValueError("its signature is not that of the key in the zone file")
    try:
        document = json.loads(body, parse_constant=_refused)
        statement = _statement(document, zone, vantage, sequence)
        if _body(statement) != body:
            raise ValueError("it is not written in the one form there is")
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"it is not what this program writes ({type(error).__name__})") from None
    return statement


def _covered(zone: str, vantage: str, sequence: int) -> bytes:
    return f"{VERSION} {zone} {vantage} {sequence}\n".encode("ascii")


def _body(statement: Statement) -> bytes:
    document = {
        "at": _rounded(statement.at),
        "mirrors": {name: _entry(one) for name, one in statement.verdicts.items() if one.state in SEEN},
        "overrides": [told(one) for one in statement.overrides[:MOST_OVERRIDES]],
        "sees": sorted(statement.sees),
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False).encode("ascii")


def _entry(verdict: Verdict) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "state": str(verdict.state),
        "promise": _rounded(min(verdict.promise, LONGEST)),
        "since": _rounded(verdict.since),
    }
    if verdict.reason:
        entry["reason"] = "".join(one if one.isprintable() else " " for one in verdict.reason)[:REASON]
    if verdict.rtt_ms is not None:
        entry["rtt_ms"] = _rounded(verdict.rtt_ms)
    if verdict.serves_select is not None:
        entry["serves_select"] = verdict.serves_select
    if verdict.holds is not None:
        entry["holds"] = sorted(verdict.holds)[:MOST_IMAGES]
    if verdict.families is not None:
        entry["families"] = sorted(verdict.families)
    if verdict.repository_version is not None:
        entry["repository_version"] = verdict.repository_version
    if _rounded(verdict.share) != 1.0:
        entry["share"] = _rounded(verdict.share)
    if _rounded(verdict.lag):
        entry["lag"] = _rounded(verdict.lag)
    return entry


def _rounded(value: float) -> float:
    return round(float(value), 3)


def _statement(document: Any, zone: str, vantage: str, sequence: int) -> Statement:
    fields = {"at", "mirrors", "overrides", "sees"}
    _only(document, fields, fields)
    verdicts = {}
    for name, entry in document["mirrors"].items():
        if not _NAME.fullmatch(name):
            raise ValueError("a mirror's name is none")
        verdicts[name] = _verdict(entry)
    told_overrides = document["overrides"]
    if not isinstance(told_overrides, list) or len(told_overrides) > MOST_OVERRIDES:
        raise ValueError(f"overrides: a list of at most {MOST_OVERRIDES}")
    overrides = tuple(recalled(one) for one in told_overrides)
    if any(one.zone != zone for one in overrides):
        raise ValueError("an override of another zone")
    at, sees = _number(document["at"], 0, LATEST), _families(document["sees"])
    return Statement(zone, vantage, sequence, at, verdicts, overrides, sees)


def _verdict(entry: Any) -> Verdict:
    optional = {"reason", "rtt_ms", "serves_select", "holds", "families", "repository_version", "share", "lag"}
    _only(entry, {"state", "promise", "since"}, {"state", "promise", "since"} | optional)
    state = State(entry["state"])
    if state not in SEEN:
        raise ValueError(f"a probe does not find {state}")
    reason, select, version = entry.get("reason", ""), entry.get("serves_select"), entry.get("repository_version")
    if not isinstance(reason, str) or len(reason) > REASON or not reason.isprintable():
        raise ValueError(f"reason: one line of at most {REASON} characters")
    if not (select is None or isinstance(select, bool)):
        raise ValueError("serves_select: true or false")
    if version is not None:
        _number(version, 0, 2**53)
    return Verdict(
        state=state,
        promise=_number(entry["promise"], 0, LONGEST),
        since=_number(entry["since"], 0, LATEST),
        reason=reason,
        rtt_ms=_number(entry["rtt_ms"], 0, 1e6) if "rtt_ms" in entry else None,
        serves_select=select,
        holds=_images(entry["holds"]) if "holds" in entry else None,
        repository_version=None if version is None else int(version),
        families=_families(entry["families"]) if "families" in entry else None,
        share=_number(entry.get("share", 1.0), 0, 1),
        lag=_number(entry.get("lag", 0.0), 0, LATEST),
    )


def _images(value: Any) -> frozenset[str]:
    if not isinstance(value, list) or len(value) > MOST_IMAGES:
        raise ValueError(f"holds: a list of at most {MOST_IMAGES} images")
    if not all(isinstance(one, str) and 0 < len(one) <= 63 and one.isprintable() for one in value):
        raise ValueError("holds: names of images")
    return frozenset(value)


def _families(value: Any) -> frozenset[Family]:
    if value not in ([4], [6], [4, 6], []):
        raise ValueError("families: 4 and 6")
    return frozenset(value)


def _only(value: Any, needed: set[str], known: set[str]) -> None:
    if not isinstance(value, dict) or not needed <= value.keys() <= known:
        raise ValueError("it lacks a field, or has one that is not known here")


def _number(value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("a number is expected")
    if not low <= value <= high:
        raise ValueError(f"a number is out of range, {low:g} to {high:g}")
    return float(value)


def _refused(word: str) -> float:
    raise ValueError(f"{word} is no number")
