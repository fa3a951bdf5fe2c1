"""From what these probes say and what others say to one verdict a mirror.

    bad votes ≥ needed                 out; its state is the one most of these say, the worse of equals
    else                               in use; its state is the median of those who can reach it, the better of two
    own verdict corrupt                out, whatever others say
    nobody else has a fresh word       own verdict, unchanged

`needed` is the zone's quorum, or more than half of the votes there are; where fewer votes are heard than the quorum
asks for, all of them. Votes are this server's own verdict and the fresh statements; who has not probed a mirror, or
sees nothing of the address families that it has, has no vote on it, and who is silent none at all. The rule looks at
nothing but the votes: two servers with the same votes reach the same verdict, in whatever order they have heard them.

What else decides where a mirror is answered is voted on among those who agree on its being in or out, each question
for itself: does it serve under the select url, which images does it hold, is a family silent, how much of its weight
may it have.  Round trips, reasons and versions stay this server's own: nothing in a plan depends on them.

The TTL is still a promise.  So many more votes would have to flip, each of which has promised how long it will not;
the promise is that of the last one needed, and not longer than the statements count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from mirrornet.health.eyes.observation import BOTH, Statement
from mirrornet.model.address import Family
from mirrornet.model.verdict import State, Verdict, Verdicts

HERE: Final = "here"  # this server's own vote, in sentences
FLOOR: Final = 1.0  # seconds: no promise is below this
_GOOD: Final = (State.UP, State.LAGGING, State.SLOW)  # from better to worse
_BAD: Final = (State.CORRUPT, State.STALE, State.DOWN)  # from worse to better
_ORDER: Final = {state: rank for rank, state in enumerate(_GOOD)}


@dataclass(frozen=True, slots=True)
class Vote:
    """What one vantage says of one mirror, and until when (Unix time) that counts.  `name` "": this server itself."""

    name: str
    verdict: Verdict
    at: float
    until: float
    sees: frozenset[Family] = BOTH

    @property
    def bad(self) -> bool:
        return not self.verdict.usable


@dataclass(frozen=True, slots=True)
class Judged:
    """One mirror: the verdict, and the votes it was made of; `needed` of them had to be bad."""

    verdict: Verdict
    votes: tuple[Vote, ...]
    needed: int

    @property
    def outvoted(self) -> tuple[str, ...]:
        """Who says otherwise, by name; nobody where there is one vote only."""
        return tuple(vote.name for vote in self.votes if vote.bad is self.verdict.usable)

    @property
    def margin(self) -> int:
        """How many votes there are for the verdict beyond those against it."""
        return len(self.votes) - 2 * len(self.outvoted)


@dataclass(frozen=True, slots=True)
class Heeded:
    """What a zone's votes are made of.  `life`: seconds for which a statement counts.

    `sees`: the families over which this server sees anything.  `families`: those of a mirror's addresses, where the
    zone file has addresses of it.
    """

    own: Verdicts
    statements: Mapping[str, Statement]
    now: float
    life: float
    quorum: int | None = None
    speaker: str = ""  # this server's own name among the vantages: its own statement is no second vote
    sees: frozenset[Family] = BOTH
    families: Mapping[str, frozenset[Family]] = field(default_factory=dict)

    def votes(self, mirror: str) -> tuple[Vote, ...]:
        """All votes on `mirror`, this server's own first, then by name."""
        found = []
        own = self.own.get(mirror)
        if own is not None and own.state is not State.UNKNOWN:
            found.append(Vote("", own, self.now, self.now + self.life, self.sees))
        for name in sorted(self.statements):
            said = self.statements[name]
            verdict = said.verdicts.get(mirror)
            if verdict is not None and name != self.speaker:
                found.append(Vote(name, verdict, said.at, said.at + self.life, said.sees))
        there = self.families.get(mirror)
        return tuple(vote for vote in found if not there or there & vote.sees)


def needed(votes: int, quorum: int | None) -> int:
    """So many bad votes take a mirror out."""
    return votes // 2 + 1 if quorum is None else min(quorum, votes)


def judge(heeded: Heeded) -> dict[str, Judged]:
    """Every mirror of which there is an own verdict, judged."""
    return {mirror: _judge(own, heeded.votes(mirror), heeded) for mirror, own in heeded.own.items()}


