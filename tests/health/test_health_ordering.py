"""What the next probe asks, and under whose name."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from itertools import cycle
from pathlib import Path

from mirrornet.health.probes.ordering import READ, Known, disguised, order
from mirrornet.health.rule.outcome import Kind, Outcome, Sample
from mirrornet.health.rule.state import AUDIT, AUDIT_STEP, Track, step
from mirrornet.model.verdict import State
from mirrornet.model.zone import HealthSettings, Mirror, Select, Zone

MIRROR = Mirror("tokyo", "http://tokyo.example/os", (ip_address("203.0.113.10"),))
ZONE = Zone(
    Path("zone.yaml"), "example.net", "h@example.net", 1, {}, None,
    (Select("select", "http://select.example.net/"),), (MIRROR,), HealthSettings(probe="block"),
)  # fmt: skip
BLOCKS = {name: tuple(Sample(name, bytes([n]) * 32, 9) for n in range(100)) for name in ("debian", "rescue")}
KNOWN = Known(b"root", 4, 17, BLOCKS)
UP, LIAR = Track(state=State.UP), Track(state=State.CORRUPT, suspects=(BLOCKS["debian"][5],))


def numbers(*several: float) -> Callable[[], float]:
    return cycle(several).__next__


def test_usually_one_block_and_the_select_url() -> None:
    asked = order(ZONE, MIRROR, UP, KNOWN, False, numbers(0.6, 0.25))
    assert (asked.samples, asked.select_urls) == ((BLOCKS["rescue"][25],), ("http://select.example.net/",))
    assert (asked.root, asked.expect, asked.audit, asked.sole_image) == (b"root", 17, 200, False)
    assert not asked.disguised
    only = replace(MIRROR, holds=frozenset({"debian"}), addresses=())
    asked = order(ZONE, only, UP, KNOWN, False, numbers(0.999, 0.999))
    assert (asked.samples, asked.select_urls, asked.sole_image) == ((BLOCKS["debian"][99],), (), True)


def test_in_disguise_it_reads_on_and_leaves_the_select_url_alone() -> None:
    asked = order(ZONE, MIRROR, UP, KNOWN, True, numbers(0.0, 0.25))
    assert (asked.samples, asked.select_urls) == (BLOCKS["debian"][25 : 25 + READ], ())
    assert (asked.disguised, asked.next_root) == (True, 5)
    plain = order(ZONE, MIRROR, UP, None, True, numbers(0.0))
    assert (plain.samples, plain.select_urls, plain.disguised, plain.next_root) == ((), (), True, 0)


def test_a_liar_is_asked_for_more_and_again_for_what_was_bad() -> None:
    asked = order(ZONE, MIRROR, LIAR, KNOWN, True, random.Random(1).random)
    assert len(set(asked.samples)) == AUDIT_STEP and asked.suspects == LIAR.suspects
    few = replace(KNOWN, samples={"debian": BLOCKS["debian"][:3]})
    asked = order(ZONE, MIRROR, LIAR, few, True, random.Random(1).random)
    assert (set(asked.samples), asked.audit) == (set(BLOCKS["debian"][:3]), 3)
    none = order(ZONE, MIRROR, LIAR, replace(KNOWN, samples={}), True, numbers(0.0))
    assert (none.samples, none.audit) == ((), AUDIT)  # what cannot be shown is not taken as shown


def test_one_in_ten_looks_like_a_client_and_all_where_a_prober_may_be_lied_to() -> None:
    dice = random.Random(7).random
    share = sum(disguised(UP, dice()) for _ in range(10_000)) / 10_000
    assert 0.09 < share < 0.11
    assert disguised(LIAR, 0.99) and disguised(replace(UP, wary=True), 0.99)
    assert not disguised(Track(), 0.0)  # an answer waits for the first one
    late = step(UP, Outcome(Kind.FAILED, 10, disguised=True), ZONE.health)
    assert disguised(late, 0.99)
