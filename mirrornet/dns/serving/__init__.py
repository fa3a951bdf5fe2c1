"""From sockets to answers: what a worker process imports, and nothing else.

answer.py      respond(): octets of a query → octets of the reply; pure
step.py        the compiled step for the common packet (answer.c), equal to respond(); absent without harm
batch.py       many datagrams in one system call
datagrams.py   UDP
streams.py     TCP and TLS
transport.py   the loop over both
control.py     the page shared with the supervisor: generation, TTLs, and what follows
counters.py    what is counted, and where in the page
tally.py       what one packet adds to that; pure
hits.py        answers by class
samples.py     some of the queries, as they came
worker.py      the process

Decisions
---------
- 2026-11-23: a worker counts into shared memory and nobody asks it for anything; the compiled step has a row of its own
  there, so that no count is carried over.  What is most common is not counted but left over (counters.py).
- 2026-11-23: latency is a batch's, by two looks at the clock; a look for each query would cost more than the answer's
  table look-up, and a coarse clock (4 ms) cannot tell 2 µs from 2 ms.
- 2026-11-23: the query log is a sample, taken by number and bounded by rate, through a ring that overwrites what is
  old.  A log of every query would cost more than the answers (dnstap writes some 100 octets a query).
"""
