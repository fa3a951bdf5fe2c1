"""What mirrornet wants to reach over a link (40 ms, 200 Mbit/s), measured, beside the goal.

Besides what compare.py measures of everybody: what happens when a mirror dies or turns slow while it is read from.
Three mirrors, at 40, 40 and 90 ms.  The one that has sent most so far is killed (its connections are reset) or cut off
(nothing comes any more), or its way becomes 20 times as long.  A stall is the time that one read of the guest's took;
beside it stands the longest read of the same boot when nothing happens, for reads wait for the link, too.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import guest
from figures import percentile, table
from link import CLIENT, PLAIN, PROFILED, Link, Mount
from reads import Places, at_random
from recording import Step
from replay import replay
from tables import Records, chosen, middle

ROUND_TRIPS = (40.0, 40.0, 90.0)
RATE = 200.0
SLOWER = 20
HURT_AT = {0.0: 0.4, 5.0: 1.5}  # think time divided by: seconds into the replay


@dataclass(frozen=True, slots=True)
class Goal:
    """`measured` and `limit` in `unit`; met where it is not more than that, or not less where `least`."""

    name: str
    measured: float
    limit: float
    unit: str
    least: bool = False

    @property
    def met(self) -> bool:
        """Whether it is reached."""
        return self.measured >= self.limit if self.least else self.measured <= self.limit


def told(goals: Sequence[Goal]) -> str:
    """As a table."""
    rows = []
    for goal in goals:
        limit = f"{'at least' if goal.least else 'at most'} {goal.limit:.2f} {goal.unit}"
        rows.append([goal.name, f"{goal.measured:.2f} {goal.unit}", limit, "met" if goal.met else "missed"])
    return table(["goal", "measured", "wanted", ""], rows)


def of_tables(records: Records, plain: str, profiled: str, rtt: float, rate: float) -> list[Goal]:
    """What the records over one link (`rtt` ms, `rate` Mbit/s) say of the image without and with a profile."""
    found = []

    def goal(
        name: str, who: str, value: Callable[[dict[str, Any]], float], limit: float, unit: str, **what: Any
    ) -> None:
        measured = middle(chosen(records, who, **what), value)
        if measured is not None:
            found.append(Goal(name, measured, limit, unit))

    def ratio(record: dict[str, Any]) -> float:
        return float(record["seconds"] / record["local"])

    cold, warm = {"what": "boot", "again": False}, {"what": "boot", "again": True}
    goal("cold boot with a profile, beside local", profiled, ratio, 1.1 if rtt < 100 else 1.4, "times", **cold)
    if rtt < 100:
        goal("  seconds added", profiled, lambda one: float(one["seconds"] - one["local"]), 1.5, "s", **cold)
        goal("  received", profiled, lambda one: float(one["received"] / 1e6), 25, "MB", **cold)
        goal("cold boot without a profile, beside local", plain, ratio, 1.5, "times", **cold)
        goal("warm boot, beside local", profiled, ratio, 1.05, "times", **warm)
    for record in chosen(records, profiled, "replay", think=0.0, again=False)[-1:]:
        limit = 1.25 * record["received"] * 8 / (rate * 1e6) + 5 * rtt / 1000
        found.append(Goal("boot without think time, last byte", record["seconds"], limit, "s"))
    share = middle(chosen(records, plain, "order"), lambda one: one["received"] * 8e-4 / one["seconds"] / rate)
    if share is not None:
        found.append(Goal("64 MB in order, share of the link", share, 90, "%", least=True))
    for record in chosen(records, plain, "random")[-1:]:
        limit = 1.3 * rtt + record["received"] / len(record["took"]) * 8 / rate / 1e3
        found.append(Goal("random 4 KiB, p50", 1000 * percentile(record["took"], 0.5), limit, "ms"))
    return found


def with_trouble(steps: Sequence[Step], where: Places) -> list[Goal]:
    """What a mirror costs that dies, is cut off, or turns slow, while there are two others."""
    with Link(ROUND_TRIPS, RATE) as link:
        healthy, _ = _random_p99(link, where, lambda site: None)
        slow, extra = _random_p99(link, where, lambda site: link.network.path(CLIENT, site, rtt=SLOWER * 40))
        goals = [
            Goal(f"one mirror {SLOWER} times slower, random 4 KiB: p99 beside healthy", slow / healthy, 2, "times"),
            Goal("  extra requests then", extra, 5, "%"),
        ]
        ways: dict[str, Callable[[str], object]] = {
            "killed": lambda site: next(mirror for mirror in link.mirrors if mirror.site == site).stop(),
            "cut off": lambda site: link.network.path(CLIENT, site, cut=True),
        }
        for kind, think, words in ((PROFILED, 0.0, "profile, no think time"), (PLAIN, 5.0, "think time / 5")):
            calm = _longest(link, steps, kind, think, None)
            for name, hurt in ways.items():
                longest = _longest(link, steps, kind, think, hurt)
                what = f"mirror in use {name}, boot with {words}: longest read (undisturbed {calm:.2f} s)"
                goals.append(Goal(what, longest, 0.5, "s"))
        return goals


def _busiest(link: Link) -> str:
    """The site that has sent most to the client."""
    sent = {one: line["bytes"] for (one, other), line in link.network.counts().items() if other == CLIENT}
    return max(sent, key=lambda site: sent[site])


def _random_p99(link: Link, where: Places, hurt: Callable[[str], object]) -> tuple[float, float]:
    """p99 of random reads in seconds when the mirror in use is hurt before the first; percent of hedged requests."""
    link.heal()
    mount = Mount(link, PLAIN, link.fresh())
    try:
        at_random(mount.file, where.offsets[: len(where.offsets) // 4])  # the client knows its mirrors by now
        hurt(_busiest(link))
        before = mount.status()
        took = at_random(mount.file, where.offsets[len(where.offsets) // 4 :])
        after = mount.status()
    finally:
        mount.close()
    hedges = int(str(after["hedges"])) - int(str(before["hedges"]))
    return percentile(took, 0.99), 100 * hedges / len(took)


def _longest(link: Link, steps: Sequence[Step], kind: str, think: float, hurt: Callable[[str], object] | None) -> float:
    """Seconds of the longest read of a boot, in which the mirror in use is hurt."""
    link.heal()
    mount = Mount(link, kind, link.fresh())
    timer = threading.Timer(HURT_AT[think], lambda: hurt(_busiest(link)) if hurt else None)
    try:
        timer.start()
        return replay(mount.file, steps, think, guest.image()).longest
    finally:
        timer.join()
        mount.close()
