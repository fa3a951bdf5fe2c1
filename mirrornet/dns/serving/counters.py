"""What a worker counts, and in which order: positions in its rows of the control page.

Plain integers, since an enumeration's look-up would cost more than the counting.  All but the last three only grow,
and go on growing when a worker is replaced.  What is most common is not counted, but left over or added up: answers
that were chosen for the asker's place are TAILORED less ANYWHERE and LAST_RESORT, and rcode 0 is TAILORED, STATIC,
NODATA, REFERRAL and SHORTENED.

The latency of a query is that of its batch, from the moment its datagrams (or the octets of its connection) have been
read until the replies have been handed to the kernel: two looks at the clock for up to 64 queries, not two for each,
and they are exact for a server at rest, whose batches hold one.  What a query waited before, in the socket, nobody
here can see; a queue that grows is told by the socket itself (app/server/answers/workers.py: `queued`, `overflowed`).
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Final

NAMES: Final = (
    "udp",  # queries by UDP
    "tcp",  # queries by TCP
    "tls",  # of these, inside TLS
    "ecs",  # queries with an ECS option
    "nxdomain",
    "nodata",
    "referral",
    "refused",
    "formerr",
    "notimp",
    "badvers",
    "badcookie",  # over the limit, or asked for a cookie only and showed a bad one
    "servfail",  # a bug of ours, or no plan yet
    "truncated",
    "dropped",  # answers, or under 12 octets: no reply
    "limited",  # queries that got a short reply or none: rate.py
    "silenced",  # of these, that got none
    "unsent",  # the kernel would not take the reply
    "tailored",  # answers from a map of places, or near a mirror
    "anywhere",  # of these, the one for whom nothing is known of
    "last_resort",  # of these, such with mirrors that are all down (then not counted as "anywhere")
    "static",  # answers that are the same for everybody, and cookies for who asks for nothing else
    "type_a",  # queries that could be read, by type
    "type_aaaa",
    "type_ns",
    "type_soa",
    "type_txt",
    "type_srv",
    "type_uri",
    "type_https",
    "type_any",
    "type_other",
    "within_10us",  # queries by latency; see LATENCIES
    "within_25us",
    "within_50us",
    "within_100us",
    "within_250us",
    "within_500us",
    "within_1ms",
    "within_5ms",
    "within_25ms",
    "within_100ms",
    "later",
    "latency_ns",  # the sum of all latencies
    "shortened",  # queries over the limit that got TC
    "tcp_accepted",  # connections
    "tcp_refused",  # connections closed at once: too many
    "plans",  # plans taken up
    "plan_faults",  # plan files that could not be read
    "tcp_open",  # connections now
    "generation",  # of the plan in use
    "pid",
)
GAUGES: Final = frozenset({"tcp_open", "generation", "pid"})

(
    UDP,
    TCP,
    TLS,
    ECS,
    NXDOMAIN,
    NODATA,
    REFERRAL,
    REFUSED,
    FORMERR,
    NOTIMP,
    BADVERS,
    BADCOOKIE,
    SERVFAIL,
    TRUNCATED,
    DROPPED,
    LIMITED,
    SILENCED,
    UNSENT,
    TAILORED,
    ANYWHERE,
    LAST_RESORT,
    STATIC,
    TYPE_A,
    TYPE_AAAA,
    TYPE_NS,
    TYPE_SOA,
    TYPE_TXT,
    TYPE_SRV,
    TYPE_URI,
    TYPE_HTTPS,
    TYPE_ANY,
    TYPE_OTHER,
    LATENCY,
) = range(33)
LATENCIES: Final = (10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 5e-3, 25e-3, 100e-3)  # upper bounds, seconds
LATENCY_NS: Final = LATENCY + len(LATENCIES) + 1
(SHORTENED, TCP_ACCEPTED, TCP_REFUSED, PLANS, PLAN_FAULTS, TCP_OPEN, GENERATION, PID) = range(
    LATENCY_NS + 1, len(NAMES)
)

_TYPES: Final = {
    1: TYPE_A,
    28: TYPE_AAAA,
    2: TYPE_NS,
    6: TYPE_SOA,
    16: TYPE_TXT,
    33: TYPE_SRV,
    256: TYPE_URI,
    65: TYPE_HTTPS,
    255: TYPE_ANY,
}


def of_type(qtype: int) -> int:
    """Where a query of this type is counted."""
    return _TYPES.get(qtype, TYPE_OTHER)


def took(counts: list[int], queries: int, seconds: float) -> None:
    """Counts the latency of `queries` that were answered together in `seconds`."""
    if seconds < 0:  # a clock that was set back
        seconds = 0.0
    counts[LATENCY + bisect_left(LATENCIES, seconds)] += queries
    counts[LATENCY_NS] += int(seconds * 1e9) * queries
