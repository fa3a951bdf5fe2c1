"""Items of a mirror's `only`, `prefer` and `never`: whom it serves (dns/ranking/policy.py says what they mean).

    AS2500              an AS number
    JP                  a country
    continent:EU        a continent
    203.0.113.0/24      a prefix
    RADB::AS-EXAMPLE    an as-set or route-set (RFC 2622 section 5), with the registry that it stands in

Four codes mean both a country and a continent (AF Afghanistan or Africa, AS American Samoa or Asia, NA Namibia or North
America, SA Saudi Arabia or South America), so two letters are always the country and a continent always says that it
is one.

A set without its source is refused.  It could be taken where only one registry has it, but then whoever registers the
same name in another one changes what a zone means, or makes it mean nothing.
"""

from __future__ import annotations

import re
from typing import Final

from mirrornet.config.addresses import prefix
from mirrornet.config.faults import Wrong, quote
from mirrornet.config.values import asn, country
from mirrornet.model.names import suggest
from mirrornet.model.sets import QUALIFIED

CONTINENTS: Final = {
    "AF": "Africa",
    "AN": "Antarctica",
    "AS": "Asia",
    "EU": "Europe",
    "NA": "North America",
    "OC": "Oceania",
    "SA": "South America",
}
_SET = re.compile(r"(?:[A-Z0-9._-]*::)?(?:AS[0-9]+:)*(?:AS|RS)-.*", re.IGNORECASE)
_EVERYBODY: Final = frozenset({"AS-ANY", "RS-ANY"})


def item(text: str) -> str:
    """One item, as written; its spelling is the only one its meaning has."""
    if _SET.fullmatch(text):
        return _set(text)
    if re.fullmatch(r"AS[0-9.]+", text, re.IGNORECASE):
        number = asn(text.upper())
        if text != f"AS{number}":
            raise Wrong(f"{quote(text)} is written in another way", f"did you mean AS{number}?")
        return text
    if text.startswith("continent:"):
        code = text.removeprefix("continent:")
        if code not in CONTINENTS:
            by_name = {name: short for short, name in CONTINENTS.items()}
            found = suggest(code, [*CONTINENTS, *by_name])
            raise Wrong(f"{quote(text)} is not a continent", found or "one of " + " ".join(CONTINENTS))
        return text
    if re.fullmatch(r"[A-Za-z]{2}", text):
        if text.upper() in ("EU", "OC", "AN"):
            raise Wrong(f"{quote(text)} is not a country", f"did you mean continent:{text.upper()}?")
        return country(text)
    for code, name in CONTINENTS.items():
        if name.lower() == text.lower():
            raise Wrong(f"{quote(text)} is not understood", f"did you mean continent:{code}?")
    if "/" in text or re.fullmatch(r"[0-9.]+|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*", text):
        return _prefix(text)
    hint = "an AS number (AS2500), a country (JP), continent:EU, a prefix (203.0.113.0/24) or RADB::AS-EXAMPLE"
    raise Wrong(f"{quote(text)} is not understood", f"write {hint}")


def _prefix(text: str) -> str:
    found = prefix(text)
    if not found.length:
        raise Wrong(f"{quote(text)} is everybody", "name the networks that are meant, or delete it")
    if str(found) != text:
        raise Wrong(f"{quote(text)} is written in another way", f"did you mean {found}?")
    return text


def _set(text: str) -> str:
    name = text.upper()
    if name.rpartition("::")[2] in _EVERYBODY:
        raise Wrong(f"{quote(text)} means everybody", "delete it; to serve everybody, leave `only` out")
    if "::" not in text:
        hint = f"such as RADB::{name}; registries may hold different sets of one name"
        raise Wrong(f"{quote(text)} lacks the registry it stands in", hint)
    if not QUALIFIED.fullmatch(name):
        raise Wrong(f"{quote(text)} is not the name of a set", "write RADB::AS-EXAMPLE or RADB::AS2500:RS-EXAMPLE")
    if name != text:
        raise Wrong(f"{quote(text)} is written in another way", f"did you mean {name}?")
    return text
