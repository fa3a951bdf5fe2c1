"""Which mirrors are near a place, in plain code.  Pure.  The planner does the same for all places at once.

whereabouts.py   where an address is: the operator's word before the table's
estimate.py      milliseconds from a place to a mirror
terms.py         what an estimate may know besides two places: detours, round trips, AS hops, measurements
reports.py       what clients reported of their round trips, in bounded memory
measured.py      from reports to what an estimate may take from them: medians of differences, within bounds
rendezvous.py    near-equals share by a weighted hash of (place, mirror)
policy.py        whom a mirror serves: items of `only`, `prefer`, `never`, and pins
unreached.py     from reports to who cannot reach a mirror: by AS
barring.py       whom vantages and clients have seen that it cannot be reached by
closing.py       the places that a mirror sheds: a drain, a slow return, and one that is full
reasons.py       ... and why, in words, with the chain of sets
nearest.py       the ranking, with a reason for every mirror passed over
families.py      what dual-stack plain clients lose where AAAA is far and A near
promise.py       the TTL of an answer: how long no probe can change it
"""
