"""Which mirror to ask, and in which order: the client's memory of every mirror.  Pure: time and dice are arguments.

For a block of n bytes the predicted time at a mirror is  first byte + n · (requests under way + 1) / rate,  both
exponentially weighted means over what this client saw itself.  The least predicted time goes first; the one in use
keeps a 20 % advantage, so that two equals do not alternate.  Predictions that differ from the least by no more than
20 %, 2 ms or what the steadier of the two usually varies by are equal as far as anyone can measure; among those the
order of DNS decides, which knows weights and the operator's wishes.  A mirror never measured stands behind those that
were, in the order DNS gave.

A circuit breaker with proof.  Three failures in a row, or one corrupt block, take a mirror out: for 1, 2, 4 … 60 s,
corrupt for at least 10 min.  It comes back by one verified block, fetched in the background (`due` says when), so no
reader pays for finding out.  A mirror that is out still stands at the end of the order: the bytes are verified, so
asking it as a last resort costs time only.  "This block is not here" (404) is remembered per block and is no failure.

When all mirrors fail together the network is at fault: then nobody is taken out, and who was, comes back at once.

The hedge: when a mirror has been silent for longer than it nearly ever is (mean + 3 deviations + transfer, TCP's RTO
rule, RFC 6298, in place of a true p95), the second is asked, too.  Floor 20 ms, cap 2 s.  A budget of one hedge in
twenty requests bounds the extra load (Dean and Barroso, "The Tail at Scale", CACM 2013); past the cap it always goes.
A mirror that lost to a hedge without a single byte failed, as far as the reader is concerned.

Rejected: random choice of two (it needs many clients' view to pay), one active mirror for all reads (what desync and
CernVM-FS do: one bad mirror costs a stall of seconds for everything), ranking by distance (DNS has done that already).
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from mirrornet.client.source import Endpoint

ALPHA: Final = 0.25  # weight of a new sample; TCP takes 1/8 for many more samples (RFC 6298)
FAILURES: Final = 3  # in a row, to be taken out
COOL_OFF: Final = (1.0, 60.0)  # seconds: the first, and the cap of the doubling
CORRUPT_OFF: Final = 600.0  # seconds out for one corrupt block, at least
HEDGE: Final = (0.020, 2.0)  # seconds: floor and cap
HEDGE_UNMEASURED: Final = 0.25  # seconds, where nothing is known of the mirror yet
HEDGE_SHARE: Final = 0.05  # hedges per request, in the long run
HEDGE_BURST: Final = 10.0  # hedges that may go at once
STICKY: Final = 0.8  # the predicted time of the mirror in use counts this much
NEAR: Final = (1.2, 0.002)  # times the least prediction, or seconds above it: equal, so the order of DNS decides
REMEASURE: Final = 60.0  # seconds after which a mirror not asked meanwhile is measured again; 1 s after a failure
FORMER: Final = 256  # mirrors remembered that are not offered any more; names come from DNS, so there is a bound
MISSES_KEPT: Final = 65536  # (mirror, block) pairs of which a 404 is remembered
MISS_LIFETIME: Final = 300.0  # seconds a 404 is believed; a mirror that is being synced gets it later
TOGETHER: Final = 10.0  # seconds within which all must have failed for it to be the network


class Blame(StrEnum):
    """What a mirror is blamed for."""

    UNREACHABLE = "unreachable"  # no connection, a reset, an error of the server
    SLOW = "slow"  # asked, and lost to the hedge without a byte
    CORRUPT = "corrupt"  # bytes that are not those named or signed


@dataclass(slots=True)
class Record:
    """What is known of one mirror.  Times in seconds; moments on the caller's clock."""

    endpoint: Endpoint
    first_byte: float | None = None
    deviation: float = 0.0
    rate: float | None = None  # bytes a second of one request
    failures: int = 0  # in a row
    penalty: float = 0.0  # of the last cool-off
    out_until: float | None = None  # None: in use; else a proof is due from then on
    corrupt_until: float = 0.0
    under_way: int = 0
    asked_at: float | None = None  # when it last answered or failed
    failed_at: float | None = None
    blocks: int = 0
    bytes: int = 0
    missing: int = 0
    blames: Counter[Blame] = field(default_factory=Counter)
    last_blame: str = ""

    @property
    def name(self) -> str:
        return self.endpoint.name

    def predicted(self, size: int) -> float:
        """Seconds until a block of `size` stored bytes would be here."""
        first = self.first_byte if self.first_byte is not None else 1.0 + 0.1 * self.endpoint.rank
        return first + (size * (self.under_way + 1) / self.rate if self.rate else 0.0)


