"""What the zone files mean once they are proven sound.  Made by config/, read by everyone, changed by nobody.

Times are seconds, URLs end without a slash unless their path is "/", host names are lower case without the final dot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from mirrornet.model.address import Address, Prefix
from mirrornet.model.place import UNKNOWN, Place

ProbeKind = Literal["block", "http", "tcp", "none"]


@dataclass(frozen=True, slots=True)
class Mirror:
    """A URL under which a copy of the repository is served; not an address.

    `addresses` may be empty: such a mirror is offered by the name in its URL, in SRV and URI only.  `place` holds what
    the zone file says of it; what is left out is looked up by the first address.  `holds` None: found out by probing.
    `only`, `prefer`, `never` are kept as written.
    """

    name: str
    url: str
    addresses: tuple[Address, ...] = ()
    place: Place = UNKNOWN
    weight: int = 100
    holds: frozenset[str] | None = None
    only: tuple[str, ...] = ()
    prefer: tuple[str, ...] = ()
    never: tuple[str, ...] = ()

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def tls(self) -> bool:
        return urlsplit(self.url).scheme == "https"

    @property
    def port(self) -> int:
        parts = urlsplit(self.url)
        return parts.port or (443 if parts.scheme == "https" else 80)

    def serves_by_url(self, select_url: str) -> bool:
        """Whether host name, port, scheme and path of its own URL are those of `select_url`."""
        return self.url.rstrip("/") == select_url.rstrip("/")


@dataclass(frozen=True, slots=True)
class Select:
    """One balanced name.  `name` is a label (or labels) below the zone, "@" for the zone itself.

    `url` is what a plain client types.  `answers` bounds the mirrors in A and AAAA.  `ttl` is a ceiling, in seconds.
    `images` None: every mirror qualifies.  `ipv6` "near": AAAA leaves out mirrors that are far where A's are near.
    """

    name: str
    url: str
    answers: int = 3
    ttl: int = 20
    images: frozenset[str] | None = None
    ipv6: Literal["all", "near"] = "all"


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """Thresholds count probes; `interval` and `timeout` are seconds.

    `damping`: seconds in which what a mirror owes for going up and down halves; 0: it owes nothing.  `ramp`: seconds in
    which one that comes back grows to its full weight; 0: at once.  `spill`: how many times its usual load a mirror
    carries while others are out; 0: whatever comes.
    """

    interval: float = 10.0
    timeout: float = 3.0
    up: int = 3
    ok: int = 2
    down: int = 3
    probe: ProbeKind = "http"
    damping: float = 900.0
    ramp: float = 0.0
    spill: float = 2.0


@dataclass(frozen=True, slots=True)
class RepositorySettings:
    """Whom probes believe: `root` is the file of a trusted root.json; `lag` in seconds."""

    root: Path
    images: tuple[str, ...] = ()
    lag: float = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """DNS over TLS: PEM files, and the (address, port) pairs to listen on."""

    certificate: Path
    key: Path
    listen: tuple[tuple[Address, int], ...]


@dataclass(frozen=True, slots=True)
class Vantage:
    """Somebody elsewhere who probes the mirrors as well and says so, signed.

    `key`: an Ed25519 public key, 32 octets.  `asn` and `country`: the network it looks from, 0 and "" where nobody
    says.  `overrides`: whether what an operator says by hand there counts here, too; so it is for other name servers.
    """

    name: str
    key: bytes
    asn: int = 0
    country: str = ""
    overrides: bool = False


@dataclass(frozen=True, slots=True)
class ShareSettings:
    """Where observations are shared (a redis:// URL without a password), and by which rule others are heard.

    `key`: the file of this server's private key, by which it is one of the vantages; without it, it only listens.
    `password`: a file.  `quorum`: so many have to say that a mirror is out; None: more than half.  `limit`:
    the part of a zone's weight that others may move, 0 to 1.
    """

    url: str
    key: Path | None = None
    password: Path | None = None
    quorum: int | None = None
    limit: float = 0.3


@dataclass(frozen=True, slots=True)
class QueryLogSettings:
    """One query of `sample` becomes a line of `file`, at most `most` a second; `addresses` as they came, or cut."""

    file: Path
    sample: int = 100
    most: int = 20
    addresses: Literal["networks", "whole"] = "networks"


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """The process: `listen` and `http` are (address, port) pairs.

    `token_file`: who may send overrides to `http`; None: nobody.  `rtt`: the socket that takes clients' reports
    (model/rtt.py); None: none are taken.  `cookies`: the file of secrets; None: the server makes its own.
    `rate_limit`: replies a second to a network; 0: no limit.
    """

    listen: tuple[tuple[Address, int], ...] = ()
    http: tuple[Address, int] | None = None
    token_file: Path | None = None
    rtt: tuple[Address, int] | None = None
    workers: int | None = None
    nsid: str = ""
    cookies: Path | None = None
    rate_limit: int = 0
    tls: TlsSettings | None = None
    query_log: QueryLogSettings | None = None
    share: ShareSettings | None = None
    vantages: tuple[Vantage, ...] = ()


@dataclass(frozen=True, slots=True)
class PlaceOverride:
    """What the operator knows better than the table."""

    prefix: Prefix
    place: Place


@dataclass(frozen=True, slots=True)
class Pin:
    """Askers in `prefix` get `mirrors` first, in this order."""

    prefix: Prefix
    mirrors: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Zone:
    """One zone file.  `nameservers` maps a host name to its addresses (empty where it is outside the zone)."""

    file: Path
    name: str
    contact: str
    serial: int
    nameservers: Mapping[str, tuple[Address, ...]]
    world: Path | None
    select: tuple[Select, ...]
    mirrors: tuple[Mirror, ...]
    health: HealthSettings = field(default_factory=HealthSettings)
    repository: RepositorySettings | None = None
    records: Path | None = None
    places: tuple[PlaceOverride, ...] = ()
    pins: tuple[Pin, ...] = ()
    server: ServerSettings | None = None
    round_trips_file: Path | None = None
    round_trips: Mapping[tuple[str, str], float] = field(default_factory=dict)  # ms; see dns/ranking/terms.py

    def select_fqdn(self, select: Select) -> str:
        """The balanced name in full, lower case, without the final dot."""
        return self.name if select.name == "@" else f"{select.name}.{self.name}"

    def candidates(self, select: Select) -> tuple[Mirror, ...]:
        """The mirrors that may serve `select`, as far as the zone file alone can tell."""
        if select.images is None:
            return self.mirrors
        return tuple(m for m in self.mirrors if m.holds is None or select.images <= m.holds)
