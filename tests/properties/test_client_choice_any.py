"""Whatever happens, in whatever order: the choice loses no mirror, punishes within its bounds and keeps its budget."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mirrornet.client.mirrors.breaker import COOL_OFF, CORRUPT_OFF
from mirrornet.client.mirrors.choice import HEDGE_BURST, HEDGE_SHARE, Blame, Choice
from mirrornet.client.mirrors.source import Endpoint

NAMES = ("a", "b", "c")
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["good", "unreachable", "corrupt", "lost", "lacks", "order", "hedge"]),
        st.sampled_from(NAMES),
        st.floats(0.0, 30.0),  # seconds until the next event
        st.floats(0.0001, 5.0),  # first byte
        st.binary(min_size=1, max_size=1),
    ),
    max_size=120,
)


@given(EVENTS)
def test_any_history_leaves_a_sound_choice(events: list[tuple[str, str, float, float, bytes]]) -> None:
    choice = Choice()
    choice.update(Endpoint(name, f"http://{name}", rank=rank) for rank, name in enumerate(NAMES))
    now, asked, hedges = 0.0, 0, 0
    corrupt: dict[str, float] = {}
    for what, name, pause, first, block in events:
        now += pause
        if what == "good":
            choice.asked(name, now - first)
            asked += 1
            choice.began(name, first, now)
            choice.verified(name, 100_000, 0.01, now)
            choice.ended(name, now)
        elif what == "lost":
            choice.lost(name, first, "silent", now)
        elif what == "lacks":
            choice.lacks(name, block, now)
        elif what == "hedge":
            hedges += choice.may_hedge(name, 0.05, now)
        elif what == "corrupt":
            choice.failed(name, Blame.CORRUPT, "liar", now)
            corrupt[name] = now
        elif what == "unreachable":
            choice.failed(name, Blame.UNREACHABLE, "gone", now)
        order = [endpoint.name for endpoint in choice.order(None, 100_000, now)]
        assert sorted(order) == list(NAMES), "out is last, never lost"
        assert set(endpoint.name for endpoint in choice.order(block, 100_000, now)) <= set(NAMES)
        for record in choice.records():
            assert record.under_way == 0
            assert 0 <= choice.hedge_delay(record.name) <= 2.0
            if record.corrupt_until > now:
                assert order.index(record.name) >= len(NAMES) - sum(r.corrupt_until > now for r in choice.records())
            elif record.out_until is not None and record.name not in corrupt:
                assert record.out_until - now <= COOL_OFF[1]
        for liar, since in corrupt.items():
            record = next(r for r in choice.records() if r.name == liar)
            assert record.corrupt_until >= since + CORRUPT_OFF
    assert hedges <= HEDGE_BURST + HEDGE_SHARE * asked + 1
