"""What the rest of the program may know of a mirror's health.

Only the health room makes verdicts, only whole snapshots travel: `Verdicts` maps every mirror's name to its verdict.
Two of the three lists of a ranking depend on `usable`; `lagging` mirrors stay and rank after equals.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from mirrornet.model.address import Family
from mirrornet.model.override import Override


class State(StrEnum):
    """A mirror's state.  UP, LAGGING and SLOW are used; the rest are not."""

    UP = "up"
    LAGGING = "lagging"  # behind the newest timestamp seen, for less than repository.lag
    SLOW = "slow"
    UNKNOWN = "unknown"  # never probed: not used while another is up
    DOWN = "down"
    STALE = "stale"  # lagging for longer, or its metadata is expired
    CORRUPT = "corrupt"  # a block or metadata that is not what was signed
    DRAINED = "drained"  # emptied by hand, to the last address
    FORCED_UP = "forced up"  # used by hand, whatever probes say
    FORCED_DOWN = "forced down"  # out by hand, at once


USABLE = frozenset({State.UP, State.LAGGING, State.SLOW, State.FORCED_UP})


@dataclass(frozen=True, slots=True)
class Verdict:
    """One mirror as the plan sees it.

    `promise`: seconds within which probes cannot flip `usable` (the TTL promise; at least 1).  `since`: Unix time of
    the last change of state.  `reason`: a short sentence for a person.  `rtt_ms`: last probe's time to first byte.
    `serves_select`: whether it serves the repository under the select url, and so may stand in A and AAAA (None: not
    probed).  `holds`: images it was seen to hold (None: not known, taken as all).  `families`: over which it answers,
    where that differs from the whole (None: over all that it has); `usable` if over any.

    `share`: the part of its weight that it may have, 0 to 1: less while it is drained or comes back slowly.
    `override`: what was said by hand and holds.  `lag`: seconds it has been behind the newest timestamp.
    `certificate_until`: Unix time at which its TLS certificate ends.  `barred`: askers for whom it is known to be out
    of reach, in the words of a mirror's `never` (a prefix, `AS64500`, a country, `continent:EU`), each with the reason.
    """

    state: State
    promise: float
    since: float = 0.0
    reason: str = ""
    rtt_ms: float | None = None
    serves_select: bool | None = None
    holds: frozenset[str] | None = None
    repository_version: int | None = None
    families: frozenset[Family] | None = None
    share: float = 1.0
    override: Override | None = None
    lag: float = 0.0
    certificate_until: float | None = None
    barred: Mapping[str, str] = field(default_factory=dict)

    @property
    def usable(self) -> bool:
        return self.state in USABLE

    def answers(self, family: Family) -> bool:
        """Whether it is not known to be silent over `family`."""
        return self.families is None or family in self.families


Verdicts = Mapping[str, Verdict]
