"""verdicts.json in the state folder: what `serve` knows of the mirrors, for `explain` and for people.

Written whole and by rename after every change; never read by the server itself (health/ keeps its own state).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from mirrornet.image.files import replacing
from mirrornet.model.errors import InputError
from mirrornet.model.override import Action, Override
from mirrornet.model.verdict import State, Verdict, Verdicts

FILE = "verdicts.json"
_SETS: Final = ("holds", "families")


def write(state: Path, verdicts: Mapping[str, Verdicts]) -> None:
    """Replaces the file.  `verdicts` is by zone name, then mirror name."""
    told = {zone: {name: _written(verdict) for name, verdict in mirrors.items()} for zone, mirrors in verdicts.items()}
    with replacing(state / FILE) as file:
        file.write(json.dumps(told, indent=1).encode())


def read(state: Path) -> dict[str, dict[str, Verdict]] | None:
    """What is in the file, or None where there is none.  Raises InputError where it is not ours."""
    path = state / FILE
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return {zone: {name: _read(fields) for name, fields in mirrors.items()} for zone, mirrors in told.items()}
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise InputError(f"{path}: this is not what `mirrornet serve` writes ({error}): remove it") from None


def _written(verdict: Verdict) -> dict[str, Any]:
    fields = asdict(verdict)
    for name in _SETS:
        fields[name] = None if fields[name] is None else sorted(fields[name])
    return fields


def _read(fields: dict[str, Any]) -> Verdict:
    sets = {name: None if fields[name] is None else frozenset(fields[name]) for name in _SETS}
    override = fields["override"]
    if override is not None:
        override = Override(**{**override, "action": Action(override["action"])})
    return Verdict(**{**fields, **sets, "state": State(fields["state"]), "override": override})
