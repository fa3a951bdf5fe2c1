"""A simulation for a person: what matters first, nothing wider than 80 columns while names are short."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from mirrornet.dns.simulate.compare import NOBODY, DualStack, Estimates, FamilyChange, Flow, Load, Simulation
from mirrornet.dns.simulate.scopes import Scope
from mirrornet.model.units import format_overload

ROWS: Final = 12  # of flows, and of mirrors, that are shown; JSON has all
BAR: Final = 30  # characters for all addresses
_BANDS: Final = {4: (0, 8, 12, 16, 20, 22, 24, 32), 6: (0, 16, 24, 28, 32, 40, 48, 56, 64)}
_SHOWN: Final = (("A", 4), ("AAAA", 6), ("URI", 4), ("URI", 6))


def text(simulation: Simulation) -> str:
    """All of `simulation` but what only a program wants."""
    lines = [simulation.select]
    for one in simulation.families:
        lines += ["", *_family(one, simulation)]
    lines += _crowd(simulation)
    counted = []
    for answers in simulation.answers:
        counted.append(f"{answers.rtype} {_pair(simulation.changes, answers.classes_before, answers.classes_after)}")
    lines += ["", "  different answers: " + ", ".join(counted)]
    for rtype, family in _SHOWN:
        scopes = next((a.scopes.get(family, ()) for a in simulation.answers if a.rtype == rtype), ())
        if scopes:
            lines += ["", *_histogram(rtype, family, scopes, simulation.clients)]
    if not simulation.families:
        lines += ["", "  nobody counts: no address of the table or of the list"]
    return "\n".join(lines)


def percent(share: float) -> str:
    """A share as "12.3 %"; what is there but too little to show is "<0.1 %"."""
    return "<0.1 %" if 0 < share < 0.0005 else f"{share * 100:.1f} %"


def _crowd(simulation: Simulation) -> Iterable[str]:
    over = format_overload(simulation.overload)
    if simulation.full or over:
        yield ""
    if over:
        yield f"  OVERLOAD: up to {over} what `health: spill` allows"
    for one in simulation.full[:ROWS]:
        load = f"{percent(one.load)} of the load (usually {percent(one.usual)})"
        yield f"  full: {one.mirror}, {load}, keeps those within {one.within_ms:.0f} ms"
    if len(simulation.full) > ROWS:
        yield f"  and {len(simulation.full) - ROWS} more are full (--json has them)"


def _family(one: FamilyChange, simulation: Simulation) -> list[str]:
    unit = "listed clients" if simulation.clients else "addresses" if one.family == 4 else "/48s"
    changes = simulation.changes
    lines = []
    if changes:
        lines.append(f"  IPv{one.family}: {percent(one.moved)} of {one.weight:,.0f} {unit} move")
        lines += _flows(one.flows)
    else:
        lines.append(f"  IPv{one.family}: {one.weight:,.0f} {unit}")
    lines += _loads(one.loads, changes)
    lines += [f"    {line}" for line in _estimates(one.before, one.after, changes)]
    if one.unplaced:
        lines.append(f"    {percent(one.unplaced)} have no place (`anywhere`)")
    lines += _dual_stack(one.dual_stack)
    return lines


def _flows(flows: Sequence[Flow]) -> Iterable[str]:
    rows = [
        (
            percent(flow.share),
            f"{flow.source or 'nobody'} → {flow.target or 'nobody'}",
            f"{flow.ms_before:.0f} → {flow.ms_after:.0f} ms"
            if flow.ms_before is not None and flow.ms_after is not None
            else "no estimate",
        )
        for flow in flows[:ROWS]
    ]
    width = max((len(row[1]) for row in rows), default=0)
    for share, way, ms in rows:
        yield f"    {share:>7}  {way:<{width}}  {ms}"
    if len(flows) > ROWS:
        rest = sum(flow.share for flow in flows[ROWS:])
        yield f"    {percent(rest):>7}  in {len(flows) - ROWS} smaller moves (--json has them)"


def _loads(loads: Sequence[Load], changes: bool) -> Iterable[str]:
    loads = [one for one in loads if one.before or one.after or one.weight]
    busy = sorted(loads, key=lambda one: (-abs(one.after - one.before), -max(one.before, one.after), one.mirror))
    shown = sorted(busy[:ROWS], key=lambda one: (-max(one.before, one.after), one.mirror))
    width = max((len(one.mirror) for one in shown), default=0)
    width = max(width, len("load of"))
    head = ("now", "then") if changes else ("share",)
    yield f"    {'load of':<{width}}" + "".join(f"{word:>9}" for word in (*head, "weight"))
    for one in shown:
        shares = (one.before, one.after) if changes else (one.after,)
        weight = "-" if one.weight is None else percent(one.weight)
        yield f"    {one.mirror or NOBODY:<{width}}" + "".join(f"{word:>9}" for word in (*map(percent, shares), weight))
    if len(loads) > ROWS:
        yield f"    and {len(loads) - ROWS} more (--json has them)"


def _estimates(before: Estimates, after: Estimates, changes: bool) -> Iterable[str]:
    if after.mean is None or after.p95 is None:
        yield "estimate: none, for no place says anything about distance"
    elif changes and before.mean is not None and before.p95 is not None:
        within = f"95 % within {before.p95:.0f} → {after.p95:.0f} ms"
        yield f"estimate: {before.mean:.1f} → {after.mean:.1f} ms on average, {within}"
    else:
        yield f"estimate: {after.mean:.1f} ms on average, 95 % within {after.p95:.0f} ms"


def _dual_stack(loss: DualStack) -> Iterable[str]:
    if loss.share:
        yield f"    dual stack: {percent(loss.share)} have an AAAA answer farther than their A answer;"
        yield f"    a plain client prefers AAAA and loses {loss.mean:.0f} ms on average, {loss.worst:.0f} ms at worst"


def _histogram(rtype: str, family: int, scopes: Sequence[Scope], clients: bool) -> Iterable[str]:
    who = "clients" if clients else "addresses" if family == 4 else "/48s"
    yield f"  scopes of {rtype} for IPv{family}: share of {who}; blocks to keep"
    bands = _BANDS[family]
    rows = []
    low = 0
    for high in bands:
        inside = [scope for scope in scopes if low <= scope.length <= high]
        if inside:
            name = f"/{high}" if low == high else f"/{low}-{high}"
            rows.append((name, sum(s.share for s in inside), sum(s.blocks for s in inside)))
        low = high + 1
    for name, share, blocks in rows:
        yield f"    {name:<7} {percent(share):>7}  {'#' * round(share * BAR):<{BAR}} {blocks:>11,}"


def _pair(changes: bool, before: int, after: int) -> str:
    return f"{before:,} → {after:,}" if changes else f"{after:,}"
