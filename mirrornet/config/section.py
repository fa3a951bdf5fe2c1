"""A mapping of the tree, read key by key with types; what nobody asked for is an unknown key.

    interval=health.read("interval", duration(0.1, 3600), 10.0)

is all there is to a setting: its name, its type with its range, its default.  A faulty value is reported once and
the stand-in is used, so that the reading goes on to the next fault.

Rejected: pydantic models.  They would check the shapes as well, but one wrong field loses the whole model, so that the
checks across keys (timeout < interval) wait for a second run; every message would have to be put in our words anyway;
and a name server would load 30 MB for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from mirrornet.config.faults import Faults, Wrong
from mirrornet.config.tree import QUOTE_SIX, Node, Path

T = TypeVar("T")
D = TypeVar("D")


class Section:
    """The mapping at `path`.  `kind` names all sections that share its keys.  An absent section holds nothing."""

    def __init__(self, faults: Faults, path: Path, kind: str, node: Node | None) -> None:
        self.faults, self.path, self.kind = faults, path, kind
        self.present = node is not None
        self._items: dict[str, Node] = {}
        self._asked: set[str] = set()
        self.readable = False
        if node is None:
            return
        if isinstance(node.value, dict):
            self._items = {key: item.node for key, item in node.value.items()}
            self.readable = True
        elif node.value is None:
            faults.spoil(path)
        elif node.value == "":
            faults.add(path, "is empty", "give it keys, or delete the line")
        else:
            faults.add(path, f"{kind} takes keys and values, and this is {node.describe()}")

    def __contains__(self, key: str) -> bool:
        return key in self._items

    def at(self, *steps: str | int) -> Path:
        """The path of something in this section."""
        return (*self.path, *steps)

    def sound(self, *keys: str) -> bool:
        """Whether no fault was found in any of `keys`."""
        return self.faults.sound(*(self.at(key) for key in keys))

    def fault(self, key: str, what: str, hint: str = "", *, warning: bool = False) -> None:
        """Reports a fault (or a warning) of `key`."""
        self.faults.add(self.at(key), what, hint, warning=warning)

    def _take(self, key: str, required: bool) -> Node | None:
        self._asked.add(key)
        node = self._items.get(key)
        self.faults.ask(self.kind, key, node is not None)
        if node is None and required and self.readable:
            self.faults.missing(self.at(key))
        return node

    def read(self, key: str, parse: Callable[[str], T], default: D, required: bool = False) -> T | D:
        """The scalar of `key` by `parse`; `default` where it is absent or faulty."""
        node = self._take(key, required)
        return default if node is None else self._scalar(node, self.at(key), parse, default)

    def read_list(self, key: str, parse: Callable[[str], T], required: bool = False) -> tuple[T, ...] | None:
        """The scalars of the list under `key`, without the faulty; None where there is no list.

        An empty list and a value written twice are faults.
        """
        node = self._take(key, required)
        if node is None or node.value is None:
            return None
        path = self.at(key)
        if not isinstance(node.value, list):
            example = f"write [{node.value}]" if isinstance(node.value, str) and node.value else "write [one, two]"
            self.faults.add(path, f"takes a list, and this is {node.describe()}", example)
            return None
        if not node.value:
            self.faults.add(path, "the list is empty", "give it values, or delete the line")
        return self._values(node.value, path, parse)

    def _values(self, nodes: list[Node], path: Path, parse: Callable[[str], T]) -> tuple[T, ...]:
        found: dict[T, None] = {}
        for index, node in enumerate(nodes):
            here = (*path, index)
            value = self._scalar(node, here, parse, None)
            if value is None:
                self.faults.spoil(path)
            elif value in found:
                self.faults.add(here, f"{value} is in this list twice", "delete one")
            else:
                found[value] = None
        return tuple(found)

    def _scalar(self, node: Node, path: Path, parse: Callable[[str], T], default: D) -> T | D:
        if node.value is None:
            self.faults.spoil(path)
        elif not isinstance(node.value, str):
            taken_apart = isinstance(node.value, dict) and any(":" in key for key in node.value)
            hint = QUOTE_SIX if taken_apart else ""
            self.faults.add(path, f"takes a single value, and this is {node.describe()}", hint)
        elif not node.value.strip():
            self.faults.add(path, "has no value", "give it one, or delete it")
        else:
            try:
                return parse(node.value)
            except Wrong as wrong:
                self.faults.add(path, wrong.what, wrong.hint)
        return default

    def section(self, key: str, kind: str, required: bool = False) -> Section:
        """The mapping under `key`, whose keys the caller knows."""
        return Section(self.faults, self.at(key), kind, self._take(key, required))

    def sections(self, key: str, kind: str) -> list[Section]:
        """The mappings of the list under `key`, of which there must be one at least."""
        node = self._take(key, True)
        if node is None or node.value is None:
            return []
        if not isinstance(node.value, list):
            self.faults.add(self.at(key), f"takes a list, and this is {node.describe()}", "begin each entry with '- '")
            return []
        if not node.value:
            self.faults.add(self.at(key), "the list is empty")
        return [Section(self.faults, self.at(key, index), kind, child) for index, child in enumerate(node.value)]

    def named(self, key: str, kind: str, required: bool = False) -> Iterator[tuple[str, Section]]:
        """The entries of the mapping under `key`, whose keys are the operator's own names, as sections of `kind`."""
        outer = self.section(key, f"{key} (names of your own)", required)
        if required and outer.readable and not outer._items:
            self.faults.add(self.at(key), "is empty")
        for name, node in outer._items.items():
            yield name, Section(self.faults, self.at(key, name), kind, node)

    def named_lists(self, key: str, parse: Callable[[str], T]) -> Iterator[tuple[str, tuple[T, ...]]]:
        """The entries of the required mapping under `key`, each a list of scalars, which may be empty."""
        outer = self.section(key, f"{key} (names of your own)", True)
        if outer.readable and not outer._items:
            self.faults.add(self.at(key), "is empty")
        for name, node in outer._items.items():
            if isinstance(node.value, list):
                yield name, self._values(node.value, self.at(key, name), parse)
                continue
            if node.value is not None:
                hint = f"write [{node.value}]" if isinstance(node.value, str) else ""
                self.faults.add(self.at(key, name), f"takes a list, and this is {node.describe()}", hint)
            self.faults.spoil(self.at(key, name))
            yield name, ()

    def close(self) -> None:
        """Every key that was not asked for is unknown."""
        for key in self._items:
            if key not in self._asked:
                self.faults.unknown(self.at(key), self.kind)
