"""YAML text → a tree of strings that remembers its lines, or what is wrong with the YAML.

YAML guesses: `country: NO` becomes false, `serial: 010` eight, `1:30` ninety.  We take the parser's events, before any
guess is made, and keep every scalar as the string that was written; what it means is for the schema to say.

Refused: anchors, aliases and merge keys (a zone file is read by people at night, and nine lines of aliases can unfold
to gigabytes), tags (`!!int`), several documents in one file, nesting deeper than any zone file needs, and keys written
twice (YAML demands unique keys, PyYAML silently keeps the last).  A syntax fault ends the reading of its file, as all
that follows would be guesswork; other faults do not.

libyaml is used where PyYAML was built with it (ten times as fast), else the same parser in Python.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import yaml

from mirrornet.model.problem import Problem

Path = tuple[str | int, ...]
DEPTH: Final = 12  # a zone file needs 5
LOADER: type = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
_UNPRINTABLE = re.compile("[^\t\n\x20-\x7e\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_TO_SPACE = {0x85: " ", 0x2028: " ", 0x2029: " "}  # line breaks to YAML 1.1, but to no editor: lines would drift
_SIX = re.compile(r"(?<![\"'\w:])\[*[0-9A-Fa-f]*:[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
QUOTE_SIX: Final = 'an IPv6 address must be in quotes here: "2001:db8::1", "[::1]:53"'


class Item(NamedTuple):
    """One key of a mapping: the line of the key, and the value."""

    line: int
    node: Node


@dataclass(frozen=True, slots=True)
class Node:
    """A scalar as written, a sequence or a mapping; None where a fault has been reported already."""

    line: int
    value: str | list[Node] | dict[str, Item] | None

    def step(self, step: str | int) -> tuple[int, Node] | None:
        """The child at `step` and the line to blame: a scalar's own, else that of its key."""
        if isinstance(self.value, dict) and isinstance(step, str):
            item = self.value.get(step)
            if item is not None:
                return item.node.line if isinstance(item.node.value, str) else item.line, item.node
        elif isinstance(self.value, list) and isinstance(step, int) and step < len(self.value):
            return self.value[step].line, self.value[step]
        return None

    def plain(self) -> Any:
        """The same as strings, lists and dicts, without lines; "" for what was faulty."""
        if isinstance(self.value, dict):
            return {key: item.node.plain() for key, item in self.value.items()}
        return [node.plain() for node in self.value] if isinstance(self.value, list) else self.value or ""

    def describe(self) -> str:
        """What kind of thing this is, for a message that expected another."""
        if isinstance(self.value, dict):
            return "a mapping (key: value)"
        return "a list" if isinstance(self.value, list) else "a single value"


class _Stop(Exception):
    """A fault that ends the reading."""

    def __init__(self, line: int, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.line, self.what, self.hint = line, what, hint


def read_tree(text: str, file: str) -> tuple[Node | None, list[Problem]]:
    """The tree of the one document in `text` (None where there is none), and the faults of its YAML."""
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_TO_SPACE)
    builder = _Builder(file, text.count("\n") + 1)
    try:
        bad = _UNPRINTABLE.search(text)
        if bad is not None:
            line = text.count("\n", 0, bad.start()) + 1
            raise _Stop(line, f"the character U+{ord(bad[0]):04X}, which no text should hold", "delete it")
        return builder.build(yaml.parse(text, Loader=LOADER)), builder.problems
    except yaml.MarkedYAMLError as error:
        stop = _explain(text.split("\n"), error)
    except yaml.YAMLError as error:
        stop = _Stop(1, f"not YAML: {' '.join(str(error).split())}")
    except _Stop as caught:
        stop = caught
    builder.problems.append(Problem(file, stop.line, stop.what, stop.hint))
    return None, builder.problems


