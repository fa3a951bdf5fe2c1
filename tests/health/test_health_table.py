"""The table: row by row, against the rule as a person would say it, and the promise by exhaustive search."""

from __future__ import annotations

from collections import deque
from itertools import product

import pytest

from mirrornet.health.rule.outcome import Kind
from mirrornet.health.rule.table import EVIDENCE, NAMES, TABLE, Evidence, Level, Meter, Rule, remaining, threshold, tick
from mirrornet.model.verdict import USABLE
from mirrornet.model.zone import HealthSettings

ALL = [HealthSettings(interval=10, up=up, ok=ok, down=down) for up, ok, down in product(range(1, 5), repeat=3)]
PLAIN = {"+": Evidence.GOOD, "-": Evidence.BAD, "!": Evidence.DAMNING}


def reachable(settings: HealthSettings) -> set[Meter]:
    """Every meter that some sequence of probes leads to."""
    seen, waiting = {Meter()}, deque([Meter()])
    while waiting:
        meter = waiting.popleft()
        for evidence, barred in product(Evidence, (False, True)):
            following = tick(meter, evidence, settings, barred)
            if following not in seen:
                seen.add(following)
                waiting.append(following)
    return seen


def soonest_change(meter: Meter, settings: HealthSettings) -> int:
    """Probes until "in use or not" can differ, by trying all sequences of good and bad ones."""
    layer, depth = {meter}, 0
    while True:
        depth += 1
        layer = {tick(each, evidence, settings) for each in layer for evidence in (Evidence.GOOD, Evidence.BAD)}
        if any((each.level is Level.IN) is not (meter.level is Level.IN) for each in layer):
            return depth


def told(history: str, up: int, ok: int, down: int) -> str:
    """The rule as the essay says it, over a whole history at once: "in" or "out"."""
    state, since = "", 0  # since: where the history of this state begins
    for end in range(1, len(history) + 1):
        probes = history[since:end]
        if not state:
            flipped = "in" if probes == "+" else "out"
        elif state == "out":
            flipped = "in" if probes.endswith("+" * up) else ""
        else:
            unforgiven = probes.rpartition("+" * ok)[2].count("-")
            flipped = "out" if probes.endswith("!") or unforgiven >= down else ""
        if flipped:
            state, since = flipped, end
    return state


def test_the_table_has_a_rule_for_everything_and_names_only_what_is_usable_when_in() -> None:
    assert set(TABLE) == set(product(Level, Evidence))
    assert set(EVIDENCE) == set(Kind)
    assert all((state in USABLE) is (level is Level.IN) for (level, _), state in NAMES.items())


@pytest.mark.parametrize(
    ("row", "rule"), TABLE.items(), ids=lambda row: "-".join(row) if isinstance(row, tuple) else ""
)
@pytest.mark.parametrize("barred", [False, True], ids=["free", "barred"])
def test_every_row_does_what_it_says(row: tuple[Level, Evidence], rule: Rule, barred: bool) -> None:
    level, evidence = row
    for settings in ALL:
        if rule.counts is None:
            assert tick(Meter(level, 1, 1), evidence, settings, barred) == Meter(level, 0, 1)
            continue
        needed = threshold(rule.threshold, settings)
        for counted in range(needed):
            before = Meter(level, counted, 7) if rule.counts == "good" else Meter(level, 7, counted)
            after = tick(before, evidence, settings, barred)
            if counted + 1 == needed:
                assert after == Meter(rule.barred if barred and rule.barred else rule.to)
            elif rule.counts == "good":
                assert after == Meter(level, counted + 1, 7)
            else:
                assert after == Meter(level, 0, counted + 1)


def test_it_is_the_rule_that_the_essay_tells_on_all_histories_of_seven_probes() -> None:
    for settings in (s for s in ALL if max(s.up, s.ok, s.down) < 4):
        for letters in product("+-!", repeat=7):
            history, meter = "".join(letters), Meter()
            for letter in history:
                meter = tick(meter, PLAIN[letter], settings)
            assert meter.level.value == told(history, settings.up, settings.ok, settings.down), (history, settings)


def test_at_the_gate_it_waits_for_as_long_as_it_is_good() -> None:
    settings = HealthSettings(up=3, ok=2, down=3)
    meter = Meter(Level.OUT)
    for _ in range(9):
        meter = tick(meter, Evidence.GOOD, settings, barred=True)
    assert meter == Meter(Level.GATE)
    assert tick(meter, Evidence.BAD, settings, barred=True) == Meter(Level.OUT)
    assert tick(meter, Evidence.GOOD, settings).level is Level.IN
    assert tick(Meter(), Evidence.GOOD, settings, barred=True).level is Level.GATE


@pytest.mark.parametrize("settings", ALL, ids=lambda s: f"{s.up}-{s.ok}-{s.down}")
def test_the_promise_is_exact_in_every_reachable_state(settings: HealthSettings) -> None:
    states = reachable(settings)
    assert {meter.level for meter in states} == set(Level)
    for meter in states:
        assert remaining(meter, settings) == soonest_change(meter, settings)
        assert meter.good <= max(settings.up, settings.ok) and meter.bad <= settings.down


@pytest.mark.parametrize("settings", ALL, ids=lambda s: f"{s.up}-{s.ok}-{s.down}")
def test_damning_evidence_is_enough_at_once(settings: HealthSettings) -> None:
    for meter in reachable(settings):
        assert tick(meter, Evidence.DAMNING, settings).level is Level.OUT
