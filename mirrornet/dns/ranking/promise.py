"""The TTL of an answer: how long its mirrors' verdicts are sure to stand.

A verdict comes with a promise: for so many seconds no probe can flip it.  An answer may be kept for as long as none of
its mirrors can leave it, and no mirror that is out can come back into it, at most for the select's own ttl.  An answer
that had to be given although its mirrors are unusable (fail open) lives for one second.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from mirrornet.dns.ranking.nearest import NEVER_PROBED, has_family, holds_images, under_url, verdict_of
from mirrornet.model.address import Family
from mirrornet.model.verdict import Verdict, Verdicts
from mirrornet.model.zone import Mirror, Select

MINIMUM = 1  # seconds


def answer_ttl(ceiling: int, answer: Iterable[Verdict], others: Iterable[Verdict]) -> int:
    """Whole seconds, from 1 to `ceiling`, for an answer with the mirrors of `answer`; `others` could come into it."""
    inside = list(answer)
    if not inside or any(not verdict.usable for verdict in inside):
        return MINIMUM
    shortest = min(verdict.promise for verdict in chain(inside, others))
    return max(MINIMUM, int(min(float(ceiling), shortest)))


def waiting(select: Select, mirrors: Iterable[Mirror], verdicts: Verdicts, family: Family | None = None) -> list[str]:
    """The mirrors that only a verdict keeps out of answers under `select` (of `family`: of A or AAAA), by name.

    That is an unusable one, one that was seen without the images, and one that was seen not to serve under the select
    url.  One that stays out for another reason does so until the plan changes.
    """
    return [
        mirror.name
        for mirror in mirrors
        if (family is None or has_family(mirror, family))
        and (mirror.holds is None or holds_images(mirror, select, NEVER_PROBED))
        and _kept_out(mirror, select, verdict_of(mirror.name, verdicts))
    ]


def _kept_out(mirror: Mirror, select: Select, verdict: Verdict) -> bool:
    hidden = bool(mirror.addresses) and (not under_url(mirror, verdict) or verdict.families is not None)
    return not verdict.usable or not holds_images(mirror, select, verdict) or hidden
