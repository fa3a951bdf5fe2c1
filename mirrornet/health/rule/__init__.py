"""The rule: from what probes found to what may be known of a mirror.  All of it pure.

outcome.py     what one probe found, and how the addresses of a mirror make one outcome
freshness.py   who is behind, since when, and when that becomes stale
table.py       the rule by which a mirror is taken in and out: one table
damping.py     what a mirror owes for going up and down
pace.py        whether it is as quick as it was
schedule.py    when each mirror is probed, and which probes look like a client
state.py       what is remembered of a mirror, its verdict and the TTL promise
"""
