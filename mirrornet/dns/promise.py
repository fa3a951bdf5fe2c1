"""The TTL of an answer: how long its mirrors' verdicts are sure to stand.

A verdict comes with a promise: for so many seconds no probe can flip it.  An answer may be kept for as long as none of
its mirrors can leave it, and no mirror that is out can come back into it, at most for the select's own ttl.  An answer
that had to be given although its mirrors are unusable (fail open) lives for one second.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

from mirrornet.dns.nearest import has_family, holds_images, verdict_of
from mirrornet.model.address import Family
from mirrornet.model.verdict import Verdict, Verdicts
from mirrornet.model.zone import Mirror, Select

MINIMUM = 1  # seconds


def answer_ttl(ceiling: int, answer: Iterable[Verdict], others: Iterable[Verdict]) -> int:
    """Whole seconds, from 1 to `ceiling`, for an answer with the mirrors of `answer`.

    `others`: the mirrors that could come into it; only the unusable among them count, for a usable one that stays out
    today stays out until the plan changes.
    """
    inside = list(answer)
    if not inside or any(not verdict.usable for verdict in inside):
        return MINIMUM
    waiting = (verdict for verdict in others if not verdict.usable)
    shortest = min((verdict.promise for verdict in chain(inside, waiting)), default=float(ceiling))
    return max(MINIMUM, int(min(float(ceiling), shortest)))


def contenders(
    select: Select, mirrors: Iterable[Mirror], verdicts: Verdicts, family: Family | None = None
) -> list[str]:
    """The mirrors that could stand in an answer under `select` (of `family`: in A or AAAA), usable or not, by name."""
    return [
        mirror.name
        for mirror in mirrors
        if holds_images(mirror, select, verdict_of(mirror.name, verdicts))
        and (family is None or has_family(mirror, family))
    ]
