"""Mirrors that are dead for some networks only: who sees it, and who is therefore sent elsewhere.

A vantage whose network the zone file tells (`asn`, `country`) stands for that network.  Where the quorum keeps a mirror
and all vantages of an AS cannot reach it, askers of that AS are barred from it; where two vantages or more of a country
cannot, and none can, the whole country is.  One machine alone says nothing of a country.

A vantage that cannot reach much of the world is itself cut off, or lies: where it is outvoted on more than `limit` of
the zone's weight, nobody is moved because of it.  Lists are in the words of a mirror's `never`; what they do to a plan
is the plan's business.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mirrornet.health.eyes.quorum import Judged, Vote
from mirrornet.model.zone import Vantage

COUNTRY_NEEDS = 2  # vantages


def outvoted_weight(judged: Mapping[str, Judged], weights: Mapping[str, int]) -> dict[str, float]:
    """The part of the weight, 0 to 1, on which each vantage says otherwise than the quorum; "": this server."""
    total = sum(weights.get(name, 0) for name in judged) or 1
    found: dict[str, float] = {}
    for mirror, one in judged.items():
        for name in one.outvoted:
            found[name] = found.get(name, 0.0) + weights.get(mirror, 0) / total
    return found


def barred(
    judged: Mapping[str, Judged],
    vantages: Mapping[str, Vantage],
    weights: Mapping[str, int],
    limit: float,
    speaker: str = "",
) -> dict[str, dict[str, str]]:
    """By mirror: askers who cannot reach it, each with the reason.  `speaker`: the name of this server's own vote."""
    astray = {name for name, part in outvoted_weight(judged, weights).items() if part > limit * (1 + 1e-9)}
    found: dict[str, dict[str, str]] = {}
    for mirror, one in judged.items():
        if not one.verdict.usable or not one.outvoted:
            continue
        groups: dict[str, list[Vote]] = {}
        for vote in one.votes:
            vantage = vantages.get(vote.name or speaker)
            if vantage is None or vote.name in astray:
                continue
            if vantage.asn:
                groups.setdefault(f"AS{vantage.asn}", []).append(vote)
            if vantage.country:
                groups.setdefault(vantage.country, []).append(vote)
        dead = {item: _why(votes, speaker) for item, votes in sorted(groups.items()) if _dead(item, votes)}
        if dead:
            found[mirror] = dead
    return found


def _dead(item: str, votes: Sequence[Vote]) -> bool:
    needs = 1 if item.startswith("AS") and item[2:].isdigit() else COUNTRY_NEEDS
    return len(votes) >= needs and all(vote.bad for vote in votes)


def _why(votes: Sequence[Vote], speaker: str) -> str:
    names = " and ".join(vote.name or speaker for vote in votes)
    first = next((vote.verdict.reason for vote in votes if vote.verdict.reason), "")
    return f"{names} cannot reach it" + (f": {first}" if first else "")
