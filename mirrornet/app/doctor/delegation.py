"""Is the zone found at all?  What a resolver says of its name servers, and what the parent zone says.  Pure.

A zone is reached by a delegation from its parent, or by a stub that somebody's resolver was given.  Both are fine; what
is not is a resolver that finds nothing, a parent that names other servers, and glue that leads elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mirrornet.app.doctor.finding import Finding, fault, ok, warning
from mirrornet.dns.asking import NOERROR, NXDOMAIN, Reply, addresses_in, texts
from mirrornet.model.zone import Zone

Heard = Reply | str  # or why there is none
CHECK = "delegation"


@dataclass(frozen=True, slots=True)
class Parent:
    """The zone above: its name, the server of it that was asked, and what that said ("" names: none was found)."""

    name: str = ""
    server: str = ""
    heard: Heard = ""


def judge(zone: Zone, resolver: str, heard: Heard, parent: Parent) -> Iterable[Finding]:
    """`heard`: what the resolver (as a person calls it) said of the zone's NS."""
    ours = sorted(zone.nameservers)
    told = _parent(zone, ours, parent)
    found = isinstance(heard, Reply) and heard.rcode == NOERROR and bool(heard.values("NS", zone.name))
    yield from _resolver(zone, ours, resolver, heard)
    if found and told is not None and told.check == CHECK and told.mend and "no delegation" in told.what:
        mend = "fine for a private zone; for everybody else, let the parent delegate it"
        told = warning(CHECK, told.about, f"{told.what}, yet {resolver} finds the zone (by a stub?)", mend)
    if told is not None:
        yield told


def _resolver(zone: Zone, ours: Sequence[str], resolver: str, heard: Heard) -> Iterable[Finding]:
    about = f"{zone.name} through {resolver}"
    delegate = f"let the parent zone delegate it to {', '.join(ours)}, or give the resolver a stub zone"
    if isinstance(heard, str):
        yield fault(CHECK, about, heard, "name a resolver that works with --resolver")
    elif heard.rcode == NXDOMAIN:
        yield fault(CHECK, about, "there is no such zone (NXDOMAIN)", delegate)
    elif heard.rcode != NOERROR:
        mend = "none of the servers that it is delegated to answers for it: see the lines on them below"
        yield fault(CHECK, about, f"the resolver finds no answer ({heard.word})", mend)
    else:
        theirs = sorted(heard.values("NS", zone.name))
        if not theirs:
            yield fault(CHECK, about, "the name exists, but not as a zone with name servers", delegate)
        elif theirs != list(ours):
            yield warning(CHECK, about, _differ(theirs, ours), "make both lists the same; caches need a TTL to follow")
        else:
            yield ok(CHECK, about, f"found, with name servers {', '.join(theirs)}")


def _parent(zone: Zone, ours: Sequence[str], parent: Parent) -> Finding | None:
    if not parent.name:
        return ok(CHECK, zone.name, "the resolver knows no zone above it, so it is reached by a stub or not at all")
    about = f"{zone.name} in its parent {parent.name}"
    if isinstance(parent.heard, str):
        why = parent.heard or "none of its servers answers"
        return warning(CHECK, about, f"could not be asked: {why}", "ask from a network that lets DNS out")
    heard = parent.heard
    records = [*heard.answers, *heard.authority]
    theirs = sorted({r.value for r in records if r.rtype == "NS" and r.owner == zone.name})
    if not theirs:
        mend = f"have the parent's operator delegate it to {', '.join(ours)}"
        return fault(CHECK, about, f"no delegation at {parent.server} ({heard.word})", mend)
    if theirs != list(ours):
        return fault(CHECK, about, f"{parent.server} {_differ(theirs, ours)}", "have the parent's operator mend it")
    for name, addresses in zone.nameservers.items():
        glue = addresses_in(heard.additional, name)
        if glue and addresses and glue != texts(addresses):
            what = f"its glue for {name} is {', '.join(glue)}, and the zone file says {', '.join(texts(addresses))}"
            return fault(CHECK, about, what, "have the parent's operator mend the glue, or mend `nameservers`")
    return ok(CHECK, about, f"delegated to {', '.join(theirs)}")


def _differ(theirs: Sequence[str], ours: Sequence[str]) -> str:
    missing, more = sorted(set(ours) - set(theirs)), sorted(set(theirs) - set(ours))
    parts = [f"does not name {', '.join(missing)}"] if missing else []
    parts += [f"names {', '.join(more)}, which `nameservers` does not"] if more else []
    return " and ".join(parts)
