"""What one set of verdicts says of each mirror under one select, as columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mirrornet.dns.planning.ground import Flags, Floats, Numbers
from mirrornet.dns.ranking.nearest import DEMOTED, FAMILIES, LAST_RESORTS, holds_images, unable, verdict_of
from mirrornet.model.verdict import State, Verdict, Verdicts
from mirrornet.model.zone import Mirror, Select


@dataclass(frozen=True, slots=True)
class Standing:
    """The mirrors under one select and one set of verdicts, one element per mirror (sorted by name).

    `holds`: has the select's images.  `usable`, `demoted` (lagging or slow), `slow`; `resort`: number of its group in
    nearest.LAST_RESORTS.  `able`: for each family, may stand in A or AAAA.  `share`: Verdict.share.
    """

    holds: Flags
    usable: Flags
    demoted: Flags
    slow: Flags
    resort: Numbers
    able: dict[int, Flags]
    share: Floats

    def deals_as(self, other: Standing) -> bool:
        """Whether near-equals are surely the same as by `other`; lagging mirrors take part in them."""
        same = all((self.able[family] == other.able[family]).all() for family in FAMILIES)
        flags = ((self.holds, other.holds), (self.usable, other.usable), (self.slow, other.slow))
        return same and all((mine == its).all() for mine, its in flags) and bool((self.share == other.share).all())


def standing_of(select: Select, mirrors: Sequence[Mirror], verdicts: Verdicts) -> Standing:
    """Where `mirrors` stand."""
    known = [verdict_of(m.name, verdicts) for m in mirrors]
    resorts = [next((n for n, group in enumerate(LAST_RESORTS) if v.state in group), -1) for v in known]

    def flags(values: Iterable[bool]) -> Any:
        return np.array(list(values), np.bool_)

    return Standing(
        holds=flags(holds_images(m, select, v) for m, v in zip(mirrors, known, strict=True)),
        usable=flags(v.usable for v in known),
        demoted=flags(v.state in DEMOTED for v in known),
        slow=flags(v.state is State.SLOW for v in known),
        resort=np.array(resorts, np.int64),
        able={f: flags(unable(m, v, f) is None for m, v in zip(mirrors, known, strict=True)) for f in FAMILIES},
        share=np.array([v.share for v in known], np.float64),
    )


def all_up(verdicts: Verdicts, mirrors: Sequence[Mirror]) -> dict[str, Verdict]:
    """The same with every mirror up, whole and in everybody's reach; what it serves stays as it was seen."""
    found = {}
    for mirror in mirrors:
        verdict = verdict_of(mirror.name, verdicts)
        found[mirror.name] = replace(verdict, state=State.UP, share=1.0, families=None, barred={})
    return found
