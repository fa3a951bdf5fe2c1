"""From what an operator asks for (`drain fra* --for 2h`) to overrides, and to what he should be told.  Pure.

There are three doors, a command, a socket and HTTP, and one form for all of them: an object of JSON, read by `parse`.
`change` then finds the mirrors, makes the overrides and warns.  A pattern that fits no mirror spoils the whole request,
with a suggestion: half of what was meant is never what was meant.

`auto` also pardons what probes hold against a mirror, a lie or flapping, but only one that is named in full: who ends
all overrides by a pattern has not thought of every liar that it fits.

A name stands for the mirrors of that name in all zones served, since it is one machine that goes down for its new
disks; `zone` narrows it to one.

By hand everything may be moved, unlike by what comes from elsewhere: the operator may know what we cannot.  He is told
when more than 30 % of a zone's weight is out, and when nothing is left.

A forced verdict is a claim about the world, and the world goes on: it ends after a day unless another time is given.
A drain waits for somebody to come back, so it lasts until `auto`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from mirrornet.health.words.overrides import described
from mirrornet.model.errors import InputError
from mirrornet.model.names import suggest
from mirrornet.model.override import (
    AHEAD,
    LATEST,
    LONGEST_NAME,
    LONGEST_WHY,
    MARGIN,
    Action,
    Held,
    Override,
    in_force,
    speed,
    word,
)
from mirrornet.model.units import parse_duration
from mirrornet.model.verdict import Verdicts
from mirrornet.model.zone import Zone

RATE: Final = 10.0  # percent a minute: what a drain takes unless told otherwise
FORCED_FOR: Final = 86400.0  # seconds
FOREVER: Final = "forever"
SHORTEST, LONGEST = 1.0, 366 * 86400.0  # seconds that an override may last
MOST: Final = 256  # patterns in one request
MUCH: Final = 0.3  # of a zone's weight, out by hand: worth a warning
REMEMBERED: Final = 7 * 86400.0  # seconds for which `auto` is kept against those who know the old word only
_KEYS: Final = ("action", "mirrors", "zone", "for", "why", "rate")


@dataclass(frozen=True, slots=True)
class Asked:
    """One request, sound in itself.

    `mirrors`: names and patterns; `zone`: "" for all; `seconds`: how long it holds, None: until `auto`.
    """

    action: Action
    mirrors: tuple[str, ...]
    zone: str = ""
    seconds: float | None = None
    why: str = ""
    rate: float = 0.0


@dataclass(frozen=True, slots=True)
class Change:
    """What a request comes to: all of our overrides afterwards, a line for each mirror, and who is to be pardoned."""

    held: Held
    lines: tuple[str, ...]
    pardoned: tuple[tuple[str, str], ...] = ()


def parse(document: object, dash: str = "") -> Asked:
    """The request in an object of JSON.  Raises InputError that names the key, after `dash` where it is an option."""
    try:
        return _parse(document, dash)
    except ValueError as error:
        raise InputError(str(error)) from None


def _parse(document: object, dash: str) -> Asked:
    if not isinstance(document, dict):
        raise ValueError(f"takes an object with {', '.join(_KEYS)}")
    for key in document:
        if key not in _KEYS:
            raise ValueError(f"{str(key)[:40]!r} is not known{_hint(suggest(str(key), _KEYS))}")
    verb = document.get("action")
    if verb not in list(Action):
        raise ValueError(f"action: there are {', '.join(Action)}")
    action = Action(verb)
    patterns = document.get("mirrors")
    if not isinstance(patterns, list) or not patterns:
        raise ValueError("mirrors: takes a list of names, such as fra*")
    if len(patterns) > MOST:
        raise ValueError(f"mirrors: {len(patterns)} are too many in one request: {MOST} at most, or a pattern")
    names = tuple(dict.fromkeys(word("mirrors", each, LONGEST_NAME) for each in patterns))
    zone = word(f"{dash}zone", document.get("zone", ""), LONGEST_NAME).rstrip(".").lower()
    why = word(f"{dash}why", document.get("why", ""), LONGEST_WHY).strip()
    seconds = _seconds(document.get("for"), action, f"{dash}for")
    rate = document.get("rate")
    if action is not Action.DRAIN:
        if rate is not None:
            raise ValueError(f"{dash}rate: only a drain has one")
        return Asked(action, names, zone, seconds, why)
    return Asked(action, names, zone, seconds, why, RATE if rate is None else speed(f"{dash}rate", rate))


def _seconds(text: object, action: Action, name: str) -> float | None:
    if text is None or text == "":
        return FORCED_FOR if action in (Action.FORCE_UP, Action.FORCE_DOWN) else None
    if action is Action.AUTO:
        raise ValueError(f"{name}: what `auto` gives back is not lent: leave it out")
    if text == FOREVER:
        return None
    try:
        seconds = parse_duration(word(name, text, 40))
    except ValueError as error:
        raise ValueError(f"{name}: {str(error).removeprefix(f'{name}: ')}, or {FOREVER}") from None
    if not SHORTEST <= seconds <= LONGEST:
        raise ValueError(f"{name}: {text} is out of range, from 1s to 366d, or {FOREVER}")
    return seconds


def _hint(text: str) -> str:
    return f": {text}" if text else ""


def change(
    asked: Asked,
    mirrors: Mapping[str, Iterable[str]],
    ours: Held,
    others: Sequence[Override],
    author: str,
    now: float,
) -> Change:
    """Our overrides after the request.  `mirrors`: the names in each zone; `others`: what other servers say.

    Raises InputError, and nothing is changed, where the zone or a pattern fits nothing.
    """
    before = in_force([*ours.values(), *others], now)
    newest: dict[tuple[str, str], float] = {}
    for one in (*ours.values(), *others):
        if one.at <= now + AHEAD:
            newest[one.key] = max(one.at, newest.get(one.key, 0.0))
    held, lines = dict(ours), []
    shared = {one.key for one in others}
    found = _found(asked, mirrors, ours)
    for key in found:
        at = min(max(now, newest.get(key, 0.0) + MARGIN), LATEST)
        if asked.action is not Action.AUTO:
            until = None if asked.seconds is None else now + asked.seconds
            held[key] = Override(*key, asked.action, at, until, author, asked.why, asked.rate)
            lines.append(f"{key[0]}: {key[1]}: {described(held[key])}")
            continue
        held.pop(key, None)
        if key in shared:  # who still knows the old word must learn that it is over
            held[key] = Override(*key, Action.AUTO, at, at + REMEMBERED, author, asked.why)
        was = f"no more {described(before[key])}" if key in before else "it had no override"
        by = f" by {author}" if author else ""
        lines.append(f"{key[0]}: {key[1]}: auto{by}, {was}")
    named = {pattern.lower() for pattern in asked.mirrors} if asked.action is Action.AUTO else set()
    return Change(held, tuple(lines), tuple(key for key in found if key[1] in named))


def _found(asked: Asked, mirrors: Mapping[str, Iterable[str]], ours: Held) -> list[tuple[str, str]]:
    """The mirrors that are meant; those that only an old override names can still be named to be rid of it."""
    if asked.zone and asked.zone not in mirrors:
        raise InputError(f"zone {asked.zone} is not served here{_or_list(asked.zone, mirrors, 'there are')}")
    known = {(zone, name) for zone, names in mirrors.items() for name in names}
    if asked.action is Action.AUTO:
        known |= set(ours)
    known = {key for key in known if not asked.zone or key[0] == asked.zone}
    found: dict[tuple[str, str], None] = {}
    for pattern in asked.mirrors:
        fitting = sorted(key for key in known if fnmatchcase(key[1], pattern.lower()))
        if not fitting:
            what = "no mirror fits" if set("*?[") & set(pattern) else "there is no mirror"
            names = sorted({name for _, name in known})
            raise InputError(f"{what} {pattern!r}{_or_list(pattern, names, 'there are')}")
        found.update(dict.fromkeys(fitting))
    return sorted(found)


def _or_list(given: str, known: Iterable[str], words: str) -> str:
    names = list(known)
    few = f"{words} {', '.join(names[:8])}{' and others' if len(names) > 8 else ''}" if names else "there is none"
    return f": {suggest(given, names) or few}"


def warnings(zones: Iterable[Zone], verdicts: Mapping[str, Verdicts], held: Held, now: float) -> list[str]:
    """What an operator should know of the overrides that hold: zones of which much, or everything, is out by hand.

    `verdicts`: without overrides.  A drain counts as what it comes to, by its end.
    """
    force = in_force(held.values(), now)
    out = {key for key, one in force.items() if one.action in (Action.DRAIN, Action.FORCE_DOWN)}
    forced_up = {key for key, one in force.items() if one.action is Action.FORCE_UP}
    lines = []
    for zone in zones:
        mirrors, own = {mirror.name: mirror for mirror in zone.mirrors}, verdicts.get(zone.name, {})
        keys = {(zone.name, name) for name in mirrors}
        usable = {key for key in keys if key in forced_up or (key[1] in own and own[key[1]].usable)}
        gone, left = usable & out, usable - out
        if not gone:
            continue
        part = sum(mirrors[name].weight for _, name in gone) / sum(mirrors[name].weight for _, name in usable)
        if not left:
            lines.append(f"{zone.name}: no mirror is left then: the nearest is answered all the same")
        elif part > MUCH:
            rest = f"{len(left)} of {len(usable)} usable mirrors left"
            lines.append(f"{zone.name}: {part:.0%} of the usable weight is out by hand then: {rest}")
    return lines