class _Builder:
    def __init__(self, file: str, end: int) -> None:
        self.file, self.end = file, end
        self.problems: list[Problem] = []

    def build(self, events: Iterator[yaml.Event]) -> Node | None:
        root: Node | None = None
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if root is not None:
                    raise _Stop(self._line(event), "a second document starts here", "one file, one zone")
            elif isinstance(event, yaml.NodeEvent):
                root = self._node(event, events, 0)
        return root

    def _line(self, event: yaml.Event) -> int:
        """At the end of the text a parser may point one line beyond it."""
        return min(event.start_mark.line + 1, self.end) if event.start_mark is not None else 1

    def _add(self, line: int, what: str, hint: str = "") -> None:
        self.problems.append(Problem(self.file, line, what, hint))

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], depth: int) -> Node:
        line = self._line(event)
        if depth > DEPTH:
            raise _Stop(line, f"nested deeper than {DEPTH} levels", "no key of a zone file lies that deep")
        if isinstance(event, yaml.AliasEvent):
            self._add(line, f"*{event.anchor} is an alias", "aliases are not read here: write the value out")
            return Node(line, None)
        assert isinstance(event, yaml.NodeEvent)
        if event.anchor is not None:
            self._add(line, f"&{event.anchor} is an anchor", "anchors are not read here: delete it")
        tag = getattr(event, "tag", None)
        if tag not in (None, "!"):
            self._add(line, "a YAML tag (!…)", "tags are not read here: delete it")
        if isinstance(event, yaml.ScalarEvent):
            return Node(line, event.value)
        if isinstance(event, yaml.SequenceStartEvent):
            children: list[Node] = []
            while not isinstance(inner := next(events), yaml.SequenceEndEvent):
                children.append(self._node(inner, events, depth + 1))
            return Node(line, children)
        items: dict[str, Item] = {}
        while not isinstance(inner := next(events), yaml.MappingEndEvent):
            key = self._node(inner, events, depth + 1)
            node = self._node(next(events), events, depth + 1)
            if not isinstance(key.value, str):
                if key.value is not None:
                    self._add(key.line, f"{key.describe()} stands where a key should", QUOTE_SIX)
            elif key.value in items:
                first = items[key.value].line
                self._add(key.line, f"the key {_bare(key.value)} is already on line {first}", "keep one of the two")
            else:
                items[key.value] = Item(key.line, node)
        return Node(line, items)


def _bare(key: str) -> str:
    return key if key.isprintable() and 0 < len(key) <= 60 else repr(key[:60])


def _explain(lines: list[str], error: yaml.MarkedYAMLError) -> _Stop:
    """The parser's complaint in the words of someone who edits a zone file."""
    mark, opened = error.problem_mark or error.context_mark, error.context_mark
    end = len(lines)  # at the end of the text a parser may point one line beyond it
    line = min(mark.line + 1, end) if mark else 1
    start = min(opened.line + 1, end) if opened else line
    source = lines[line - 1]
    character = source[mark.column : mark.column + 1] if mark else ""
    problem, context = error.problem or "", error.context or ""
    if "\t" in source[: len(source) - len(source.lstrip())] or character == "\t":
        return _Stop(line, "a tab", "YAML is indented with spaces only")
    for number in (line, start):
        if any(found[0].count(":") > 1 for found in _SIX.finditer(lines[number - 1].split(" #")[0][:1000])):
            return _Stop(number, "YAML took a value with colons apart", QUOTE_SIX)
    if "quoted scalar" in context and opened:
        if "escape" in problem:
            return _Stop(line, "an unknown escape in a value in double quotes", "write \\\\ for one backslash")
        return _Stop(start, "the quote that opens here is never closed")
    if "flow" in context and opened:
        before = "\n".join([*lines[: start - 1], lines[start - 1][: opened.column + 1]])
        bracket = max(before.rfind("["), before.rfind("{"), 0)  # the parser may blame what follows the bracket
        return _Stop(
            before.count("\n", 0, bracket) + 1,
            "the [ or { that opens here is never closed, or a comma is missing in it",
            "put values that hold [ ] { } , or : in quotes",
        )
    if "mapping values are not allowed" in problem:
        return _Stop(
            line,
            "a key where none may be: the line is indented wrongly, or its value holds a colon",
            "align it with its neighbours, or put the value in quotes",
        )
    if "cannot start any token" in problem:
        return _Stop(line, f"a value may not begin with {character}", f'put it in quotes: "{character}…"')
    if "could not find expected ':'" in problem and opened:
        return _Stop(start, "a line without a colon where a key is expected", "write key: value")
    return _Stop(line, f"not YAML: {problem or context}", "compare the indentation with its neighbours")
