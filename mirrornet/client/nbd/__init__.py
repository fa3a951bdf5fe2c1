"""NBD: the image for QEMU, containers and systems without FUSE, over a unix socket or TCP.

    wire.py        the protocol's numbers and messages, as bytes                                 (pure)
    handshake.py   what a client and we agree upon before its first read                         (pure)
    extents.py     which parts of an image are holes                                             (pure)
    reads.py       what it is answered: reads, holes, prefetch
    connection.py  one client: requests in, replies out, and what bounds both
    server.py      all clients of one export

The protocol is that of the document doc/proto.md in the repository NetworkBlockDevice/nbd; names of messages and flags
are its names, and a section is cited by its title.  We speak the fixed newstyle handshake, simple and structured
replies, and the metadata context base:allocation.  The export is read-only, one image version, and never changes, so a
client may use several connections to it at once (NBD_FLAG_CAN_MULTI_CONN).

Whoever is connected may be slow, silent or hostile.  A connection holds at most its share of a fixed total of bytes,
is served some dozens of requests a turn, has ten seconds for its handshake, and is dropped when it takes nothing of
what it asked for within a minute.  What it sends that is no NBD ends that connection alone.

Decisions
---------
- 2026-11-23: no TLS.  A socket of a file is nobody else's, and who exports to a network has stunnel, WireGuard or ssh;
  certificates for it would be a second trust beside the repository's.  `--listen` says that anybody there may read.
- 2026-11-23: the memory is a total shared by all connections, not a limit for each: two hundred of 8 MiB are 1.6 GB.
- 2026-11-23: a read without structured replies of more than a megabyte begins to leave before its end is here; what
  fails then ends the connection, as the protocol demands.  To hold 32 MiB for each client would be the alternative.
- 2026-11-23: a block is 256 KiB on disk and on the wire, yet any offset and length may be asked for: minimum 1.
"""
