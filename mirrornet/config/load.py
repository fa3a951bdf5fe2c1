"""Zone files from disk: the only part of this room that touches files.

Reading is bounded: a zone file of 500 mirrors has 200 KB, so one of more than LIMIT bytes is something else, and what
is not a regular file (a pipe, a device) might never end.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from mirrornet.config.faults import Faults
from mirrornet.config.prove import prove, prove_together
from mirrornet.config.schema import read_zone
from mirrornet.config.section import Section
from mirrornet.config.tree import read_tree
from mirrornet.config.trips import read_round_trips
from mirrornet.model.errors import ConfigError
from mirrornet.model.problem import Problem
from mirrornet.model.zone import Zone

LIMIT: Final = 4 << 20  # bytes of a zone file, and of a records file


def load_zone(path: Path) -> Zone:
    """The proven zone in `path`.  Raises ConfigError with every fault."""
    return load_zones([path])[0]


def load_zones(paths: Sequence[Path]) -> tuple[Zone, ...]:
    """The proven zones of files that are served together.  Raises ConfigError with every fault of all of them."""
    zones, problems = examine(paths)
    faults = [problem for problem in problems if not problem.warning]
    if faults:
        raise ConfigError(faults)
    return zones


def check_zones(paths: Sequence[Path]) -> list[Problem]:
    """Every fault and warning of the files, file by file, in the order of their lines."""
    return examine(paths)[1]


def examine(
    paths: Sequence[Path], *, rootless: bool = False, serverless: bool = False
) -> tuple[tuple[Zone, ...], list[Problem]]:
    """The zones (those whose shape could be read at all; sound only if no problem is a fault), and all problems.

    `rootless`: the repository's root.json need not be there, since nobody will read it; `serverless`: nor need what
    only a name server reads.
    """
    drafts: list[tuple[Zone, Faults]] = []
    order: list[list[Problem]] = []
    seen: set[Path] = set()
    for path in paths:
        if path.absolute() in seen:
            order.append([Problem(str(path), 0, "this file is given twice", "name it once")])
            continue
        seen.add(path.absolute())
        text, problems = _read_text(path)
        order.append(problems)
        if text is None:
            continue
        tree, found = read_tree(text, str(path))
        problems.extend(found)
        if tree is None or tree.value == "":
            if not found:
                problems.append(Problem(str(path), 0, "the file is empty", "zones/example.yaml shows what belongs in"))
            continue
        faults = Faults(str(path), tree)
        faults.problems = problems
        draft = read_zone(Section(faults, (), "the zone file", tree), path)
        prove(draft, faults, _prove_files(draft, faults, rootless, serverless))
        if not serverless:
            draft = replace(draft, round_trips=_read_round_trips(draft, faults))
        drafts.append((draft, faults))
    prove_together(drafts)
    for _, faults in drafts:
        faults.finish()
    return tuple(zone for zone, _ in drafts), [problem for problems in order for problem in problems]


def line_of(file: Path, path: tuple[str | int, ...]) -> int:
    """The line of something in the zone file `file`, which was read before; 0 where it cannot be read any more."""
    text, _ = _read_text(file)
    tree = None if text is None else read_tree(text, str(file))[0]
    return 0 if tree is None else Faults(str(file), tree).line(path)


def as_written(path: Path) -> dict[str, Any]:
    """The mapping in `path`, which was proven before: scalars as they were written.  Raises ConfigError."""
    text, problems = _read_text(path)
    tree = None
    if text is not None:
        tree, problems = read_tree(text, str(path))
    if tree is None or not isinstance(tree.value, dict):
        raise ConfigError(problems or [Problem(str(path), 0, "this is no zone file any more")])
    plain: dict[str, Any] = tree.plain()
    return plain


def _read_text(path: Path) -> tuple[str | None, list[Problem]]:
    """The text of `path`, or the one problem that there is instead."""
    data = _read_bytes(path)
    if isinstance(data, str):
        return None, [Problem(str(path), 0, data)]
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f"the byte 0x{data[error.start]:02x} is not UTF-8"
        return None, [Problem(str(path), line, what, "save the file as UTF-8")]


def _read_bytes(path: Path) -> bytes | str:
    """The bytes of a regular file of at most LIMIT, or what is wrong with it."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            return "this is a folder; name a file in it" if stat.S_ISDIR(mode) else "this is not a regular file"
        with path.open("rb") as file:
            data = file.read(LIMIT + 1)
    except FileNotFoundError:
        return "there is no such file"
    except (OSError, ValueError) as error:
        return f"it cannot be read: {getattr(error, 'strerror', None) or error}"
    return f"it is larger than {LIMIT >> 20} MiB, so it cannot be meant" if len(data) > LIMIT else data


