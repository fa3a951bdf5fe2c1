"""What operators say by hand, in a running server: taken, kept, applied, and ended when its time is over.

`answer` is the handler of the control socket, `take` what it and POST /v1/override come to.  What holds is in
overrides.json in the state folder before anybody is told that it holds, so that a force-down survives a power cut; on
a full disk it holds all the same, and he is told that too.  `opinion` is the last of the opinions of probing.py.

The file may have been written by anybody: what is not ours in it is told in the log, set aside under another name, and
the server goes on without.  Overrides of mirrors that no zone has (any more) rest there until they expire, because an
edit of a zone file is often taken back; `auto` is rid of them.

Where servers share what they know, `others` gives the overrides of the rest, as far as they are to be obeyed here, and
`ours` is what to tell them: `auto` among it, against those who know only the old word.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import pwd
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from mirrornet.app.server.trouble import Trouble
from mirrornet.app.server.voices.probing import AllVerdicts
from mirrornet.health.words import asking
from mirrornet.health.words.overrides import apply, described, next_change, share
from mirrornet.image.files import write_whole
from mirrornet.model.errors import InputError
from mirrornet.model.override import Action, Held, Override, in_force, merged, recalled, told
from mirrornet.model.zone import Zone

log = logging.getLogger(__name__)

FILE: Final = "overrides.json"
SOCKET: Final = "serve.sock"  # in the state folder, which both sides know
ASIDE: Final = ".unread"  # what follows the name of a file that was not ours
FILE_LIMIT: Final = 8 << 20  # bytes
LOOK: Final = 30.0  # seconds: a clock that was set is noticed within that
PAST: Final = 0.01  # seconds: the event loop's clock and the wall's are not one
TOO_MUCH: Final = "not done here, for others may move a part of the weight only (`limit`): say it to this server, too"
LONGEST_SUDO: Final = 64  # characters


def read(state: Path) -> dict[tuple[str, str], Override]:
    """The overrides kept in `state`; none where there is no file.  Raises InputError where it is not ours."""
    path = state / FILE
    try:
        with path.open("rb") as file:
            data = file.read(FILE_LIMIT + 1)
        if len(data) > FILE_LIMIT:
            raise ValueError(f"longer than {FILE_LIMIT >> 20} MiB")
        document = json.loads(data)
        if not isinstance(document, list):
            raise ValueError("no list")
        return merged(recalled(each) for each in document)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: this is not what mirrornet writes ({error})") from None


def write(state: Path, held: Held) -> None:
    """Replaces the file, durably; where root writes it, for the folder's owner.  Raises OSError."""
    text = json.dumps([told(override) for override in held.values()], indent=1)
    write_whole(state / FILE, text.encode(), mode=0o600)
    if os.geteuid() == 0:
        owner = state.stat()
        os.chown(state / FILE, owner.st_uid, owner.st_gid)


