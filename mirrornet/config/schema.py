"""The keys of a zone file: for each its type, its range and its default, one line a key.

A section's reader returns the value of model/zone.py that the section stands for.  Where a fault was found the value
holds a stand-in ("" or None or the default), and nobody outside this room ever sees it: with one fault there is no
Zone.  Checks that need one section only are here; what needs several is in prove.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal, cast

from mirrornet.config import addresses, names, policy, sharing, values
from mirrornet.config.faults import Wrong, quote
from mirrornet.config.section import Section
from mirrornet.data.countries import COUNTRIES
from mirrornet.model.address import Address, Prefix
from mirrornet.model.names import suggest
from mirrornet.model.place import Evidence, Place
from mirrornet.model.zone import (
    HealthSettings,
    Mirror,
    Pin,
    PlaceOverride,
    ProbeKind,
    QueryLogSettings,
    RepositorySettings,
    Select,
    ServerSettings,
    TlsSettings,
    Zone,
)

_OF_PLACE: Final = ("country", "latitude", "longitude", "asn", "anycast")
DAMPING: Final = 90  # intervals: the half-life of what a mirror owes for flapping, a quarter of an hour by default
SERIALS: Final = 2**32 - 1  # RFC 1982: zero is legal, but means "no serial" to too many tools


def read_zone(top: Section, file: Path) -> Zone:
    """The zone that the file's outermost mapping stands for; faults go to `top.faults`."""
    folder = file.parent
    name = top.read("zone", names.host_name, "", required=True)
    select = tuple(_read_select(section, name) for section in top.sections("select", "a select"))
    mirrors = tuple(_read_mirror(key, section) for key, section in top.named("mirrors", "a mirror", required=True))
    places, pins = _read_places(top, mirrors)
    zone = Zone(
        file=file,
        name=name,
        contact=top.read("contact", names.mailbox, "", required=True),
        serial=top.read("serial", values.whole(1, SERIALS), 1, required=True),
        nameservers=_read_nameservers(top),
        world=top.read("world", lambda text: folder / text, None),
        records=top.read("records", lambda text: folder / text, None),
        round_trips_file=top.read("round_trips", lambda text: folder / text, None),
        repository=(repository := _read_repository(top.section("repository", "repository"), folder)),
        select=select,
        health=_read_health(top.section("health", "health"), repository is not None),
        mirrors=mirrors,
        places=places,
        pins=pins,
        server=_read_server(top.section("server", "server"), folder),
    )
    top.close()
    return zone


def _read_nameservers(top: Section) -> dict[str, tuple[Address, ...]]:
    servers: dict[str, tuple[Address, ...]] = {}
    for key, found in top.named_lists("nameservers", addresses.unicast):
        try:
            host = names.host_name(key)
        except Wrong as wrong:
            top.faults.add(top.at("nameservers", key), wrong.what, wrong.hint)
            continue
        if host in servers:
            top.faults.add(top.at("nameservers", key), "this name server is listed twice", "keep one of the two")
        servers[host] = found
    return servers


def _read_repository(section: Section, folder: Path) -> RepositorySettings | None:
    def root(text: str) -> Path:
        if text.startswith("sha256:"):
            raise Wrong("a pin is for clients", "name the root.json file that `keygen` or `publish` made")
        return folder / text

    settings = RepositorySettings(
        root=section.read("root", root, Path(), required=True),
        images=section.read_list("images", values.image_name) or (),
        lag=section.read("lag", values.duration(60, 30 * 86400), 6 * 3600.0),
    )
    section.close()
    return settings if section.present else None


def _read_select(section: Section, zone: str) -> Select:
    name = section.read("name", names.select_name, "", required=True)
    if zone and (name == zone or name.endswith("." + zone)):
        short = name.removesuffix(zone).rstrip(".") or "@"
        section.fault("name", f"{name} holds the zone's name, which is added anyway", f"did you mean {short}?")
    host = zone if name == "@" else f"{name}.{zone}"
    images = section.read_list("images", values.image_name)
    select = Select(
        name=name,
        url=section.read("url", names.http_url, f"http://{host}/"),
        answers=section.read("answers", values.whole(1, 8), 3),
        ttl=section.read("ttl", values.seconds(1, 86400), 20),
        images=None if images is None else frozenset(images),
        ipv6=cast(Literal["all", "near"], section.read("ipv6", values.choice("all", "near"), "all")),
    )
    section.close()
    return select


