"""An explanation for a person: first what he gets, then where he is, then each mirror, then each answer.

Whoever reads it has been woken up by somebody for whom it is slow.  So the first line after the name is the answer, a
reason stands beside what it is the reason of, and what says nothing is left out.  On a narrow terminal long lines are
broken under their own beginning, and a mirror's reason goes below it; nothing is cut off.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from typing import Final

from mirrornet.dns.explain import Answer, Explanation, Line
from mirrornet.model.units import format_overload

WIDEST: Final = 10_000  # for a pipe: a line is a line
NARROWEST: Final = 40
_NAMES_SHOWN: Final = 3


def text(explanation: Explanation, width: int = WIDEST) -> str:
    """For a person whose terminal has `width` columns."""
    e = explanation
    lines = [f"{e.select} for {e.address}" + (f", which carries {e.carries}" if e.carries else ""), ""]
    for word, said in (*_summary(e), *_place(e), *_notes(e)):
        lines += _broken(f"  {word:9}", said, width)
    lines += ["", "  mirrors", *_mirrors(e, width), "", "  answers"]
    for answer in e.answers:
        lines += _answer(answer, width)
    return "\n".join(lines)


def _broken(head: str, said: str, width: int) -> list[str]:
    """`head` and `said`, broken into lines that begin below `said`."""
    return textwrap.wrap(
        said,
        max(width, NARROWEST),
        initial_indent=head,
        subsequent_indent=" " * len(head),
        break_long_words=False,
        break_on_hyphens=False,
    ) or [head.rstrip()]


def _summary(e: Explanation) -> Iterable[tuple[str, str]]:
    for number, rtype in enumerate(("A", "AAAA", "URI")):
        names = [m.name for m in e.mirrors if rtype in m.stands_in]
        shown = ", ".join(names[:_NAMES_SHOWN])
        more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
        yield "" if number else "gets", f"{rtype:5}{shown or 'nothing'}{more}"


def _place(e: Explanation) -> Iterable[tuple[str, str]]:
    country = f"{e.country_name} ({e.country})" if e.country_name else e.country or "country unknown"
    where = [f"AS{e.asn}" if e.asn else "origin unknown", country]
    if e.latitude is not None and e.longitude is not None:
        where.append(_coordinates(e.latitude, e.longitude) + (f" within {e.radius_km} km" if e.radius_km else ""))
    yield "place", ", ".join(where)
    if e.prefix:
        sure = ", RPKI valid" if e.rpki_valid else ""
        sure += "; registries name other origins of it, too" if e.several_origins else ""
        yield "", f"from {e.prefix} of {e.source or 'the map'}{sure}"
    else:
        yield "", "no route covers it" if e.country else "no prefix matches"
    if e.country:
        yield "", f"country from {e.country_from}"
    if e.latitude is not None:
        yield "", f"coordinates from {e.coordinates_from}"
    if e.anycast:
        yield "", "anycast: announced from many places, so coordinates mean nothing"
    if e.anywhere:
        yield "", "so distance says nothing: the mirrors below are spread over the world"


def _notes(e: Explanation) -> Iterable[tuple[str, str]]:
    if e.last_resort:
        yield "WARNING", "no mirror is usable: the best of the others are answered anyway, with the shortest TTL"
    if times := format_overload(e.overload):
        yield "WARNING", f"the mirrors that are left carry up to {times} what `health: spill` lets them"
    if e.assumed_up:
        yield "NOTE", "no verdicts found (is `mirrornet serve` running with this state?): all taken as up"
    for number, line in enumerate(f"{m.name} {m.shed}" for m in e.mirrors if m.shed):
        yield "" if number else "shifted", line
    policy = [f"{m.name} {m.policy}" for m in e.mirrors if m.policy] + [f"NOTE {fact}" for fact in e.sets]
    for number, line in enumerate(policy):
        yield "" if number else "policy", line


def _mirrors(e: Explanation, width: int) -> list[str]:
    rows = [
        (
            str(m.rank) if m.rank else "-",
            m.name,
            "-" if e.anywhere else f"{m.ms:.1f} ms",
            m.state,
            " ".join(m.stands_in) or "none",
            m.why,
        )
        for m in e.mirrors
    ]
    head = ("rank", "mirror", "estimate", "state", "stands in", "why")
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head) - 1)]
    detail = " " * (6 + widths[0])
    lines = []
    for row, mirror in zip((head, *rows), (None, *e.mirrors), strict=True):
        cells = "  ".join(cell.ljust(size) for cell, size in zip(row, widths, strict=False))
        whole = f"    {cells}  {row[-1]}"
        if len(whole) <= width:
            lines.append(whole)
        else:
            lines.append(f"    {cells}".rstrip())
            lines += _broken(detail, row[-1], width) if mirror is not None else []
        if mirror is not None:
            for said in _details(mirror, e):
                lines += _broken(detail, said, width)
    return lines


def _details(mirror: Line, e: Explanation) -> Iterable[str]:
    if not e.anywhere:
        yield mirror.terms
    if mirror.verdict and not e.assumed_up:
        yield f"{mirror.state}: {mirror.verdict}"
    if mirror.rank:
        reasons: dict[str, list[str]] = {}
        for rtype, reason in mirror.absent.items():
            reasons.setdefault(reason, []).append(rtype)
        for reason, types in reasons.items():
            yield f"not in {' and '.join(types)}: {reason}"


def _answer(answer: Answer, width: int) -> list[str]:
    lines = [f"    {answer.owner} {answer.rtype}"]
    lines += [f"        {record}" for record in answer.records] or ["        no records (NODATA)"]
    if answer.records:
        lines += _broken("        ", f"TTL {answer.ttl} s: {answer.ttl_because}", width)
        if answer.block:
            said = f"scope /{answer.scope}: all of {answer.block} gets this answer"
            lines += _broken("        ", said, width)
    return lines


def _coordinates(latitude: float, longitude: float) -> str:
    north = f"{abs(latitude):.2f}° {'N' if latitude >= 0 else 'S'}"
    return f"{north} {abs(longitude):.2f}° {'E' if longitude >= 0 else 'W'}"