class Overriding:
    """The overrides of one server.

    `zones`: those in force; `own`: the verdicts without overrides; `changed` asks for a new plan.
    """

    def __init__(
        self,
        state: Path,
        zones: Callable[[], Sequence[Zone]],
        own: Callable[[], AllVerdicts],
        changed: Callable[[], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._state, self._zones, self._own, self._clock = state, zones, own, clock
        self._changed = changed
        self._taking = asyncio.Lock()
        self._turned = asyncio.Event()
        self._known: dict[tuple[str, str], Override] = {}  # what held when last looked, to tell what has ended
        self._unwritten = Trouble(
            log, f"{state / FILE}: overrides will not survive a restart", "overrides are kept again"
        )
        self._applied: dict[
            tuple[str, str], tuple[Override, float]
        ] = {}  # what the last plan that we asked for goes by
        self.ours: Held = {}
        self.others: Callable[[], Sequence[Override]] = tuple  # what other servers say, if somebody asks them
        self.stopped: Callable[[], Mapping[str, Sequence[str]]] = (
            dict  # by zone: whom what comes from others cannot move
        )
        self.on_change: Callable[[], None] = lambda: None  # `ours` has changed: somebody may want to tell
        self.pardon: Callable[[str, str], bool] = lambda zone, mirror: False  # `auto` forgives what probes hold back

    def load(self) -> None:
        """Takes up what is kept in the state folder, which must be ours by now."""
        try:
            self.ours = read(self._state)
        except InputError as error:
            log.error("%s: no override of it holds; it is kept as %s%s", error, FILE, ASIDE)
            try:
                (self._state / FILE).rename(self._state / f"{FILE}{ASIDE}")
            except OSError as refused:
                log.error("%s: %s", self._state / FILE, refused.strerror)
        self._known = self.held()
        self._applied = _applied(self._known, self._clock())
        for override in self._known.values():
            log.info("%s: %s: still %s", override.zone, override.mirror, described(override))

    def held(self) -> dict[tuple[str, str], Override]:
        """What holds now, of ours and others'."""
        return in_force((*self.ours.values(), *self.others()), self._clock())

    def unheeded(self) -> list[str]:
        """What was said last, elsewhere, and is not done here since others may move so much only: a line each."""
        now = self._clock()
        newest, ours = merged((*self.ours.values(), *self.others())), in_force(self.ours.values(), now)
        keys = [(zone, mirror) for zone, mirrors in sorted(self.stopped().items()) for mirror in mirrors]
        return [
            f"{override.zone}: {override.mirror}: {_told(override)}: {TOO_MUCH}"
            for override in (newest[key] for key in keys if key in newest)
            # `auto` takes something back; where there is nothing to take back, it is what others see that is stopped.
            if override.origin and override.holds(now) and (override.action is not Action.AUTO or override.key in ours)
        ]

    def opinion(self, verdicts: AllVerdicts) -> AllVerdicts:
        """The verdicts with what was said by hand."""
        held = self.held()
        return apply(verdicts, held, self._clock()) if held else verdicts

    def turned(self) -> None:
        """To be called when `others` would say something else."""
        self._turned.set()

    async def take(self, document: object, author: str) -> dict[str, Any]:
        """One request as asking.py reads it: `changed` and `warnings`, a line each.  Raises InputError."""
        asked = asking.parse(document)
        async with self._taking:
            zones, now = self._zones(), self._clock()
            mirrors = {zone.name: [mirror.name for mirror in zone.mirrors] for zone in zones}
            change = asking.change(asked, mirrors, self.ours, self.others(), author, now)
            self.ours = change.held
            pardoned = [key for key in change.pardoned if self.pardon(*key)]
            lines = [*change.lines, *(f"{zone}: {name}: pardoned, its next probe decides" for zone, name in pardoned)]
            for line in lines:
                log.info("%s", line)
            kept = await self._keep()
            self._known = self.held()
            self._applied = _applied(self._known, now)
            self._turned.set()
            self.on_change()
            self._changed()
            warnings = asking.warnings(zones, self._own(), self._known, now)
            for warning in warnings:
                log.warning("%s", warning)
            return {"changed": lines, "warnings": [*warnings, *kept]}

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request of the control socket: `override` with the `document`, or `overrides`.  Raises InputError."""
        match request.get("do"):
            case "override":
                return await self.take(request.get("document"), author_of(request.get("uid"), request.get("sudo")))
            case "overrides":
                held = [told(override) for override in self.held().values()]
                return {"overrides": held, "unheeded": self.unheeded()}
            case other:
                raise InputError(f"{str(other)[:40]!r} is not known to this server: there are override, overrides")

    async def run(self) -> None:
        """Ends what has expired and lets drains go on, for ever."""
        while True:
            now = self._clock()
            wait = next_change((*self.ours.values(), *self.others()), now) - now + PAST
            try:
                async with asyncio.timeout(min(wait, LOOK)):
                    await self._turned.wait()
            except TimeoutError:
                pass
            self._turned.clear()
            await self._look()

    async def _look(self) -> None:
        """A new plan where one is due; says what has ended, and forgets what of ours nobody can need."""
        held, now = self.held(), self._clock()
        applied = _applied(held, now)
        if applied != self._applied:
            self._applied = applied
            self._changed()
        for key, override in self._known.items():
            if key not in held and not override.holds(now):
                log.info("%s: %s: over: %s", override.zone, override.mirror, described(override))
        self._known = held
        if any(not override.holds(now) for override in self.ours.values()):
            async with self._taking:
                self.ours = {key: override for key, override in self.ours.items() if override.holds(now)}
                await self._keep()
            self.on_change()

    async def _keep(self) -> list[str]:
        """Writes `ours` down; a warning where that fails."""
        try:
            await asyncio.to_thread(write, self._state, self.ours)
        except OSError as error:
            self._unwritten.met(error)
            return [f"it holds, but would not survive a restart: {self._state / FILE}: {error.strerror}"]
        self._unwritten.over()
        return []


def _applied(held: Held, now: float) -> dict[tuple[str, str], tuple[Override, float]]:
    """What of the overrides bears on a plan."""
    return {key: (override, share(override, now)) for key, override in held.items()}


def _told(override: Override) -> str:
    """What it is; of `auto` not for how long we remember it."""
    return described(replace(override, until=None) if override.action is Action.AUTO else override)


def author_of(uid: object, sudo: object) -> str:
    """Who asks: the name of the user `uid`, as the kernel knows him; what `sudo` said of him where that is root."""
    if not isinstance(uid, int):
        return ""
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = f"uid {uid}"
    if uid == 0 and isinstance(sudo, str) and sudo and sudo.isprintable() and len(sudo) <= LONGEST_SUDO:
        return f"{sudo} (sudo)"
    return name
