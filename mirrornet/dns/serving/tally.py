"""What one packet adds to the counters (counters.py, hits.py), told by what became of it.  Pure.

The quick road of answer.py counts each answer of each foreseen question with one addition; `settle` makes counters of
that, once a second.  The compiled step counts the same by itself; a test holds the two equal.
"""

from __future__ import annotations

from collections.abc import Iterable

from mirrornet.dns.message import wire
from mirrornet.dns.message.rate import SILENCE
from mirrornet.dns.planning.lookup import Found, Kind
from mirrornet.dns.planning.planfile import Entry, Plan
from mirrornet.dns.serving import counters

_BY_RCODE = {
    wire.FORMERR: counters.FORMERR,
    wire.NOTIMP: counters.NOTIMP,
    wire.BADVERS: counters.BADVERS,
    wire.BADCOOKIE & 15: counters.BADCOOKIE,
}
_BY_KIND = {
    Kind.NXDOMAIN: counters.NXDOMAIN,
    Kind.NODATA: counters.NODATA,
    Kind.REFERRAL: counters.REFERRAL,
    Kind.REFUSED: counters.REFUSED,
}


class Hot:
    """One foreseen question, with its answers as far as they have been asked for, by RD and answer number.

    `given`: how often each answer was given since the last `Tally.settle`; `located`: likewise, to who sent an address
    by ECS.
    """

    __slots__ = ("edns", "entry", "given", "kind", "located", "question", "ranges4", "ranges6", "tails")

    def __init__(self, question: bytes, edns: bool, entry: Entry, plan: Plan) -> None:
        self.question = question
        self.edns = edns
        self.entry = entry
        self.tails: tuple[dict[int, bytes], ...] = ({}, {}, {}, {})  # by RD + 2 * DO
        self.given = [0] * len(entry.rrsets)
        self.located = [0] * len(entry.rrsets)
        self.kind = counters.of_type(int.from_bytes(question[-4:-2], "big"))
        partition = plan.partitions[entry.partition] if entry.partition >= 0 else None
        self.ranges4 = None if partition is None else partition.ranges4
        self.ranges6 = None if partition is None else partition.ranges6


class Tally:
    """`counts`: as in counters.py; `hits`: answers by TTL slot, u32."""

    __slots__ = ("counts", "hits")

    def __init__(self, counts: list[int], hits: memoryview) -> None:
        self.counts = counts
        self.hits = hits

    def settle(self, foreseen: Iterable[Hot]) -> None:
        """Counts what the quick road has answered."""
        for hot in foreseen:
            for tally, counted in ((hot.given, (hot.kind,)), (hot.located, (hot.kind, counters.ECS))):
                if not any(tally):
                    continue
                for number in counted:
                    self.counts[number] += sum(tally)
                for answer, times in enumerate(tally):
                    if times:
                        self.given(hot.entry, answer, times)
                        tally[answer] = 0

    def given(self, entry: Entry, answer: int, times: int = 1) -> None:
        """An answer with records, by its class."""
        counts, slot = self.counts, entry.slots[answer]
        if slot < 0:
            counts[counters.STATIC] += times
            return
        self.hits[slot] = self.hits[slot] + times & 0xFFFFFFFF
        counts[counters.TAILORED] += times
        if answer in entry.last_resort:
            counts[counters.LAST_RESORT] += times
        elif not answer and entry.partition >= 0:
            counts[counters.ANYWHERE] += times

    def found(self, qtype: int, found: Found, answer: int) -> None:
        """A query that was looked up."""
        self.counts[counters.of_type(qtype)] += 1
        if found.kind in _BY_KIND:
            self.counts[_BY_KIND[found.kind]] += 1
        elif found.kind is Kind.ANSWER and found.entry is not None:
            self.given(found.entry, answer)
        elif found.kind is not Kind.CNAME:  # what ANY gets
            self.counts[counters.STATIC] += 1

    def alias(self, rcode: int) -> None:
        """A query whose answer is an alias; the rcode is that of the last name (RFC 6604)."""
        self.counts[counters.STATIC if rcode == wire.NOERROR else counters.NXDOMAIN] += 1

    def refused(self, rcode: int) -> None:
        """A packet that is no query we answer, or asks for no more than a cookie.  `rcode`: the reply's."""
        self.counts[_BY_RCODE.get(rcode, counters.STATIC)] += 1

    def limited(self, verdict: int, cookie: bytes = b"", kind: int | None = None) -> None:
        """A query over the limit, of a type that is counted at `kind` (None: it was not read)."""
        counts = self.counts
        counts[counters.LIMITED] += 1
        if kind is not None:
            counts[kind] += 1
        if verdict == SILENCE:
            counts[counters.SILENCED] += 1
        else:
            counts[counters.BADCOOKIE if cookie else counters.SHORTENED] += 1
