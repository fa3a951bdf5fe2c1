"""The house rules a count can hold: short files, each with its essay, and nothing that ties them to one machine."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

HOUSE = Path(__file__).resolve().parents[2]
MODULES = sorted((HOUSE / "mirrornet").rglob("*.py"))
CEILING = 400  # lines
NOT_OURS = {"build", "dist", "node_modules", "__pycache__"}
KEPT_DOTS = {".ci", ".gitignore"}
# Written in pieces, so that this file does not find itself.
MACHINE = re.compile("|".join(["(?<![a-z.])/wo" + "rk/", "/ro" + "ot/", "/ho" + "me/[a-z]"]))
REGISTRY = re.compile(
    "|".join(["--index" + "-url", "--extra-index" + "-url", "pypi" + r"\.org", "python" + "hosted", "GO" + "PROXY"])
)


def texts() -> Iterator[tuple[Path, int, str]]:
    """Every line of every text of the tree: (file, line number, line)."""
    pending = [path for path in HOUSE.iterdir() if not path.name.startswith(".") or path.name in KEPT_DOTS]
    while pending:
        path = pending.pop()
        if path.is_dir():
            if path.name not in NOT_OURS and not path.name.endswith(".egg-info"):
                pending += path.iterdir()
            continue
        try:
            content = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(content.splitlines(), 1):
            yield path.relative_to(HOUSE), number, line


def test_there_are_modules_to_judge() -> None:
    assert len(MODULES) > 20


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(HOUSE)))
def test_a_module_is_short_and_opens_with_its_essay(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    count = source.count("\n")
    assert count <= CEILING, f"{count} lines: a file holds one concept; where does this one fall apart?"
    docstring = ast.get_docstring(ast.parse(source)) or ""
    if path.name != "__init__.py":
        assert re.search(r"\w[.!?:)]", docstring), "a module opens with at least one sentence: what, and why so"


def test_no_path_of_one_machine() -> None:
    found = [f"{path}:{number}: {line.strip()[:100]}" for path, number, line in texts() if MACHINE.search(line)]
    assert found == []


def test_no_package_registry() -> None:
    found = [f"{path}:{number}: {line.strip()[:100]}" for path, number, line in texts() if REGISTRY.search(line)]
    assert found == []


def test_no_init_under_tests() -> None:
    found = [str(path.relative_to(HOUSE)) for path in (HOUSE / "tests").rglob("__init__.py")]
    assert found == [], "tests/dns as a package would hide dnspython's dns"


def test_the_names_of_test_files_are_unique() -> None:
    seen: dict[str, Path] = {}
    for path in (HOUSE / "tests").rglob("test_*.py"):
        assert path.name not in seen, f"{path} and {seen[path.name]} have one name"
        seen[path.name] = path
