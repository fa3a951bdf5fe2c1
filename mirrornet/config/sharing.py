"""The keys by which name servers and vantages share what they see: `server: share` and `server: vantages`.

A zone file holds no secrets, so a URL with a password is refused, and the password has a file of its own.  Public keys
are no secrets: they are what decides who is heard.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from mirrornet.config import names, values
from mirrornet.config.faults import Faults, Wrong, quote
from mirrornet.config.section import Section
from mirrornet.model.zone import ShareSettings, Vantage, Zone

SCHEMES: Final = ("redis", "rediss", "unix")
MOST_VANTAGES: Final = 64
_KEY = re.compile(r"ed25519:([0-9a-f]{64})")
_PERCENT = re.compile(r"(0|[1-9][0-9]{0,2})(?:\.[0-9]+)? ?%")
NOBODY: Final = "list the public keys of the other servers and vantages under `server: vantages`"
_FORM: Final = "write redis://HOST:PORT/NUMBER, rediss://HOST:PORT (TLS) or unix:///PATH"


def read_share(section: Section, folder: Path) -> ShareSettings | None:
    """The section `share`; None where there is none."""
    settings = ShareSettings(
        url=section.read("url", share_url, "", required=True),
        key=section.read("key", lambda text: folder / text, None),
        password=section.read("password", lambda text: folder / text, None),
        quorum=section.read("quorum", values.whole(1, MOST_VANTAGES), None),
        limit=section.read("limit", percent, 0.3),
    )
    section.close()
    return settings if section.present else None


def read_vantages(server: Section) -> tuple[Vantage, ...]:
    """The mapping `vantages` of the section `server`."""
    found: list[Vantage] = []
    for name, section in server.named("vantages", "a vantage"):
        try:
            vantage_name(name)
        except Wrong as wrong:
            server.faults.add(section.path, wrong.what, wrong.hint)
        vantage = Vantage(
            name=name,
            key=section.read("key", public_key, b"", required=True),
            asn=section.read("asn", values.asn, 0),
            country=section.read("country", values.country, ""),
            overrides=section.read("overrides", values.boolean, False),
        )
        section.close()
        twin = next((other for other in found if vantage.key and other.key == vantage.key), None)
        if twin is not None:
            section.fault("key", f"{twin.name} has the same key", "one vantage, one key: or one of them votes twice")
        found.append(vantage)
    if len(found) > MOST_VANTAGES:
        server.fault("vantages", f"there are {len(found)} vantages", f"{MOST_VANTAGES} at most")
    return tuple(found)


def prove_sharing(server: Section, share: ShareSettings | None, vantages: tuple[Vantage, ...]) -> None:
    """What `share` and `vantages` say of each other."""
    if share is None or not server.sound("share", "vantages"):
        return
    if not vantages:
        server.faults.add(server.at("share"), "nobody is heard", NOBODY, warning=True)
    if share.quorum is None:
        return
    votes = len(vantages) + (share.key is None)  # a server that only listens still has a vote of its own
    if share.quorum > votes:
        what = f"a quorum of {share.quorum}, and there are {votes} votes"
        server.faults.add(server.at("share", "quorum"), what, "at most all of them; left out it is more than half")


def prove_limit(zone: Zone, faults: Faults) -> None:
    """Warns of mirrors that are so much of the zone that others can never move them."""
    share = zone.server.share if zone.server else None
    total = sum(mirror.weight for mirror in zone.mirrors)
    if share is None or not total or not faults.sound(("server",), ("mirrors",)):
        return
    heavy = [mirror for mirror in zone.mirrors if mirror.weight > share.limit * total]
    if heavy and share.limit:
        names_of = ", ".join(mirror.name for mirror in heavy)
        part = min(mirror.weight for mirror in heavy) / total
        what = f"others may move {share.limit:.0%} of the weight, and each of these is more: {names_of}"
        faults.add(("server", "share"), what, f"they are moved from limit: {math.ceil(part * 100)}% on", warning=True)


def vantage_name(text: str) -> str:
    """The name of a vantage: as a mirror's, since it stands in keys, logs and labels."""
    try:
        return names.label(text)
    except Wrong:
        hint = "small letters, digits and inner hyphens, 63 at most, such as fra1"
        raise Wrong(f"{quote(text)} cannot name a vantage", hint) from None


def share_url(text: str) -> str:
    """Where Redis or Valkey is, by TCP, TLS or a unix socket; without a password."""
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise Wrong(f"{quote(text)} is not a URL: {error}", _FORM) from None
    if parts.scheme not in SCHEMES:
        raise Wrong(f"{quote(text)} is not where Redis is", _FORM)
    if parts.password is not None:
        raise Wrong("a URL with a password, which others would read", "put it in a file of its own: password: FILE")
    if parts.query or parts.fragment:
        raise Wrong(f"{quote(text)} has a ? or #", _FORM)
    if parts.scheme == "unix":
        if parts.netloc or not parts.path.startswith("/"):
            raise Wrong(f"{quote(text)} names no socket", "three slashes: unix:///run/redis/redis.sock")
    elif not parts.hostname or port == 0 or not re.fullmatch(r"(/[0-9]{0,3})?", parts.path):
        raise Wrong(f"{quote(text)} is not where Redis is", _FORM)
    return text


def public_key(text: str) -> bytes:
    """An Ed25519 public key, as `keygen --vantage` prints it."""
    found = _KEY.fullmatch(text)
    if found is None:
        hint = "write what `mirrornet keygen --vantage FILE` printed: ed25519: and 64 digits of 0-9a-f"
        if "PRIVATE" in text:
            hint = "that is the private key; it stays on its own machine"
        raise Wrong("this is not the public key of a vantage", hint)
    return bytes.fromhex(found[1])


def percent(text: str) -> float:
    """A share of a whole in percent, such as 30%, as 0 to 1."""
    if not _PERCENT.fullmatch(text):
        raise Wrong(f"{quote(text)} is not a share in percent", "write 30%")
    value = float(text.rstrip(" %"))
    if value > 100:
        raise Wrong(f"{text} is more than all", "0% to 100%")
    return value / 100
