"""Closures of random sets with loops equal a plain walk; what is held back never jumped, and nothing else is."""

from __future__ import annotations

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from mirrornet.model.expansion import expand
from mirrornet.model.sets import NamedSet, Sets, encode
from mirrornet.radb.sets.changes import LIMIT, compare
from mirrornet.radb.sets.closure import Numbering, Union, components, differing, join, size
from mirrornet.radb.sets.resolve import digest

World = dict[str, NamedSet]


def random_world(dice: random.Random, count: int, large: bool) -> World:
    made = {}
    for number in range(count):
        most = dice.choice([0, 1, 2, 5, 400 if large else 5])
        asns = tuple(sorted(dice.sample(range(1, 1000 if large else 30), most)))
        refs = tuple({f"R::AS-{dice.randrange(count + 1)}" for _ in range(dice.choice([0, 0, 1, 2, 3]))})
        made[f"R::AS-{number}"] = NamedSet(f"R::AS-{number}", asns, refs, digest=digest(asns, refs, ()))
    return made


def changed_world(dice: random.Random, world: World) -> World:
    made = dict(world)
    for name in dice.sample(sorted(world), dice.randrange(len(world) + 1)):
        asns, refs = set(world[name].asns), set(world[name].sets)
        for _ in range(dice.choice([1, 1, 5])):
            asns ^= {dice.randrange(1, 30)}
        if dice.random() < 0.3:
            refs ^= {f"R::AS-{dice.randrange(len(world) + 2)}"}
        given_asns, given_refs = tuple(sorted(asns)), tuple(refs)
        made[name] = NamedSet(name, given_asns, given_refs, digest=digest(asns, refs, ()))
        if dice.random() < 0.1:
            del made[name]
    if dice.random() < 0.5:
        name = f"R::AS-{len(world)}"
        made[name] = NamedSet(name, (dice.randrange(1, 30),), (), digest=dice.getrandbits(64))
    return made


def walked(world: World, name: str) -> set[int]:
    found: set[int] = set()
    waiting, seen = [name], set()
    while waiting:
        here = waiting.pop()
        if here not in seen and here in world:
            seen.add(here)
            found.update(world[here].asns)
            waiting.extend(world[here].sets)
    return found


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 25), st.booleans())
def test_closure_is_what_a_walk_finds(seed: int, count: int, large: bool) -> None:
    world = random_world(random.Random(seed), count, large)
    numbering = Numbering()
    found: dict[str, Union] = {}
    order: list[str] = []
    for component in components(world, lambda name: world[name].sets if name in world else ()):
        order += component
        below = {ref for name in component if name in world for ref in world[name].sets} - set(component)
        assert below <= found.keys()
        union = join([*(numbering.union_of(world[n].asns) for n in component if n in world), *map(found.get, below)])  # type: ignore[list-item]
        found.update(dict.fromkeys(component, union))
    sets = Sets(encode(world.values()))
    assert len(order) == len(set(order)) and world.keys() <= set(order)
    for name in world:
        expected = walked(world, name)
        assert set(numbering.members(found[name])) == expected and size(found[name]) == len(expected)
        number = sets.find(name)
        assert number is not None and expand(sets, number).asns.keys() == expected
        for other in world:
            assert differing(found[name], found[other]) == len(expected ^ walked(world, other))


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 12), st.booleans())
def test_no_set_jumps_by_itself_and_none_is_held_for_nothing(seed: int, count: int, twice: bool) -> None:
    dice = random.Random(seed)
    before = random_world(dice, count, False)
    old = Sets.read(encode(before.values()))
    if twice:  # the old table has held sets already
        middle = compare(changed_world(dice, before), old)
        before, old = middle.sets, Sets.read(encode(middle.sets.values()))
    after = changed_world(dice, before)
    after = {name: NamedSet(name, one.asns, one.sets, digest=one.digest) for name, one in after.items()}
    changes = compare(after, old)
    for name in before:
        was, now = walked(before, name), walked(changes.sets, name)
        assert len(was ^ now) <= LIMIT * len(was), name
        if name in changes.held:
            assert now == was and changes.sets[name].kept == len(was)
    assert changes.sets.keys() - set(changes.held) <= after.keys() and after.keys() <= changes.sets.keys()
    everything = compare(after, old, ["all"])
    assert everything.held == [] and everything.sets == after
    if not changes.held:
        assert changes.sets == after
