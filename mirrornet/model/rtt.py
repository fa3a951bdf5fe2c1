"""A client's report of its own round trips: what `mount --share-rtt` sends, and POST /v1/rtt takes.

    POST /v1/rtt HTTP/1.1
    Content-Type: application/json

    {"v": 1, "select": "select.inetboot.net", "rtt": {"tokyo": 41.5, "paris": 243}, "lost": ["lagos"]}

`select` is the balanced name, in full and lower case; `rtt` maps names of its mirrors to milliseconds; `lost`, where
there are any, names those that the client asked lately and could not reach, while it reached those in `rtt`. At most
2,048 bytes, 1 to 16 mirrors in `rtt`, 1 to 8 in `lost`, none in both, 0.1 to 5,000 ms, nothing else: no image, no name
of the client, no time. Where the client is the server sees by the connection's source address. The answer is 204 where
the report was taken, 429 where this network has reported within the hour, 400 or 413 where the body is not this, 404
where there is no such select.

The endpoints are published as URI records at `_rtt._tcp.<select name>`, only where a server takes reports.

Unknown keys are refused and not passed over: what nobody reads must not travel.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

VERSION: Final = 1
PATH: Final = "/v1/rtt"
SERVICE: Final = "_rtt._tcp"  # the owner of the URI records, before the select name
BODY_LIMIT: Final = 2048  # bytes
MOST_MIRRORS: Final = 16
MOST_LOST: Final = 8
LEAST_MS: Final = 0.1
MOST_MS: Final = 5000.0
_NAME = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_SELECT = re.compile(r"(?=.{1,253}\Z)(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}")


@dataclass(frozen=True, slots=True)
class RttReport:
    """`rtt`: milliseconds by mirror.  `lost`: mirrors out of reach."""

    select: str
    rtt: Mapping[str, float]
    lost: frozenset[str] = frozenset()


def encode_report(report: RttReport) -> bytes:
    """The body.  Values are rounded to 0.1 ms and what is out of range is left out, as are mirrors beyond the limit."""
    rtt = {name: round(ms, 1) for name, ms in report.rtt.items() if LEAST_MS <= ms <= MOST_MS and _NAME.fullmatch(name)}
    told: dict[str, Any] = {"v": VERSION, "select": report.select, "rtt": dict(list(rtt.items())[:MOST_MIRRORS])}
    lost = sorted(name for name in report.lost - report.rtt.keys() if _NAME.fullmatch(name))
    if lost:
        told["lost"] = lost[:MOST_LOST]
    return json.dumps(told, separators=(",", ":")).encode()


def parse_report(body: bytes) -> RttReport:
    """The report in `body`.  Raises ValueError with a short reason."""
    if len(body) > BODY_LIMIT:
        raise ValueError(f"more than {BODY_LIMIT} bytes")
    try:
        told = json.loads(body.decode("utf-8"), object_pairs_hook=_object, parse_constant=_refused)
    except (UnicodeDecodeError, RecursionError):
        raise ValueError("this is no JSON") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"this is no JSON: {error.msg}") from None
    if not isinstance(told, dict) or told.keys() - {"lost"} != {"v", "select", "rtt"}:
        raise ValueError('an object with "v", "select", "rtt" and perhaps "lost" is expected, and nothing else')
    if told["v"] is True or told["v"] != VERSION:
        raise ValueError(f"version {VERSION} is understood here")
    select, rtt = told["select"], told["rtt"]
    if not isinstance(select, str) or not _SELECT.fullmatch(select):
        raise ValueError('"select" is a host name in lower case')
    if not isinstance(rtt, dict) or not 1 <= len(rtt) <= MOST_MIRRORS:
        raise ValueError(f'"rtt" maps 1 to {MOST_MIRRORS} mirrors to milliseconds')
    for name, ms in rtt.items():
        if not _NAME.fullmatch(name):
            raise ValueError('a key of "rtt" is not a mirror\'s name')
        if isinstance(ms, bool) or not isinstance(ms, int | float) or not LEAST_MS <= ms <= MOST_MS:
            raise ValueError(f"a round trip is {LEAST_MS:g} to {MOST_MS:g} ms")
    lost = told.get("lost", [])
    if not isinstance(lost, list) or len(lost) > MOST_LOST or ("lost" in told and not lost):
        raise ValueError(f'"lost" lists 1 to {MOST_LOST} mirrors')
    if not all(isinstance(name, str) and _NAME.fullmatch(name) and name not in rtt for name in lost):
        raise ValueError('an entry of "lost" is not the name of a mirror, or of one that was reached')
    return RttReport(select, {name: float(ms) for name, ms in rtt.items()}, frozenset(lost))


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")
    return found


def _refused(word: str) -> float:
    raise ValueError(f"{word} is no number")
