"""The client: a read becomes verified bytes, from whichever mirror is best at that moment.

    source.py       SOURCE as a person writes it; an endpoint: a mirror and where to dial it     (pure)
    resolve.py      from a select name to endpoints, by DNS                                      (the door to dnspython)
    choice.py       what is known of each mirror, and whom to ask next                           (pure)
    record.py       what is known of one mirror                                                  (pure)
    measures.py     first bytes, rates and silence of a mirror                                   (pure)
    breaker.py      whether a mirror is in use: out by failures, back by proof                   (pure)
    window.py       how much prefetch a mirror gets at once                                      (pure)
    descent.py      from a list spread over the world to the mirrors near by                     (pure)
    fetch.py        one HTTP GET, with every limit and deadline
    body.py         what a GET gives, and what is here of it meanwhile                           (pure)
    connections.py  where connections go, how they are made, how long they are kept
    folder.py       the same from a folder of this machine
    share.py        once an hour, if allowed: what was measured, to the name servers
    attempt.py      one request to one mirror for a block or the rest of one
    race.py         one block: the best mirror, the hedge, the rest from another, the next
    stretch.py      many blocks in a row by one request
    failover.py     rounds until the deadline, readers before prefetch, proofs
    cache.py        blocks on disk, shared by all mounts
    ledger.py       how many bytes a cache folder holds and may hold, one account for all processes
    leaving.py      which blocks leave a full cache
    pins.py         what must stay in it
    gather.py       blocks into the cache before they are read
    forecast.py     what a newer version will cost                                               (pure)
    repository.py   which image version, and why it may be believed
    reader.py       read(offset, size): at once where its blocks are here
    blocks.py       one block: memory, on its way, disk, mirrors
    memory.py       inflated blocks: what is used again stays                                    (pure)
    disk.py         the disk cache's threads, which verify and inflate
    cloop.py        the image as the .cloop it also is, computed from the index
    ahead.py        what is read in order is fetched before it is asked for
    streams.py      who reads in order, and how far ahead it pays to go                          (pure)
    neighbours.py   the block behind the one that is waited for, while that pays                 (pure)
    replay.py       a boot's profile, fetched ahead of the guest
    batches.py      which of its blocks come by one request                                      (pure)
    recording.py    what a boot touches first, and what several boots have in common             (pure)
    mount.py        the image as files of the kernel's                                           (the door to pyfuse3)
    kernel.py       pyfuse3's wait for the kernel's next request
    nbd/            the image as an NBD export, for who has no FUSE
    overlaid.py     a file system of the image, writable: what lies over a mount
    guest.py        a virtual machine as QEMU's command line; when it is stuck; its overlay      (pure)
    attached.py     a file signed beside an image (kernel, initrd), whole and verified
    mountpoint.py   mount points: free, stale, held by whom, tuned

A read goes  mount, nbd → reader → (memory | cache | failover → choice, fetch → verify)  and nothing else in the program
may hand bytes of an image to anybody.  Failure is per block, not per mount: one slow or lying mirror costs one block
a hedge.  What each file promises is at its top.

Decisions
---------
- 2026-11-23: every block read from the disk cache is verified, not only the first time after a start.  Hashing costs a
  tenth of inflating, and a cache that is always verified needs no fsync, no marker of a clean end and no fsck.
- 2026-11-23: an address that is not public is dialled only if SOURCE is a URL, or `--resolver` is itself not public
  (source.py says why).  With the system's name servers, DNS cannot send a client into its own network.
- 2026-11-23: a connection pool per mirror, not one for all: mirrors may share a URL and differ in address only.
- 2026-11-23: a mirror that is out stands at the end of the order instead of leaving it.  Bytes are verified, so the
  last resort costs time at worst, and "all mirrors are out" is no state a reader can get stuck in.
- 2026-11-23: proof is by the block that went wrong, not by any block: a mirror with one bad file answers well for all
  others, and would come back every time.
- 2026-11-23: block 404 everywhere fails at once; no answer anywhere is tried until the read's deadline.  The first will
  not change while a reader waits, the second may.
- 2026-11-23: silence is evidence against a mirror before any deadline is: the longer it is silent, the farther back it
  stands, and requests may leave it outside of the hedges' budget once another mirror has answered meanwhile.  A hedge
  that merely won blames nobody.
- 2026-11-23: connections are a stack, not a queue, though that takes a session of aiohttp's for each: at 40 ms a block
  of 96 KB takes 45 ms over a connection that was just used and 130 ms over one that rested for half a second.
- 2026-11-23: prefetch is bounded by delay (LEDBAT) and not by bytes or a fixed number, and for each mirror by itself.
  Readers are not bounded: what they wait for is what the line is for.
- 2026-11-23: what is here of a block is kept when its mirror stalls, and the rest asked of another by a range; joined
  bytes that do not verify blame nobody until the whole is here.  In a stretch of blocks the cut is between two blocks.
- 2026-11-23: `--read-deadline never` waits for silence and failures, not for 404 and lies from everybody: no waiting
  mends those.
- 2026-11-23: unmounting is the system's umount(8), tried plainly first: the kernel alone knows whether a mount is busy
  (working directories, loop devices and mappings count, too), so we ask it instead of counting handles.
- 2026-11-23: the kernel's limits are raised after the first read.  The answer to its first request sets them, so what
  is written before that is lost.
- 2026-11-23: the cache's quota belongs to its folder and is kept in it; who names another (`--cache-size`) sets it for
  all.  Room is booked under flock before a byte is written, so mounts together never exceed it; the account may be too
  high after a kill (until the next count), never too low.
- 2026-11-23: the cache is not fsynced in batches: after a power cut a file may be short or empty, and its reader
  finds that by its hash.  An fsync a second would cost a spinning disk its reads.
- 2026-11-23: pins that no person made hold half of the quota at most: a profile is written by strangers.
- 2026-11-23: several recordings of boots are ordered by places, not by times: a boot over a slow network is the same
  boot, later.  What most of them touched is the profile, so one that read the whole disk adds nothing to it.
- 2026-11-23: readahead has a credit for each handle (16 blocks, and half of what is read in order), so its waste has
  a bound whatever is read.  A window by the mirrors' rates has none, and is wrong after every pause.
- 2026-11-23: one reader's block that the kernel has in memory (preadv2 with RWF_NOWAIT) is verified and inflated in the
  event loop, which is busy for half a millisecond: a hop to a thread and back costs a third of that, and the other core
  has nothing else to do.  Where more requests wait, or a thread is at work already, threads do it.
- 2026-11-23: no compiled step for reads.  Inflating, hashing and the kernel's copies are C already and three quarters
  of the time; the rest is a reply at a time.
- 2026-11-23: the .cloop view passes stored blocks on and inflates nothing.  It is not recorded as a boot's, nor read
  ahead of: whoever reads a .cloop copies it.
- 2026-11-23: two functions of pyfuse3's asyncio module are replaced (kernel.py), not its loop: it takes them from there
  at each call, and a pyfuse3 that does not any more only costs what it cost before.
"""
