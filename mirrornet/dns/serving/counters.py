"""What a worker counts, and in which order: positions in its row of the control page.

Plain integers, since an enumeration's look-up would cost more than the counting.  All but the last three only grow,
and go on growing when a worker is replaced.  Good answers are not counted: they are what is left of all queries.
"""

from __future__ import annotations

from typing import Final

NAMES: Final = (
    "udp",  # queries by UDP
    "tcp",  # queries by TCP
    "ecs",  # of these, with an ECS option
    "nxdomain",
    "nodata",
    "referral",
    "refused",
    "formerr",
    "notimp",
    "badvers",
    "servfail",  # a bug of ours, or no plan yet
    "truncated",
    "dropped",  # answers, or under 12 octets: no reply
    "limited",  # queries that got a short reply or none: rate.py
    "unsent",  # the kernel would not take the reply
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
    ECS,
    NXDOMAIN,
    NODATA,
    REFERRAL,
    REFUSED,
    FORMERR,
    NOTIMP,
    BADVERS,
    SERVFAIL,
    TRUNCATED,
    DROPPED,
    LIMITED,
    UNSENT,
    TCP_ACCEPTED,
    TCP_REFUSED,
    PLANS,
    PLAN_FAULTS,
    TCP_OPEN,
    GENERATION,
    PID,
) = range(len(NAMES))
