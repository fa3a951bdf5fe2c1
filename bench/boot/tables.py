"""Records (measure.py) as tables: medians of the rounds, ratios taken within a round; and the goals.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from figures import number, percentile, table
from reads import STRETCH

Records = Sequence[dict[str, Any]]


def names(records: Records) -> list[str]:
    """Who was measured, in the order of their first record."""
    return list(dict.fromkeys(record["who"] for record in records))


def chosen(records: Records, who: str, what: str, **fields: object) -> list[dict[str, Any]]:
    """The records of `who` and `what` that have these values."""
    wanted = {"who": who, "what": what, **fields}
    return [record for record in records if all(record.get(key) == value for key, value in wanted.items())]


def middle(records: Records, value: Callable[[dict[str, Any]], float]) -> float | None:
    """The median of `value`; None where there are no records."""
    return median(value(record) for record in records) if records else None


def boots(records: Records) -> str:
    """The table of boots; a local boot stands beside each."""
    rows = []
    if local := [record["local"] for record in records if record["what"] == "boot"]:
        rows.append(["local file", "", number(median(local)), "", "", "", "", "", ""])
    for who in names(records):
        cold, again = (chosen(records, who, "boot", again=flag) for flag in (False, True))
        if not cold:
            continue
        rows.append(
            [
                who,
                number(middle(cold, lambda record: record["start"])),
                number(middle(cold, lambda record: record["seconds"])),
                number(middle(cold, _ratio), 2),
                number(middle(cold, _added)),
                number(middle(cold, lambda record: record["received"] / 1e6)),
                number(middle(cold, lambda record: record["requests"]), 0),
                number(middle(cold, lambda record: record["cpu"])),
                number(middle(again, _ratio), 2),
            ]
        )
    head = ["boot", "start s", "boot s", "÷ local", "s added", "MB", "requests", "CPU s", "again ÷ local"]
    return table(head, rows)


def _ratio(record: dict[str, Any]) -> float:
    return float(record["seconds"] / record["local"])


def _added(record: dict[str, Any]) -> float:
    return float(record["seconds"] - record["local"])


def replays(records: Records) -> str:
    """The table of replays; bytes, requests and CPU are of the one without think time."""
    thinks = sorted({record["think"] for record in records if record["what"] == "replay"}, key=lambda t: (not t, t))
    head = ["replay"]
    for think in thinks:
        what = {1.0: "think", 0.0: "none"}.get(think, f"think ÷ {think:.0f}")
        head += [f"s, {what}", "longest"]
    rows = []
    for who in names(records):
        cells = [who]
        for think in thinks:
            done = chosen(records, who, "replay", think=think, again=False)
            cells.append(number(middle(done, lambda record: record["seconds"]), 2))
            cells.append(number(middle(done, lambda record: record["longest"]), 3))
        without = chosen(records, who, "replay", think=0.0, again=False)
        cells.append(number(middle(without, lambda record: record["received"] / 1e6)))
        cells.append(number(middle(without, lambda record: record["requests"]), 0))
        cells.append(number(middle(without, lambda record: record["cpu"])))
        again = chosen(records, who, "replay", think=0.0, again=True)
        cells.append(number(middle(again, lambda record: record["seconds"]), 2))
        rows.append(cells)
    return table([*head, "MB", "requests", "CPU s", "s, again"], [row for row in rows if any(row[1:])])


def reads(records: Records) -> str:
    """The table of plain reads."""
    rows = []
    for who in names(records):
        order, at_random = chosen(records, who, "order"), chosen(records, who, "random")
        if not order or not at_random:
            continue
        took = [1000 * seconds for record in at_random for seconds in record["took"]]
        rows.append(
            [
                who,
                number(middle(order, lambda record: STRETCH / record["seconds"] / 1e6)),
                number(middle(order, _link_rate)),
                number(percentile(took, 0.5)),
                number(percentile(took, 0.95)),
                number(max(took)),
                number(middle(at_random, _each) or 0, 0),
            ]
        )
    return table(["read", "MB/s in order", "Mbit/s then", "4 KiB p50 ms", "p95", "longest", "KB each"], rows)


def _link_rate(record: dict[str, Any]) -> float:
    return float(record["received"] * 8 / record["seconds"] / 1e6)


def _each(record: dict[str, Any]) -> float:
    return float(record["received"] / len(record["took"]) / 1e3)
