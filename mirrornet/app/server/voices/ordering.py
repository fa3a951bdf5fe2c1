"""`mirrornet drain` and its kin: to the server that uses a state folder, or into the folder where none runs.

A server listens there on a socket, and what it says is the answer.  Without one the folder is taken, as a server would
take it, so that none starts in between; the mirrors are those of the last plan (verdicts.json), and the next server
takes the overrides up.  A folder that no server has used is refused: a word that nobody hears must not look heard.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mirrornet.app.control import answers, ask
from mirrornet.app.folders import state_folder
from mirrornet.app.lock import alone
from mirrornet.app.server import verdicts
from mirrornet.app.server.voices import overriding
from mirrornet.health.words import asking
from mirrornet.model.errors import InputError, LocalError
from mirrornet.model.override import Held, Override, in_force, recalled

PATIENCE: Final = 20.0  # seconds: a server on a busy machine answers when the disk has what it was told
NOT_HEARD: Final = "no server runs here: it holds from the next start on"
NO_PARDON: Final = "what probes hold against a mirror is pardoned by a server that runs, not before"


def order(document: Mapping[str, Any], state: Path | None) -> tuple[list[str], list[str]]:
    """Asks for what `document` says (asking.py): lines of what changed, and warnings.

    Raises InputError where it is wrong, LocalError where the folder or the server refuses.
    """
    state = state or state_folder()
    path = state / overriding.SOCKET
    if answers(path):
        request = {"do": "override", "document": dict(document), "sudo": os.environ.get("SUDO_USER")}
        answer = _sound(ask(path, request, PATIENCE), path)
        return _lines(answer.get("changed")), _lines(answer.get("warnings"))
    asked = asking.parse(dict(document))
    mirrors = _mirrors(state)
    with alone(
        state,
        taken="a mirrornet serve that starts or ends has it{who}: try again in a moment",
        refused="run this as root, or as the user of the server",
    ):
        author = overriding.author_of(os.getuid(), os.environ.get("SUDO_USER"))
        change = asking.change(asked, mirrors, overriding.read(state), (), author, time.time())
        try:
            overriding.write(state, change.held)
        except OSError as error:
            raise LocalError(f"{state / overriding.FILE}: {error.strerror}") from None
    return list(change.lines), [NOT_HEARD, NO_PARDON] if change.pardoned else [NOT_HEARD]


def holding(state: Path | None) -> tuple[Held, list[str]]:
    """What holds now, of the server that runs or of the next one, and lines on what does not hold though it was said.

    Raises InputError, LocalError.
    """
    state = state or state_folder()
    path = state / overriding.SOCKET
    if not answers(path):
        _mirrors(state)
        return in_force(overriding.read(state).values(), time.time()), []
    answer = _sound(ask(path, {"do": "overrides"}, PATIENCE), path)
    found: list[Override] = []
    try:
        found = [recalled(each) for each in answer["overrides"]]
    except (ValueError, KeyError, TypeError):
        raise LocalError(f"{path}: the answer is not ours: are the server and this command of one version?") from None
    return {override.key: override for override in found}, _lines(answer.get("unheeded"))


def _mirrors(state: Path) -> dict[str, list[str]]:
    """The mirrors by zone, as the last server knew them."""
    known = verdicts.read(state)
    if known is None:
        raise InputError(f"{state}: no `mirrornet serve` has used this folder: name its --state")
    return {zone: list(mirrors) for zone, mirrors in known.items()}


def _sound(answer: dict[str, Any], path: Path) -> dict[str, Any]:
    """`answer`, or the error that it tells."""
    if "error" in answer:
        raise (InputError if answer.get("code") == InputError.exit_code else LocalError)(str(answer["error"]))
    return answer


def _lines(told: object) -> list[str]:
    return [str(line) for line in told] if isinstance(told, list) else []
