"""docs/health.md says what the program does: its tables are made of it, and its sentences name its figures."""

from __future__ import annotations

import runpy
from pathlib import Path

from mirrornet.health.probes import monitor
from mirrornet.health.rule import damping, pace, state

TREE = Path(__file__).resolve().parents[2]
PAGE = (TREE / "docs" / "health.md").read_text(encoding="utf-8")


def test_the_page_is_what_the_script_makes_of_the_program() -> None:
    script = runpy.run_path(str(TREE / "scripts" / "make_health.py"))
    assert script["made"](PAGE) == PAGE, "python scripts/make_health.py"
    for name in script["PARTS"]:
        assert PAGE.count(f"<!-- made by scripts/make_health.py: {name} -->") == 1


def test_a_table_that_was_changed_by_hand_would_be_found() -> None:
    script = runpy.run_path(str(TREE / "scripts" / "make_health.py"))
    changed = PAGE.replace("| in | bad | `down` bad ones | out |", "| in | bad | `up` bad ones | out |")
    assert changed != PAGE == script["made"](changed)


def test_its_sentences_name_the_programs_figures() -> None:
    flat = " ".join(PAGE.split())
    for said in (
        f"owes more than {damping.CUT:g} is held until he owes {damping.REUSE:g}",
        f"If {state.AUDIT} blocks drawn by chance are whole, fewer than {300 / state.AUDIT:g} %",
        f"more than {pace.TIMES:g} times and {pace.BEYOND_MS:g} ms more than usual",
        f"At most {monitor.LIMIT} probes run at once, of all zones together",
    ):
        assert said in flat
