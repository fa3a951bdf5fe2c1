"""read(offset, size): what is here at once, what is not by its blocks, and what will be needed before it is asked for.

    reader.py       read(offset, size): at once where its blocks are here
    blocks.py       one block: memory, on its way, disk, mirrors
    memory.py       inflated blocks: what is used again stays (pure)
    ahead.py        what is read in order is fetched before it is asked for
    streams.py      who reads in order, and how far ahead it pays to go (pure)
    neighbours.py   the block behind the one that is waited for, while that pays (pure)
    batches.py      which of its blocks come by one request (pure)
    gather.py       blocks into the cache before they are read
    forecast.py     what a newer version will cost (pure)
    replay.py       a boot's profile, fetched ahead of the guest
    recording.py    what a boot touches first, and what several boots have in common (pure)

Decisions
---------
- 2026-11-23: several recordings of boots are ordered by places, not by times: a boot over a slow network is the same
  boot, later.  What most of them touched is the profile, so one that read the whole disk adds nothing to it.
- 2026-11-23: readahead has a credit for each handle (16 blocks, and half of what is read in order), so its waste has
  a bound whatever is read.  A window by the mirrors' rates has none, and is wrong after every pause.
- 2026-11-23: one reader's block that the kernel has in memory (preadv2 with RWF_NOWAIT) is verified and inflated in the
  event loop, which is busy for half a millisecond: a hop to a thread and back costs a third of that, and the other core
  has nothing else to do.  Where more requests wait, or a thread is at work already, threads do it.
- 2026-11-23: where a profile is replayed, what it names is no sign of reading in order: a boot's files end where the
  profile does.  Of the first boots with a profile 40 of 110 requests were for what no boot needs, and the guest waited
  for half of them, since the kernel's readahead is answered whole or not at all.
- 2026-11-23: 64 MB in order get 83 % of a line of 40 ms and 200 Mbit/s, not the 90 wished for.  TCP's start alone costs
  0.13 to 0.2 s of its 1.6 (eight fresh connections, no client of ours: 86 %).  Tried besides: a queue of one whole way
  as the window's target (it overflows the router's, 64 to 86 %), 16 requests at the start (61 to 87 %).
- 2026-11-23: no compiled step for reads.  Inflating, hashing and the kernel's copies are C already and three quarters
  of the time; the rest is a reply at a time.
"""