def _read_health(section: Section, has_repository: bool) -> HealthSettings:
    counts = values.whole(1, 100)
    up = section.read("up", counts, 3)
    interval = section.read("interval", values.duration(0.1, 3600), 10.0)
    settings = HealthSettings(
        interval=interval,
        timeout=section.read("timeout", values.duration(0.05, 600), 3.0),
        up=up,
        ok=section.read("ok", counts, min(2, up)),
        down=section.read("down", counts, 3),
        probe=cast(
            ProbeKind,
            section.read("probe", values.choice("block", "http", "tcp", "none"), "block" if has_repository else "http"),
        ),
        damping=section.read("damping", values.duration(0, 86400), DAMPING * interval),
        ramp=section.read("ramp", values.duration(0, 86400), 0.0),
        spill=section.read("spill", values.times(100), 2.0),
    )
    if section.sound("interval", "timeout") and settings.timeout >= settings.interval:
        what = f"a timeout of {settings.timeout:g} s is not shorter than the interval of {settings.interval:g} s"
        section.fault("timeout" if "timeout" in section else "interval", what, "probes of one mirror must not overlap")
    if section.sound("up", "ok") and settings.ok > settings.up:
        what = f"ok: {settings.ok} is greater than up: {settings.up}"
        hint = "a mirror would rise from the dead sooner than be forgiven one failure; ok at most up"
        section.fault("ok" if "ok" in section else "up", what, hint)
    section.close()
    return settings


def _read_mirror(name: str, section: Section) -> Mirror:
    try:
        names.label(name)
    except Wrong as wrong:
        section.faults.add(section.path, wrong.what, wrong.hint)
    holds = section.read_list("holds", values.image_name)
    mirror = Mirror(
        name=name,
        url=section.read("url", names.http_url, "", required=True),
        addresses=section.read_list("addresses", addresses.unicast) or (),
        place=_read_place(section.section("place", "place")),
        weight=section.read("weight", values.whole(1, 10_000), 100),
        holds=None if holds is None else frozenset(holds),
        only=section.read_list("only", policy.item) or (),
        prefer=section.read_list("prefer", policy.item) or (),
        never=section.read_list("never", policy.item) or (),
    )
    for key in ("only", "prefer"):
        both = [item for item in getattr(mirror, key) if item in mirror.never]
        if both:
            section.fault("never", f"{both[0]} is under {key} as well", "delete it from one of the two")
    section.close()
    return mirror


def _read_place(section: Section, pinned: bool = False) -> Place:
    """A place; a country without coordinates gets its middle, and the radius in which its people live.

    `pinned`: it may say nothing, for there are mirrors beside it.
    """
    latitude = section.read("latitude", values.degrees(90), None)
    longitude = section.read("longitude", values.degrees(180), None)
    country = section.read("country", values.country, "")
    asn = section.read("asn", values.asn, 0)
    anycast = section.read("anycast", values.boolean, False)
    section.close()
    given = [key for key in ("latitude", "longitude") if key in section]
    if len(given) == 1:
        section.fault(given[0], "latitude and longitude go together", "give both, or leave both out")
    if section.readable and not pinned and not any(key in section for key in _OF_PLACE):
        section.faults.add(section.path, "says nothing of the place", "give a country, or coordinates")
    if anycast and given:
        what = "an anycast address is in many places, so these coordinates are not used"
        section.fault(given[0], what, "delete them, or anycast", warning=True)
    country_from = Evidence.OPERATOR if country else Evidence.NONE
    radius, coordinates_from = 0, Evidence.NONE
    if latitude is not None and longitude is not None:
        coordinates_from = Evidence.OPERATOR
    elif country:
        middle = COUNTRIES[country]
        latitude, longitude, radius = middle.latitude, middle.longitude, middle.radius_km
        coordinates_from = Evidence.CENTROID
    return Place(asn, country, latitude, longitude, radius, anycast, country_from, coordinates_from)


