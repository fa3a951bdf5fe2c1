"""What one object of a registry says, once understood: values that the readers make and the records take in."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from mirrornet.model.address import Family
from mirrornet.model.sets import PrefixRange


class Reason(StrEnum):
    """Why an object was rejected; the text is what the report prints."""

    NOT_RPSL = "does not begin with an attribute"
    DELETED = "marked as deleted (*xx)"
    TOO_LONG = "object longer than 8 MiB"
    BAD_ADDRESS = "not an address of its family"
    NO_LENGTH = "prefix without length"
    BAD_LENGTH = "prefix length is not a number in range"
    TOO_SHORT = "prefix too short to be a network's own (under /8 or /16)"
    TOO_SPECIFIC = "route6 longer than /64"
    NO_ORIGIN = "no origin"
    BAD_ORIGIN = "origin is not an AS number"
    BOGON = "prefix in reserved address space"
    BOGON_ORIGIN = "reserved or private AS number"
    BAD_RANGE = "not an address range"
    REVERSED = "range ends before it begins"
    PAST_END = "range runs past the last address"
    BAD_SET = "not the name of an as-set or route-set"
    NO_SET_SOURCE = "set without a source, so nobody could name it"
    BAD_FIELDS = "not a line of delegated statistics"
    BAD_FEED_LINE = "not a line of a geofeed"
    BAD_COUNTRY = "geofeed line with a country that is none"
    BAD_VRP = "not a validated ROA payload"
    BAD_LINK = "not a line of AS relationships"


class Mend(StrEnum):
    """What was set right; the text is what the report prints."""

    HOST_BITS = "host bits cleared"
    ZERO_PADDED = "zero-padded octet read as decimal"
    NO_AS = "AS number without AS"
    ASDOT = "AS number in ASDOT"
    NO_SOURCE = "no source"
    COUNTRIES = "several countries, the first was taken"
    NO_COUNTRY = "country that is none (EU, AP, ZZ ...) passed over"
    BAD_GEOLOC = "geoloc that is no place on Earth passed over"
    LONG_BLOCK = "inet6num longer than /64 widened to it"
    COUNTRY_NAME = "country's name in place of its code"


class Claim(NamedTuple):
    """An object's word that it is a member of sets (RFC 2622 section 5.1), and who maintains it; all in capitals."""

    sets: tuple[str, ...] = ()
    maintainers: tuple[str, ...] = ()


class Route(NamedTuple):
    """`value`/`length` is originated by `asn`.  `newest`: last-modified and changed as yyyymmdd, the first << 32."""

    family: Family
    value: int
    length: int
    asn: int
    source: str
    newest: int
    mends: tuple[Mend, ...] = ()
    claim: Claim = Claim()


class Block(NamedTuple):
    """The addresses from `first` to `last` (of `width(family)` bits) are used in `country` ("" unknown)."""

    family: Family
    first: int
    last: int
    country: str
    coordinates: tuple[float, float] | None
    source: str
    mends: tuple[Mend, ...] = ()


class AutNum(NamedTuple):
    """The holder of `asn` has his seat in `country` ("" unknown)."""

    asn: int
    country: str
    source: str
    mends: tuple[Mend, ...] = ()
    claim: Claim = Claim()


class Members(NamedTuple):
    """A member list.  `sets`: names in capitals, qualified by a source or not; `odd`: words that are no member."""

    asns: tuple[int, ...] = ()
    sets: tuple[str, ...] = ()
    prefixes: tuple[PrefixRange, ...] = ()
    odd: int = 0


class SetObject(NamedTuple):
    """An as-set or route-set.  `name` in capitals; `by_ref`: maintainers whose objects may claim to be members."""

    class_name: str
    name: str
    source: str
    members: Members
    by_ref: tuple[str, ...]
    newest: int
    mends: tuple[Mend, ...] = ()


class Vrp(NamedTuple):
    """A validated ROA payload (RFC 6811): `asn` may originate `value`/`length` and parts of it down to `limit` bits."""

    family: Family
    value: int
    length: int
    limit: int
    asn: int


class Rejected(NamedTuple):
    """An object of a class that we want, but not in this state."""

    class_name: str
    source: str
    reason: Reason


class Unused(NamedTuple):
    """A sound object of a class that we do not use."""

    class_name: str
    source: str


Said = Route | Block | AutNum | SetObject | Rejected | Unused
