"""Blocks on disk, shared by all images, versions and mounts of a machine: kept, counted, pinned, let go.

    store.py     blocks on disk, shared by all mounts
    ledger.py    how many bytes a cache folder holds and may hold, one account for all processes
    leaving.py   which blocks leave a full cache
    pins.py      what must stay in it
    disk.py      the disk cache's threads, which verify and inflate

Decisions
---------
- 2026-11-23: every block read from the disk cache is verified, not only the first time after a start.  Hashing costs a
  tenth of inflating, and a cache that is always verified needs no fsync, no marker of a clean end and no fsck.
- 2026-11-23: the cache's quota belongs to its folder and is kept in it; who names another (`--cache-size`) sets it for
  all.  Room is booked under flock before a byte is written, so mounts together never exceed it; the account may be too
  high after a kill (until the next count), never too low.
- 2026-11-23: the cache is not fsynced in batches: after a power cut a file may be short or empty, and its reader
  finds that by its hash.  An fsync a second would cost a spinning disk its reads.
- 2026-11-23: pins that no person made hold half of the quota at most: a profile is written by strangers.
"""