def _read_places(top: Section, known: Sequence[Mirror]) -> tuple[tuple[PlaceOverride, ...], tuple[Pin, ...]]:
    """What the operator knows better of prefixes, and which of the `known` mirrors he pins them to."""
    overrides: dict[Prefix, PlaceOverride] = {}
    pins: list[Pin] = []
    lines: dict[Prefix, int] = {}
    known_names = [mirror.name for mirror in known]
    for key, section in top.named("places", "a prefix under places"):
        mirrors = section.read_list("mirrors", lambda text: _known_mirror(text, known_names)) or ()
        place = _read_place(section, pinned="mirrors" in section)
        try:
            prefix = addresses.prefix(key)
        except Wrong as wrong:
            top.faults.add(section.path, wrong.what, wrong.hint)
            continue
        if prefix in lines:
            what = f"{prefix} has a place on line {lines[prefix]} already"
            top.faults.add(section.path, what, "keep one; of IPv6 only the first 64 bits count")
        if mirrors and not prefix.length:
            section.fault("mirrors", "this pins everybody", "name the networks that are meant; `prefer` ranks mirrors")
        if any(key in section for key in _OF_PLACE):
            overrides[prefix] = PlaceOverride(prefix, place)
        if mirrors:
            pins.append(Pin(prefix, mirrors))
        lines.setdefault(prefix, top.faults.line(section.path))
    return tuple(overrides.values()), tuple(pins)


def _known_mirror(text: str, known: Sequence[str]) -> str:
    if text not in known:
        raise Wrong(f"there is no mirror {quote(text)}", suggest(text, known) or "mirrors are named under `mirrors`")
    return text


def _read_server(section: Section, folder: Path) -> ServerSettings | None:
    settings = ServerSettings(
        listen=section.read_list("listen", addresses.endpoint) or (),
        http=section.read("http", addresses.endpoint, None),
        token_file=section.read("token_file", lambda text: folder / text, None),
        rtt=section.read("rtt", addresses.published_endpoint, None),
        workers=section.read("workers", values.whole(1, 256), None),
        nsid=section.read("nsid", _nsid, ""),
        cookies=section.read("cookies", lambda text: folder / text, None),
        rate_limit=section.read("rate_limit", values.whole(0, 1_000_000), 0),
        tls=_read_tls(section.section("tls", "tls"), folder),
        query_log=_read_query_log(section.section("query_log", "query_log"), folder),
        share=(share := sharing.read_share(section.section("share", "share"), folder)),
        vantages=(vantages := sharing.read_vantages(section)),
    )
    sharing.prove_sharing(section, share, vantages)
    section.close()
    return settings if section.present else None


def _read_tls(section: Section, folder: Path) -> TlsSettings | None:
    settings = TlsSettings(
        certificate=section.read("certificate", lambda text: folder / text, Path(), required=True),
        key=section.read("key", lambda text: folder / text, Path(), required=True),
        listen=section.read_list("listen", addresses.endpoint, required=True) or (),
    )
    section.close()
    return settings if section.present else None


def _read_query_log(section: Section, folder: Path) -> QueryLogSettings | None:
    addresses = section.read("addresses", values.choice("networks", "whole"), "networks")
    settings = QueryLogSettings(
        file=section.read("file", lambda text: folder / text, Path(), required=True),
        sample=section.read("sample", values.whole(1, 1_000_000), 100),
        most=section.read("most", values.whole(1, 1000), 20),
        addresses=cast(Literal["networks", "whole"], addresses),
    )
    section.close()
    return settings if section.present else None


def _nsid(text: str) -> str:
    """A name server identifier (RFC 5001): any bytes, here printable ASCII, so that `dig +nsid` shows it."""
    if not text.isascii() or not text.isprintable() or len(text) > 64:
        raise Wrong("an nsid is printable ASCII", "64 characters at most, such as ns1-tokyo")
    return text
