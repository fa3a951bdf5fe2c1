"""A block from mirrors: one request, a race of two, a stretch of many, and rounds until somebody gave it.

What fails here is written down in `mirrors`; what comes is verified before it leaves.

    connections.py   where connections go, how they are made, how long they are kept
    fetch.py         one HTTP GET, with every limit and deadline
    body.py          what a GET gives, and what is here of it meanwhile (pure)
    folder.py        the same from a folder of this machine
    attempt.py       one request to one mirror for a block or the rest of one
    race.py          one block: the best mirror, the hedge, the rest from another, the next
    stretch.py       many blocks in a row by one request
    failover.py      rounds until the deadline, readers before prefetch, proofs
    attached.py      a file signed beside an image (kernel, initrd), whole and verified

Decisions
---------
- 2026-11-23: a connection pool per mirror, not one for all: mirrors may share a URL and differ in address only.
- 2026-11-23: block 404 everywhere fails at once; no answer anywhere is tried until the read's deadline.  The first will
  not change while a reader waits, the second may.
- 2026-11-23: connections are a stack, not a queue, though that takes a session of aiohttp's for each: at 40 ms a block
  of 96 KB takes 45 ms over a connection that was just used and 130 ms over one that rested for half a second.
- 2026-11-23: what is here of a block is kept when its mirror stalls, and the rest asked of another by a range; joined
  bytes that do not verify blame nobody until the whole is here.  In a stretch of blocks the cut is between two blocks.
- 2026-11-23: `--read-deadline never` waits for silence and failures, not for 404 and lies from everybody: no waiting
  mends those.
"""
