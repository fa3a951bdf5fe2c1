"""A mark for each state: a shape, a colour and a word, so that nobody has to tell colours apart.  Pure.

Shapes are drawn around (0, 0) in a square of 24, once a page, as SVG symbols; the map, its legend and the table use
the same.  What is used is round or pointed and filled; what is out has a cross, a corner or nothing inside.  A mirror
that is used with a part of its weight only (it is being drained, or comes back slowly) is half a circle.
"""

from __future__ import annotations

from typing import Final

from mirrornet.model.verdict import State, Verdict

_CIRCLE: Final = "M-9 0a9 9 0 1 0 18 0a9 9 0 1 0-18 0z"
_HOLE: Final = "M-5 0a5 5 0 1 1 10 0a5 5 0 1 1-10 0z"  # the other way round: nothing is painted there
_HALF: Final = "M0-5a5 5 0 0 1 0 10z"
_CROSS: Final = "M-10-6l4-4l6 6l6-6l4 4l-6 6l6 6l-4 4l-6-6l-6 6l-4-4l6-6z"
PART: Final = "in part"
_MARKS: Final = {  # shape and class of colour
    State.UP: (_CIRCLE, "good"),
    PART: (_CIRCLE + _HALF, "fair"),
    State.LAGGING: ("M0-11l11 20h-22z", "fair"),
    State.SLOW: ("M0 11l11-20h-22z", "fair"),
    State.UNKNOWN: ("M0-11l11 11l-11 11l-11-11zM0-5l-5 5l5 5l5-5z", "fair"),
    State.DOWN: (_CROSS, "poor"),
    State.STALE: ("M-9-9h18v18h-18z", "poor"),
    State.CORRUPT: ("M-11-5l6-6h10l6 6v10l-6 6h-10l-6-6zM-2-8v9h4v-9zM-2 4v4h4v-4z", "poor"),
    State.DRAINED: (_CIRCLE + _HOLE, "fair"),
    State.FORCED_UP: ("M0-12l10 10h-5v12h-10v-12h-5z", "good"),
    State.FORCED_DOWN: ("M0 12l10-10h-5v-12h-10v12h-5z", "poor"),
}


def sign(verdict: Verdict) -> str:
    """Which mark a verdict has: its state, or PART."""
    return PART if verdict.state is State.UP and verdict.share < 1 else str(verdict.state)


def colour(sign: str) -> str:
    """The class of a mark's colour: good, fair or poor."""
    return _MARKS[sign][1]


def shape(sign: str) -> str:
    """SVG path data of the mark, around (0, 0)."""
    return _MARKS[sign][0]


def symbols() -> str:
    """The definitions, for the top of a page."""
    drawn = (
        f'<symbol id="{_name(sign)}" viewBox="-13 -13 26 26"><path fill-rule="evenodd" d="{path}"/></symbol>'
        for sign, (path, _) in _MARKS.items()
    )
    return f'<svg class="symbols" aria-hidden="true"><defs>{"".join(drawn)}</defs></svg>'


def mark(sign: str) -> str:
    """The mark within a line of text, which says the word itself."""
    return f'<svg class="mark {colour(sign)}" aria-hidden="true"><use href="#{_name(sign)}"/></svg>'


def _name(sign: str) -> str:
    return f"mark-{sign.replace(' ', '-')}"
