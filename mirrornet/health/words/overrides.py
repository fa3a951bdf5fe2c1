"""What an operator's word makes of a verdict.  Pure; the time is an argument.

    drain        the share goes down in steps, to nothing: then the mirror is DRAINED and out
    force-down   out, at once
    force-up     in, whatever probes, certificates and other eyes say; only an address cannot be had by force
    (auto)       no override: the probes' own verdict

A drain goes by a grid of ten seconds that all clocks share, its first step at once.  So verdicts change, and plans are
made, at most once in ten seconds however many mirrors are drained, and servers that know of the same override give the
same answers in the same ten seconds without asking each other.  In `at` stands when a word was given, in `until` when
it ends by itself; nothing else is remembered, so a restart in the middle of a drain goes on in the middle.

The TTL is a promise about probes.  By hand a mirror leaves when the hand says so, and caches follow within the TTL
they were given.  What can be kept is kept: a verdict by hand stands until it expires, and towards the end of a drain
TTLs shrink to nothing with it.

`force-up` believes the operator about the mirror, not about what is on it: images that a probe found missing stay
missing, for a client sent there could only come back empty-handed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

from mirrornet.model.override import Action, Held, Override
from mirrornet.model.verdict import State, Verdict, Verdicts

STEP: Final = 10.0  # seconds between two steps of a drain: each is a plan, and moves addresses
FLOOR: Final = 1.0  # seconds: no promise is below this


def share(override: Override, now: float) -> float:
    """The part of its weight that a mirror may still have, 0 to 1.  1 for what is no drain."""
    if override.action is not Action.DRAIN:
        return 1.0
    if override.rate <= 0:
        return 0.0
    steps = max(1, math.floor(now / STEP) - math.floor(override.at / STEP) + 1)
    return max(0.0, round(1.0 - steps * _taken(override), 9))


def emptied(override: Override) -> float:
    """The Unix time at which a drain has taken everything."""
    if override.rate <= 0:
        return override.at
    steps = math.ceil(round(1.0 / _taken(override), 6))
    return override.at if steps <= 1 else (math.floor(override.at / STEP) + steps - 1) * STEP


def _taken(override: Override) -> float:
    """The part of the weight that one step takes."""
    return override.rate / 100 * STEP / 60


def next_change(overrides: Iterable[Override], now: float) -> float:
    """The first Unix time after `now` at which `apply` says something else by itself; inf where it never does."""
    times = [math.inf]
    for override in overrides:
        if override.until is not None and override.until > now:
            times.append(override.until)
        if override.action is Action.DRAIN and override.holds(now) and share(override, now) > 0:
            times.append((math.floor(now / STEP) + 1) * STEP)
    return min(times)


def apply(verdicts: Mapping[str, Verdicts], held: Held, now: float) -> dict[str, Verdicts]:
    """The verdicts by zone and mirror as they are to be answered by.  Overrides of mirrors that are not there rest."""
    found: dict[str, Verdicts] = {}
    for zone, mirrors in verdicts.items():
        told = {}
        for name, verdict in mirrors.items():
            override = held.get((zone, name))
            if override is not None and override.action is not Action.AUTO and override.holds(now):
                verdict = overridden(verdict, override, now)
            told[name] = verdict
        found[zone] = told
    return found


def overridden(verdict: Verdict, override: Override, now: float) -> Verdict:
    """`verdict`, which is that of probes, under an override that holds."""
    match override.action:
        case Action.DRAIN if (left := share(override, now)) > 0:
            part = f"{_percent(left)} of its weight left"
            return replace(
                verdict,
                share=verdict.share * left,
                promise=max(FLOOR, min(verdict.promise, emptied(override) - now)),
                reason=f"{described(override)}: {part}; probes: {_by_probes(verdict)}",
                override=override,
            )
        case Action.DRAIN:
            state, since = State.DRAINED, max(override.at, emptied(override))
        case Action.FORCE_UP:
            state, since = State.FORCED_UP, override.at
            select = None if verdict.serves_select is False else verdict.serves_select
            verdict = replace(verdict, serves_select=select, families=None, barred={})
        case _:
            state, since = State.FORCED_DOWN, override.at
    by_hand = replace(
        verdict,
        state=state,
        since=since,
        reason=f"{described(override)}; probes: {_by_probes(verdict)}",
        override=override,
        share=1.0 if state is State.FORCED_UP else 0.0,
    )
    return replace(by_hand, promise=_promise(verdict, by_hand, override, now))


def _promise(verdict: Verdict, by_hand: Verdict, override: Override, now: float) -> float:
    """Until the override expires; and beyond, where probes say the same."""
    left = math.inf if override.until is None else override.until - now
    return max(FLOOR, left, verdict.promise if verdict.usable is by_hand.usable else 0.0)


def _by_probes(verdict: Verdict) -> str:
    return f"{verdict.state}, {verdict.reason}" if verdict.reason else str(verdict.state)


def described(override: Override) -> str:
    """One override in words: "drain by alice of ns2, 10 % a minute, until 2026-11-23 18:00:00 UTC (new disks)"."""
    words = str(override.action)
    if override.author:
        words += f" by {override.author}"
    if override.origin:
        words += f" of {override.origin}"
    if override.action is Action.DRAIN:
        words += f", {override.rate:g} % a minute" if override.rate > 0 else ", all at once"
    if override.until is not None:
        words += f", until {moment(override.until)}"
    return f"{words} ({override.why})" if override.why else words


def moment(at: float) -> str:
    """A Unix time for a person."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _percent(part: float) -> str:
    return f"{part * 100:.3g} %"
