"""Write into docs/health.md what the program itself decides by: the table, its diagram, the names, the figures.

    python scripts/make_health.py

Between two lines `<!-- made by scripts/make_health.py: PART -->` and `<!-- end -->` stands what this script makes of
mirrornet/health/; the rest of the page is written by hand.  A test holds the page equal to what would be made.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from mirrornet.health.rule import damping, pace, schedule, state
from mirrornet.health.rule.outcome import Kind
from mirrornet.health.rule.table import EVIDENCE, NAMES, TABLE, Level, Rule
from mirrornet.model.units import format_duration
from mirrornet.model.zone import HealthSettings

PAGE = Path(__file__).resolve().parents[1] / "docs" / "health.md"
PART = re.compile(r"(<!-- made by scripts/make_health.py: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
SEEN = {
    Kind.OK: "all that was asked for is whole and signed, and the timestamp is the newest there is",
    Kind.LAGGING: "the same, but the timestamp has been behind the newest for less than `repository.lag`",
    Kind.BLIND: "this machine has no route to any address (one family alone is left out)",
    Kind.FAILED: "no answer in time, a wrong status, a block that is not there",
    Kind.STALE: "behind for longer, or the metadata is expired",
    Kind.CORRUPT: "bytes that are not what was signed or named",
}


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _needed(rule: Rule) -> str:
    return "at once" if rule.threshold == "one" else f"`{rule.threshold}` {rule.counts} ones"


def _goes(level: Level, rule: Rule) -> str:
    if rule.to is level and rule.barred is None:
        return "stays, and what was bad is forgiven"
    return rule.to if rule.barred is None else f"{rule.to}; {rule.barred} while something stands against it"


def evidence() -> str:
    """What a probe can find, and what that counts as."""
    return _table(("a probe finds", "which means", "and is"), [(k, SEEN[k], EVIDENCE[k]) for k in Kind])


def rule() -> str:
    """TABLE, row by row."""
    rows = []
    for (level, found), row in TABLE.items():
        stays = row.counts is None
        rows.append((level, found, "" if stays else _needed(row), "stays" if stays else _goes(level, row)))
    return _table(("it is", "a probe is", "how many", "it goes"), rows)


def diagram() -> str:
    """TABLE as a diagram of states; who stays where it is has no arrow."""
    arrows: dict[tuple[Level, Level], list[str]] = {}
    for (level, found), row in TABLE.items():
        if row.to is not level and row.counts is not None:
            said = f"{found}, {_needed(row).replace('`', '')}"
            arrows.setdefault((level, row.to), []).append(said)
        if row.barred is not None and row.barred is not level:
            said = f"{found}, {_needed(row).replace('`', '')}, but held or unproven"
            arrows.setdefault((level, row.barred), []).append(said)
    lines = [f"    {one} --> {other}: {' / '.join(said)}" for (one, other), said in arrows.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", "    [*] --> unknown", *lines, "```", ""])


def names() -> str:
    """What a mirror is called, by level and by what the last probe found."""
    rows = [(level, kind, NAMES[level, kind]) for level in Level for kind in Kind if (level, kind) in NAMES]
    return _table(("it is", "the last probe found", "it is called"), rows)


def figures() -> str:
    """The constants, each beside its module, and the defaults of the zone file."""
    own = HealthSettings()
    rows = [
        ("`interval`, `timeout`", f"{format_duration(own.interval)}, {format_duration(own.timeout)}", "zone file"),
        ("`up`, `ok`, `down`", f"{own.up}, {own.ok}, {own.down}", "zone file"),
        ("`damping`: what is owed halves in", format_duration(own.damping), "zone file (90 intervals)"),
        ("`ramp`: back to full weight in", "at once" if not own.ramp else format_duration(own.ramp), "zone file"),
        ("owed above which it is held", f"{damping.CUT:g} outages", "damping.py"),
        ("owed at which it may come back", f"{damping.REUSE:g} outage", "damping.py"),
        ("owed at most", f"{damping.CEILING:g} outages", "damping.py"),
        ("slow: times what is usual, and beyond it", f"{pace.TIMES:g}, {pace.BEYOND_MS:g} ms", "pace.py"),
        ("slow for anybody", f"{pace.ALWAYS_MS:g} ms and half of the timeout", "pace.py"),
        ("`usual` follows within", format_duration(pace.FOLLOWS), "pace.py"),
        ("`usual` of a slow mirror follows within", format_duration(pace.FOLLOWS_SLOW), "pace.py"),
        ("blocks that a liar has to show whole", f"{state.AUDIT}, or all that are known", "state.py"),
        ("of them in one probe", f"{state.AUDIT_STEP}", "state.py"),
        ("probes that look like a client", f"{schedule.DISGUISED:.0%}", "schedule.py"),
        ("Retry-After is believed up to", f"{schedule.PATIENCE} intervals", "schedule.py"),
        ("floor of a TTL", f"{state.FLOOR:g} s", "state.py"),
        ("by which mirrors' TTLs are kept apart", f"up to {state.EARLY:.0%}, from {state.APART:g} s on", "state.py"),
        ("a certificate's end is worth a word from", format_duration(state.CERTIFICATE), "state.py"),
    ]
    return _table(("what", "how much", "where"), rows)


PARTS = {"evidence": evidence, "rule": rule, "diagram": diagram, "names": names, "figures": figures}


def made(page: str) -> str:
    """`page` with each part as it should be."""
    return PART.sub(lambda found: f"{found[1]}{PARTS[found[2]]()}{found[3]}", page)


if __name__ == "__main__":
    PAGE.write_text(made(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