def _judge(own: Verdict, votes: tuple[Vote, ...], heeded: Heeded) -> Judged:
    limit = needed(len(votes), heeded.quorum)
    others = [vote for vote in votes if vote.name]
    if not others:
        return Judged(own, votes, limit)
    if own.state is State.CORRUPT:  # nobody is outvoted who has not met the bad block
        return Judged(own, tuple(vote for vote in votes if vote.bad), 1)
    bad = [vote for vote in votes if vote.bad]
    good = [vote for vote in votes if not vote.bad]
    if len(bad) >= limit:
        state = _most(bad)
        sides, flips = (bad, good), len(bad) - limit + 1
    else:
        state = sorted((vote.verdict.state for vote in good), key=_ORDER.__getitem__)[(len(good) - 1) // 2]
        sides, flips = (good, bad), limit - len(bad)
    agreeing = sides[0]
    verdict = replace(
        own,
        state=state,
        promise=_promise(agreeing, flips, votes, heeded.now),
        since=own.since if own.state is state else _since(agreeing, 1 if state in _ORDER else limit),
        reason=_reason(own, sides),
        serves_select=_select(agreeing),
        holds=_holds(agreeing),
        families=_families(agreeing, heeded.quorum),
        share=_median([vote.verdict.share for vote in agreeing]),
        lag=_median([vote.verdict.lag for vote in agreeing]),
    )
    return Judged(verdict, votes, limit)


def _most(bad: Sequence[Vote]) -> State:
    counted = Counter(vote.verdict.state for vote in bad)
    return max(_BAD, key=lambda state: (counted[state], -_BAD.index(state)))


def _promise(agreeing: Sequence[Vote], flips: int, votes: Sequence[Vote], now: float) -> float:
    left = sorted(vote.verdict.promise - (now - vote.at) for vote in agreeing)
    expiry = min(vote.until for vote in votes) - now
    return max(FLOOR, min(left[min(flips, len(left)) - 1], expiry))


def _since(agreeing: Sequence[Vote], at_least: int) -> float:
    """When so many of those who agree had come to what they say."""
    return sorted(vote.verdict.since for vote in agreeing)[min(at_least, len(agreeing)) - 1]


def _reason(own: Verdict, sides: tuple[Sequence[Vote], Sequence[Vote]]) -> str:
    """A sentence: what was found, by whom, and who says otherwise."""
    agreeing, against = sides
    if not against and own.reason:
        return own.reason
    telling = next((vote for vote in agreeing if vote.verdict.reason), None)
    what = "" if telling is None else telling.verdict.reason
    if telling is not None and telling.name:
        what = f"{telling.name}: {what}"
    if not against:
        return what
    names = ", ".join(f"{vote.name or HERE} ({vote.verdict.state})" for vote in against)
    split = f"{len(agreeing)} of {len(agreeing) + len(against)} eyes; not {names}"
    return f"{what}; {split}" if what else split


def _median(values: Sequence[float]) -> float:
    """The middle value, the less of two."""
    return sorted(values)[(len(values) - 1) // 2]


def _select(agreeing: Sequence[Vote]) -> bool | None:
    """What most of them say, who do not know included; of equals rather yes, and rather nothing than no."""
    counted = Counter(vote.verdict.serves_select for vote in agreeing)
    return max((True, None, False), key=lambda told: counted[told])


def _holds(agreeing: Sequence[Vote]) -> frozenset[str] | None:
    told = [vote.verdict.holds for vote in agreeing]
    lists = [one for one in told if one is not None]
    if 2 * len(lists) <= len(told):
        return None
    seen = frozenset().union(*lists)
    return frozenset(one for one in seen if 2 * sum(held is None or one in held for held in told) >= len(told))


def _families(agreeing: Sequence[Vote], quorum: int | None) -> frozenset[Family] | None:
    """Over which families it answers: without those of which so many who would know say that they are silent."""
    silent = set()
    for family in BOTH:
        told = [vote.verdict.families for vote in agreeing if family in vote.sees]
        mute = sum(held is not None and family not in held for held in told)
        if told and mute >= needed(len(told), quorum):
            silent.add(family)
    left = BOTH - silent
    return left if silent and left else None