def _prove_files(zone: Zone, faults: Faults, rootless: bool, serverless: bool) -> str | None:
    """Faults of the files that the zone names; the text of its records file."""
    if zone.world is not None and not serverless:
        what = _cannot_open(zone.world)
        if what == "there is no such file":
            hint = "make it with `mirrornet import-radb`; until then no client's place is known"
            faults.add(("world",), f"{zone.world}: {what}", hint, warning=True)
        elif what:
            faults.add(("world",), f"{zone.world}: {what}")
    if zone.repository is not None and zone.repository.root != Path() and not rootless:
        what = _cannot_open(zone.repository.root)
        if what:
            hint = "copy metadata/1.root.json of the repository there; paths are relative to the zone file"
            faults.add(("repository", "root"), f"{zone.repository.root}: {what}", hint)
    server = None if serverless else zone.server
    if server is not None:
        secret = "32 hexadecimal digits a line (openssl rand -hex 16)"
        named: list[tuple[tuple[str, ...], Path | None, str]] = [(("server", "cookies"), server.cookies, secret)]
        token = "a name and a token a line (openssl rand -hex 32)"
        named.append((("server", "token_file"), server.token_file, token))
        if server.share is not None:
            made = "make it with `mirrornet keygen --vantage FILE`; paths are relative to the zone file"
            named.append((("server", "share", "key"), server.share.key, made))
            named.append((("server", "share", "password"), server.share.password, "a file with the password of Redis"))
        if server.tls is not None:
            for key, file in (("certificate", server.tls.certificate), ("key", server.tls.key)):
                named.append((("server", "tls", key), file, "a PEM file; paths are relative to the zone file"))
        for path, found, hint in named:
            if found is not None and found != Path() and (what := _cannot_open(found)):
                faults.add(path, f"{found}: {what}", hint)
    if zone.records is None or serverless:
        return None
    data = _read_bytes(zone.records)
    if isinstance(data, str):
        faults.add(("records",), f"{zone.records}: {data}", "paths are relative to the zone file")
        return None
    return data.decode("utf-8", "replace")


def _read_round_trips(zone: Zone, faults: Faults) -> dict[tuple[str, str], float]:
    """The table that the zone names; empty where it names none."""
    if zone.round_trips_file is None:
        return {}
    data = _read_bytes(zone.round_trips_file)
    if isinstance(data, str):
        faults.add(("round_trips",), f"{zone.round_trips_file}: {data}", "paths are relative to the zone file")
        return {}
    table, problems = read_round_trips(data.decode("utf-8", "replace"), str(zone.round_trips_file))
    faults.problems += problems
    return table


def _cannot_open(path: Path) -> str:
    """What is wrong with a file that is only to be opened later, or ""."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            return "this is a folder, not a file" if stat.S_ISDIR(mode) else "this is not a regular file"
        with path.open("rb"):
            return ""
    except FileNotFoundError:
        return "there is no such file"
    except (OSError, ValueError) as error:
        return f"it cannot be read: {getattr(error, 'strerror', None) or error}"
