"""How much of a zone's weight others may move: by what they see, and by what their operators say by hand.

Keys are stolen and programs have bugs.  Compared with what this server sees, and what is said by hand on this server,
all others together may take away from mirrors, or give to them, at most `limit` of the weight of all the zone's
mirrors.  What would be moved first is what the votes are surest of, then by name: so servers that see the same bound it
in the same way.  Where the bound stops a mirror, it stays as it is here, and says so.

A zone of three equal mirrors is not moved by others at 30 %: one mirror is a third.  That is what a bound of 30 % says;
its operator can raise it, and `check` tells him from where on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mirrornet.model.verdict import Verdict, Verdicts


@dataclass(frozen=True, slots=True)
class Bounded:
    """`moved`: the part of the weight that others moved, 0 to 1.  `stopped`: mirrors that they could not move."""

    verdicts: Verdicts
    moved: float
    stopped: tuple[str, ...] = ()


def effect(verdict: Verdict) -> float:
    """The part of its weight that a mirror has under `verdict`."""
    return verdict.share if verdict.usable else 0.0


def bound(
    base: Verdicts, wished: Verdicts, weights: Mapping[str, int], limit: float, margins: Mapping[str, int]
) -> Bounded:
    """`wished` as far as it moves at most `limit` of all weight away from `base`.

    `margins`: how sure the votes are of each mirror.  A mirror that is not in `base` is new, and not moved.
    """
    total = sum(weights.get(name, 0) for name in wished) or 1
    room = limit * total * (1 + 1e-9)
    moves = {
        name: weights.get(name, 0) * abs(effect(verdict) - effect(base[name]))
        for name, verdict in wished.items()
        if name in base
    }
    found, moved, stopped = dict(wished), 0.0, []
    for name in sorted((one for one in moves if moves[one] > 0), key=lambda one: (-margins.get(one, 0), one)):
        if moved + moves[name] <= room:
            moved += moves[name]
            continue
        stopped.append(name)
        why = f"others say {wished[name].state}, but may move {limit:.0%} of the weight at most"
        reason = base[name].reason
        found[name] = replace(base[name], reason=f"{reason}; {why}" if reason else why)
    return Bounded(found, moved / total, tuple(sorted(stopped)))
