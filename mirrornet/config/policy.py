"""Items of a mirror's `only`, `prefer` and `never`: whom it serves.

Three kinds are obeyed now: an ASN (`AS2500`), a country (`JP`), a continent (`continent:EU`).  Four codes mean both a
country and a continent (AF Afghanistan or Africa, AS American Samoa or Asia, NA Namibia or North America, SA Saudi
Arabia or South America), so two letters are always the country and a continent always says that it is one.

Prefixes, as-sets and route-sets (RFC 2622 section 5) are recognised and refused by name until their expansion exists:
to ignore one would send a sponsor's traffic to strangers.
"""

from __future__ import annotations

import re
from typing import Final

from mirrornet.config.addresses import prefix
from mirrornet.config.faults import Wrong, quote
from mirrornet.config.values import asn, country
from mirrornet.model.names import suggest

CONTINENTS: Final = {
    "AF": "Africa",
    "AN": "Antarctica",
    "AS": "Asia",
    "EU": "Europe",
    "NA": "North America",
    "OC": "Oceania",
    "SA": "South America",
}
_SET = re.compile(r"(?:[A-Z0-9-]+::)?(?:AS[0-9]+:)*(?:AS|RS)-[A-Z0-9_-]+(?::[A-Z0-9_:-]+)?", re.IGNORECASE)
_NOT_YET = "this version does not apply {} yet: use AS numbers, countries and continents"


def item(text: str) -> str:
    """One item, as written; its spelling is the only one its meaning has."""
    if _SET.fullmatch(text):
        kind = "route-sets" if re.search(r"(?:^|:)RS-", text, re.IGNORECASE) else "as-sets"
        raise Wrong(f"{quote(text)}: " + _NOT_YET.format(kind))
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
    try:
        prefix(text)
    except Wrong:
        hint = "write an AS number (AS2500), a country (JP) or a continent (continent:EU)"
        raise Wrong(f"{quote(text)} is not understood", hint) from None
    raise Wrong(f"{quote(text)}: " + _NOT_YET.format("prefixes"))
