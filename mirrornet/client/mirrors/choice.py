"""Which mirror to ask, and in which order: the client's memory of every mirror.  Pure: the time is an argument.

The predicted time to the end of a block decides (measures.py): its first byte, and then its bytes at the pace that one
request gets, or at that of the line, which all requests to that mirror share.  A mirror that was asked and is silent is
predicted to take at least as long as it has been silent, so that a dead one falls back within a round trip, whatever
the deadlines say.  Predictions that differ from the least by no more than 20 %, 2 ms or what the steadier of the two
usually varies by are equal as far as anyone can measure; among those the order of DNS decides, which knows weights and
the operator's wishes.  A mirror never measured stands behind those that were, in the order DNS gave.

The favourite is the mirror that would be first without load.  It keeps an advantage of 20 %, and in the two seconds
after a change one of four times: so two equals do not alternate.  Within these two seconds there is no other favourite
unless this one falls silent or is out, so a mirror that is good and bad in turn costs one change in that time.

breaker.py says who is out and how he returns.  A mirror that is out still stands at the end of the order: the bytes are
verified, so asking it as a last resort costs time only.  "This block is not here" (404) is remembered per block and is
no failure.  When all mirrors fail together the network is at fault: nobody is taken out, and who was, comes back.

The hedge: when a mirror has been silent for longer than it nearly ever is (p95), the second is asked, too.  Floor 20
ms, cap 2 s.  A budget of one hedge in twenty requests bounds the extra load (Dean and Barroso, "The Tail at Scale",
CACM 2013).  Past the cap it always goes, and it goes when the mirror has sent nobody a byte for twice that time while
another one did, or could not since none was asked: then it is no hedge, but leaving a mirror that is gone.  Who lost to
a hedge and sent nobody anything meanwhile has failed, as far as the reader is concerned; a request that merely lost has
not.

Prefetch is admitted by a window for each mirror (window.py), and never hedged.

Rejected: random choice of two (it needs many clients' view to pay), one active mirror for all reads (what desync and
CernVM-FS do: one bad mirror costs a stall of seconds for everything), ranking by distance (DNS has done that already).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Final

from mirrornet.client.mirrors.breaker import COOL_OFF
from mirrornet.client.mirrors.record import Blame as Blame
from mirrornet.client.mirrors.record import Record as Record
from mirrornet.client.mirrors.source import Endpoint

HEDGE: Final = (0.020, 2.0)  # seconds: floor and cap
HEDGE_UNMEASURED: Final = 0.25  # seconds, where nothing is known of the mirror yet
HEDGE_SHARE: Final = 0.05  # hedges per request, in the long run
HEDGE_BURST: Final = 5.0  # hedges that may go at once
GONE: Final = (2.0, 0.1)  # times the delay of the hedge, and seconds at least: so long silent, a mirror is gone
HANDSHAKES: Final = {"http": 2.0, "https": 3.0}  # round trips to a first byte over a new connection (RFC 8446)
STICKY: Final = 0.8  # the predicted time of the favourite counts this much
HELD: Final = (2.0, 0.25)  # seconds after a change, and how much it counts until then
NEAR: Final = (1.2, 0.002)  # times the least prediction, or seconds above it: equal, so the order of DNS decides
SPILL: Final = 1.25  # times the wait for the best mirror within which prefetch goes to another that has room
REMEASURE: Final = 60.0  # seconds after which a mirror not asked meanwhile is measured again
WARM: Final = 20.0  # seconds, for the two best: their connections stay open and their figures true
FORMER: Final = 256  # mirrors remembered that are not offered any more; names come from DNS, so there is a bound
MISSES_KEPT: Final = 65536  # (mirror, block) pairs of which a 404 is remembered
MISS_LIFETIME: Final = 300.0  # seconds a 404 is believed; a mirror that is being synced gets it later
TOGETHER: Final = 10.0  # seconds within which all must have failed for it to be the network


class Choice:
    """The records of all mirrors of one mount, and the rules above."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._misses: OrderedDict[tuple[str, bytes], float] = OrderedDict()
        self._former: OrderedDict[str, Record] = OrderedDict()
        self._tokens = HEDGE_BURST
        self._held_until = 0.0
        self.favourite = ""
        self.network_down = False
        self.requests = 0
        self.hedges = 0  # those beside another that goes on, or that left a mirror which was gone
        self.left = 0  # of them outside of the budget

    # -- what exists

    def update(self, endpoints: Iterable[Endpoint]) -> None:
        """The mirrors from now on.  A mirror of the same name and URL keeps its record, and finds it when it returns:

        a liar that leaves the DNS answer for a minute is still a liar.
        """
        kept: dict[str, Record] = {}
        for endpoint in endpoints:
            known = self.record(endpoint.name)
            if known is not None and known.endpoint.url == endpoint.url:
                known.endpoint = endpoint
                kept[endpoint.name] = known
            else:
                kept[endpoint.name] = Record(endpoint)
            self._former.pop(endpoint.name, None)
        self._former.update((name, record) for name, record in self._records.items() if name not in kept)
        while len(self._former) > FORMER:
            self._former.popitem(last=False)
        self._records = kept

    def records(self) -> list[Record]:
        """All records, in rank order."""
        return sorted(self._records.values(), key=lambda record: record.endpoint.rank)

    def former(self) -> list[Record]:
        """The records of mirrors that gave or spoilt something and are not offered any more, the last to go at last."""
        return [record for record in self._former.values() if record.blocks or record.blames]

    def record(self, name: str) -> Record | None:
        """What is known of the mirror `name`, offered now or before."""
        return self._records.get(name) or self._former.get(name)

    # -- whom to ask

    def order(self, block: bytes | None, size: int, now: float) -> list[Endpoint]:
        """The mirrors to ask for a block of `size` stored bytes, best first; those out last, those with a 404 not."""
        self._prefer(size, now)
        ranked = []
        for record in self._records.values():
            if block is None or not self._lacks(record.name, block, now):
                cost = record.predicted(size, now, record.under_way) * self._advantage(record, now)
                ranked.append((_level(record, now), cost, record))
        ordered = _sorted(ranked)
        for position, record in enumerate(ordered):  # who returns from being out is first at some requests only
            if record.breaker.out_until is not None or record.breaker.turn(now):
                return [one.endpoint for one in (record, *ordered[:position], *ordered[position + 1 :])]
        return [record.endpoint for record in ordered]

    def roomy(self, order: list[Endpoint], size: int, now: float, line: int = 0) -> list[Endpoint]:
        """Those of `order` that have room for a prefetch now, while `line` others wait for room, too.

        Another mirror than the first is one only if it is no farther than waiting for the first would take.
        """
        if not order or (first := self._records.get(order[0].name)) is None:
            return []
        limit = SPILL * first.predicted(size, now, first.under_way) * (1 + line / first.window.limit)
        found = []
        for endpoint in order:
            record = self._records[endpoint.name]
            room = record.under_way < record.window.limit and (record.out_until is None or record is first)
            if room and record.predicted(size, now, record.under_way) <= limit:
                found.append(endpoint)
        return found

    def due(self, now: float) -> list[Endpoint]:
        """The mirrors that should be measured, or may prove themselves, by one block in the background."""
        best = sorted(self._records.values(), key=lambda record: record.predicted(0, now))[:2]
        found = []
        for record in self._records.values():
            if record.under_way:
                continue
            doubtful = record.failing or record.measures.silence(now) > 0
            every = COOL_OFF[0] if doubtful else WARM if record in best else REMEASURE
            if record.out_until is not None:
                if record.out_until <= now:
                    found.append(record.endpoint)
            elif record.asked_at is None or now - record.asked_at > every:
                found.append(record.endpoint)
        return found

    def hedge_delay(self, name: str, connected: bool = True) -> float:
        """Seconds of silence after which the next mirror is asked beside `name`; not `connected`: handshakes first."""
        record = self._records.get(name)
        late = record.measures.late() if record is not None else None
        if record is None or late is None:
            return HEDGE_UNMEASURED
        trips = 1.0 if connected else HANDSHAKES.get(record.endpoint.url.partition(":")[0], 1.0)
        return min(max(late * trips, HEDGE[0]), HEDGE[1])

    def may_hedge(self, name: str, waited: float, now: float) -> bool:
        """Whether one more request may go after `waited` seconds for `name`; takes it out of the budget if so."""
        if self._tokens >= 1.0:
            self._tokens -= 1.0
        elif waited < HEDGE[1] and not self.gone(name, now):
            return False
        else:
            self.left += 1
        self.hedges += 1
        return True

    def gone(self, name: str, now: float) -> bool:
        """Whether `name` has sent nobody a byte for far too long while another one did, or none was asked meanwhile."""
        record = self._records.get(name)
        if record is None or (since := record.measures.silent_since) is None:
            return False
        if now - since < max(GONE[0] * self.hedge_delay(name), GONE[1]):
            return False
        others = [one.measures for one in self._records.values() if one is not record]
        if any(other.heard_at is not None and other.heard_at > since for other in others):
            return True
        return bool(others) and not any(other.asked_at is not None and other.asked_at > since for other in others)

    # -- what happened

    def asked(self, name: str, now: float) -> None:
        """A request to `name` starts."""
        self.requests += 1
        self._tokens = min(HEDGE_BURST, self._tokens + HEDGE_SHARE)
        if (record := self.record(name)) is not None:
            record.under_way += 1
            record.measures.asked(now)

    def heard(self, name: str, size: int, now: float) -> None:
        """`size` bytes of a body came from `name`."""
        if (record := self.record(name)) is not None:
            record.measures.heard(size, now, record.under_way > 0)

    def ended(self, name: str, now: float) -> None:
        """That request is over, however it went."""
        if (record := self.record(name)) is not None:
            record.under_way = max(0, record.under_way - 1)
            if not record.under_way:
                record.measures.rests(now)

    def began(self, name: str, first_byte: float, now: float) -> None:
        """The first byte of a body came `first_byte` seconds after it was asked for, connecting left out."""
        if (record := self.record(name)) is not None:
            record.measures.first(first_byte)
            record.window.answered(first_byte, record.under_way, now)

    def verified(
        self,
        name: str,
        size: int,
        seconds: float,
        now: float,
        *,
        carried: int = 0,
        blocks: int = 1,
        kept: bool = True,
    ) -> None:
        """`name` gave `blocks` verified blocks of `size` bytes together, `seconds` from the first byte to the last.

        `carried`: bytes of all that came from it in that time.  `kept`: over a connection that was there before.
        """
        record = self.record(name)
        if record is None:
            return
        self.network_down = False
        record.asked_at, record.failing = now, False
        record.blocks += blocks
        record.bytes += size
        record.measures.heard(0, now, record.under_way > 0)
        record.measures.transfer(size, carried, seconds, kept)
        record.breaker.verified(now)

    def lacks(self, name: str, block: bytes, now: float) -> None:
        """`name` answers that it does not have `block`.  That is no failure: it is alive."""
        record = self.record(name)
        if record is not None:
            record.missing += 1
            record.asked_at, record.failing = now, False
            record.measures.heard(0, now, record.under_way > 0)
        self._misses[name, block] = now
        self._misses.move_to_end((name, block))
        while len(self._misses) > MISSES_KEPT:
            self._misses.popitem(last=False)

    def failed(self, name: str, blame: Blame, why: str, now: float) -> None:
        """`name` did not give the block; `why` is one line for a person."""
        record = self.record(name)
        if record is None:
            return
        record.asked_at = record.failed_at = now
        record.failing = True
        record.blames[blame] += 1
        record.last_blame = why
        if blame is Blame.CORRUPT:
            record.breaker.lied(now)
            return
        record.window.failed(now)
        if blame is Blame.UNREACHABLE and record.measures.silence(now) < HEDGE[1]:
            record.measures.heard(0, now, record.under_way > 0)  # a refusal is an answer
        if self._all_failing(now):
            self.network_down = True
            for other in self._records.values():
                other.breaker.pardoned(now)
            return
        record.breaker.failed(now)

    def gave_up(self, name: str, size: int, seconds: float, carried: int) -> None:
        """Of a body of `name`, `size` bytes came in `seconds`; the rest was asked of another, or is not wanted."""
        if (record := self.record(name)) is not None and size:
            record.measures.transfer(size, carried, seconds)

    def lost(self, name: str, waited: float, why: str, now: float) -> None:
        """`name` was given up after `waited` seconds without a byte, because another had the block."""
        record = self.record(name)
        if record is None:
            return
        if record.first_byte is not None and waited > record.first_byte:
            record.measures.first(waited)  # a lower bound of the truth
        if record.measures.silence(now) >= 0.75 * waited:  # hardly anything came meanwhile, for anybody
            self.failed(name, Blame.SLOW, why, now)

    # -- within

    def _prefer(self, size: int, now: float) -> None:
        """Sees to it that the favourite is who would be first without load."""
        held = self._records.get(self.favourite)
        if now < self._held_until and held is not None and held.out_until is None and not self._silent(held, now):
            return
        rows = [(_level(r, now), r.predicted(size, now) * self._advantage(r, now), r) for r in self._records.values()]
        best = next((r for r in _sorted(rows) if r.breaker.share(now) in (0.0, 1.0)), None)
        if best is None or best.name == self.favourite:
            return
        if self.favourite and best.first_byte is not None:
            self._held_until = now + HELD[0]
        self.favourite = best.name

    def _advantage(self, record: Record, now: float) -> float:
        if record.name != self.favourite or self._silent(record, now):
            return 1.0
        return HELD[1] if now < self._held_until else STICKY

    def _silent(self, record: Record, now: float) -> bool:
        return record.measures.silence(now) > self.hedge_delay(record.name)

    def _lacks(self, name: str, block: bytes, now: float) -> bool:
        seen = self._misses.get((name, block))
        return seen is not None and now - seen < MISS_LIFETIME

    def _all_failing(self, now: float) -> bool:
        """Whether every mirror's last answer is a failure to answer, all within TOGETHER seconds."""
        return all(
            record.failing and record.failed_at is not None and now - record.failed_at <= TOGETHER
            for record in self._records.values()
            if record.corrupt_until <= now
        )


def _level(record: Record, now: float) -> tuple[int, bool]:
    level = 0 if record.out_until is None else 2 if record.corrupt_until > now else 1
    return level, record.first_byte is None


def _sorted(rows: list[tuple[tuple[int, bool], float, Record]]) -> list[Record]:
    """Best first: by level, then by cost, and by rank where costs cannot be told apart."""
    if not rows:
        return []
    _, least, best = min(rows, key=lambda row: row[:2])

    def key(row: tuple[tuple[int, bool], float, Record]) -> tuple[tuple[int, bool], float, int]:
        level, cost, record = row
        noise = max(NEAR[1], min(best.measures.deviation, record.measures.deviation))
        return level, 0.0 if cost <= max(least * NEAR[0], least + noise) else cost, record.endpoint.rank

    return [record for _, _, record in sorted(rows, key=key)]