class Choice:
    """The records of all mirrors of one mount, and the rules above."""

    def __init__(self) -> None:
        self._records: dict[str, Record] = {}
        self._misses: OrderedDict[tuple[str, bytes], float] = OrderedDict()
        self._former: OrderedDict[str, Record] = OrderedDict()
        self._tokens = HEDGE_BURST
        self._current = ""
        self.network_down = False
        self.hedges = 0

    # -- what exists

    def update(self, endpoints: Iterable[Endpoint]) -> None:
        """The mirrors from now on.  A mirror of the same name and URL keeps its record, and finds it when it returns:

        a liar that leaves the DNS answer for a minute is still a liar.
        """
        kept: dict[str, Record] = {}
        for endpoint in endpoints:
            known = self._record(endpoint.name)
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

    def _record(self, name: str) -> Record | None:
        return self._records.get(name) or self._former.get(name)

    # -- whom to ask

    def order(self, block: bytes | None, size: int, now: float) -> list[Endpoint]:
        """The mirrors to ask for a block of `size` stored bytes, best first; those out last, those with a 404 not."""
        ranked = []
        for record in self._records.values():
            if block is not None and self._lacks(record.name, block, now):
                continue
            cost = record.predicted(size) * (STICKY if record.name == self._current else 1.0)
            level = 0 if record.out_until is None else 2 if record.corrupt_until > now else 1
            ranked.append(((level, record.first_byte is None), cost, record))
        if not ranked:
            return []
        _, least, best = min(ranked, key=lambda row: row[:2])

        def key(row: tuple[tuple[int, bool], float, Record]) -> tuple[tuple[int, bool], float, int]:
            level, cost, record = row
            noise = max(NEAR[1], min(best.deviation, record.deviation))
            return level, 0.0 if cost <= max(least * NEAR[0], least + noise) else cost, record.endpoint.rank

        ranked.sort(key=key)
        if len(ranked) == len(self._records):  # a 404 says nothing of who is best
            self._current = ranked[0][2].name
        return [record.endpoint for _, _, record in ranked]

    def due(self, now: float) -> list[Endpoint]:
        """The mirrors that should be measured, or may prove themselves, by one block in the background."""
        found = []
        for record in self._records.values():
            if record.under_way:
                continue
            if record.out_until is not None:
                if record.out_until <= now:
                    found.append(record.endpoint)
            elif record.asked_at is None or now - record.asked_at > (COOL_OFF[0] if record.failures else REMEASURE):
                found.append(record.endpoint)
        return found

    def hedge_delay(self, name: str, size: int) -> float:
        """Seconds of silence after which the next mirror is asked beside `name`."""
        record = self._records.get(name)
        if record is None or record.first_byte is None:
            return HEDGE_UNMEASURED
        usual = record.first_byte + 3 * record.deviation + (size / record.rate if record.rate else 0.0)
        return min(max(usual, HEDGE[0]), HEDGE[1])

    def may_hedge(self, waited: float) -> bool:
        """Whether the budget allows one more request after `waited` seconds; takes it if so."""
        if self._tokens >= 1.0:
            self._tokens -= 1.0
        elif waited < HEDGE[1]:
            return False
        self.hedges += 1
        return True

    # -- what happened

    def asked(self, name: str) -> None:
        """A request to `name` starts."""
        self._tokens = min(HEDGE_BURST, self._tokens + HEDGE_SHARE)
        if (record := self._record(name)) is not None:
            record.under_way += 1

    def ended(self, name: str) -> None:
        """That request is over, however it went."""
        if (record := self._record(name)) is not None:
            record.under_way = max(0, record.under_way - 1)

    def verified(self, name: str, size: int, first_byte: float, seconds: float, now: float) -> None:
        """`name` gave a verified block of `size` bytes: the first after `first_byte`, the last after `seconds`."""
        record = self._record(name)
        if record is None:
            return
        self.network_down = False
        record.asked_at = now
        record.blocks += 1
        record.bytes += size
        _sample(record, first_byte)
        transfer = max(seconds - first_byte, 1e-5)
        if size >= 4096:  # what fits in the first packets says nothing of the rate
            rate = size / transfer
            record.rate = rate if record.rate is None else 1 / ((1 - ALPHA) / record.rate + ALPHA / rate)
        record.failures = 0
        if record.corrupt_until <= now:
            record.out_until, record.penalty = None, 0.0

    def lacks(self, name: str, block: bytes, now: float) -> None:
        """`name` answers that it does not have `block`.  That is no failure: it is alive."""
        record = self._record(name)
        if record is not None:
            record.missing += 1
            record.asked_at = now
        self._misses[name, block] = now
        self._misses.move_to_end((name, block))
        while len(self._misses) > MISSES_KEPT:
            self._misses.popitem(last=False)

    def failed(self, name: str, blame: Blame, why: str, now: float) -> None:
        """`name` did not give the block; `why` is one line for a person."""
        record = self._record(name)
        if record is None:
            return
        record.asked_at = record.failed_at = now
        record.blames[blame] += 1
        record.last_blame = why
        record.failures += 1
        if blame is Blame.CORRUPT:
            again = 2 * record.penalty if now >= record.corrupt_until else 0.0
            record.corrupt_until = now + max(CORRUPT_OFF, again)
            record.penalty = record.corrupt_until - now
            record.out_until = record.corrupt_until
            return
        if self._all_failing(now):
            self.network_down = True
            for other in self._records.values():
                if other.corrupt_until <= now:
                    other.out_until, other.penalty = None, 0.0
            return
        if record.out_until is not None and now < record.out_until:
            return  # requests that were under way together fail together: that is one failure, punished once
        if record.failures >= FAILURES or record.out_until is not None:
            record.penalty = min(max(record.penalty * 2, COOL_OFF[0]), COOL_OFF[1])
            record.out_until = max(now + record.penalty, record.corrupt_until)

    def lost(self, name: str, waited: float, why: str, now: float) -> None:
        """`name` was cancelled after `waited` seconds without a byte, because another had the block."""
        record = self._record(name)
        if record is None:
            return
        if record.first_byte is not None and waited > record.first_byte:
            _sample(record, waited)  # a lower bound of the truth
        self.failed(name, Blame.SLOW, why, now)

    # -- within

    def _lacks(self, name: str, block: bytes, now: float) -> bool:
        seen = self._misses.get((name, block))
        return seen is not None and now - seen < MISS_LIFETIME

    def _all_failing(self, now: float) -> bool:
        """Whether every mirror's last answer is a failure to answer, all within TOGETHER seconds."""
        return all(
            record.failures > 0 and record.failed_at is not None and now - record.failed_at <= TOGETHER
            for record in self._records.values()
            if record.corrupt_until <= now
        )


def _sample(record: Record, first_byte: float) -> None:
    if record.first_byte is None:
        record.first_byte, record.deviation = first_byte, first_byte / 2
        return
    error = first_byte - record.first_byte
    record.deviation += ALPHA * (abs(error) - record.deviation)
    record.first_byte += ALPHA * error
