"""The faults of one file, gathered as it is read, so that one run can name all of them.

A reader that finds a fault adds it here and goes on with a stand-in, and marks the place in the tree as broken, so
that later checks which would only repeat the same fault in other words can stay silent (`sound`).

A key that no reader asked for is judged last, when it is known which keys exist at all and where: `interval` that lost
its indentation is then not merely unknown but "belongs under health".  Because every reader's questions are recorded,
the same record tells the tests whether zones/example.yaml shows every key.
"""

from __future__ import annotations

from mirrornet.config.tree import Node, Path
from mirrornet.model.names import closest
from mirrornet.model.problem import Problem

_SUGGESTIONS = 200  # suggestions a file; each compares with every known word, and a file may hold 100,000 faults
_SHOWN = 60  # characters of a faulty value that a message quotes


class Wrong(ValueError):
    """A scalar that is not what its key takes: `what` is wrong with it, and `hint` says what to write."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


def quote(text: str) -> str:
    """`text` in quotes, on one line and cut to a length that a message can carry."""
    return repr(text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…")


def dotted(path: Path) -> str:
    """A place in the tree as people write it: ("select", 0, "ttl") is "select[1].ttl"."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step + 1}]"
            continue
        word = step if step.isprintable() and 0 < len(step) <= _SHOWN else quote(step)
        text += f".{word}" if text else word
    return text if len(text) <= 2 * _SHOWN else "…" + text[-2 * _SHOWN :]


class Faults:
    """Collects the faults of `file`, whose tree is `root`."""

    def __init__(self, file: str, root: Node) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.known: dict[str, set[str]] = {}  # kind of section → keys that its reader asks for
        self.seen: dict[str, set[str]] = {}  # kind of section → those of them that the file holds
        self._root = root
        self._broken: set[Path] = set()
        self._unknown: list[tuple[Path, str]] = []
        self._missing: list[Path] = []

    def add(self, path: Path, what: str, hint: str = "", *, warning: bool = False, line: int | None = None) -> None:
        """Reports a fault at `path`, on the line where that stands (or on `line`)."""
        where = dotted(path)
        text = f"{where}: {what}" if where else what
        self.problems.append(Problem(self.file, self.line(path) if line is None else line, text, hint, warning))
        if not warning:
            self.spoil(path)

    def spoil(self, path: Path) -> None:
        """Marks `path` as broken without a word (the fault has been reported already)."""
        self._broken.add(path)

    def sound(self, *paths: Path) -> bool:
        """Whether no fault has been reported at any of `paths`."""
        return self._broken.isdisjoint(paths)

    def line(self, path: Path) -> int:
        """The line of `path`, or of the nearest thing around it that exists."""
        line, node = self._root.line, self._root
        for step in path:
            found = node.step(step)
            if found is None:
                break
            line, node = found
        return line

    def ask(self, kind: str, key: str, seen: bool) -> None:
        """Notes that sections of `kind` may hold `key`, and whether this one does."""
        self.known.setdefault(kind, set()).add(key)
        if seen:
            self.seen.setdefault(kind, set()).add(key)

    def unknown(self, path: Path, kind: str) -> None:
        """Keeps a key that the reader of a section of `kind` did not ask for, until `finish`."""
        self._unknown.append((path, kind))

    def missing(self, path: Path) -> None:
        """Keeps a needed key that is not there, until `finish`: it may be there misspelt, which is one fault."""
        self._missing.append(path)
        self.spoil(path)

    def finish(self) -> list[Problem]:
        """All problems, in the order of the file."""
        misspelt: set[Path] = set()
        for path, kind in self._unknown:
            advice, meant = self._advise(str(path[-1]), kind)
            misspelt.add((*path[:-1], meant))
            self.add(path, "unknown key", advice)
        for path in self._missing:
            if path not in misspelt:
                self.add(path[:-1], f"the key {path[-1]} is missing")
        self._unknown.clear()
        self._missing.clear()
        self.problems.sort()
        return self.problems

    def _advise(self, key: str, kind: str) -> tuple[str, str]:
        """What to say of an unknown key, and the key that was probably meant, or ""."""
        here = self.known.get(kind, set())
        if key == "<<":
            return "merge keys are not read here: write the keys out", ""
        if len(self.problems) < _SUGGESTIONS:
            close = closest(key, here)
            if close:
                return f"did you mean {close}?", close
        for other, keys in self.known.items():
            if key in keys:
                return f"it belongs under {other}; is the indentation right?", ""
        return f"known here: {', '.join(sorted(here))}", ""
