"""RPSL text → who originates an address and where that is → world.table.  The door to pytricia, requests, maxminddb.

A registry of routes (RADB and its peers) says which AS originates a prefix and nothing of places; the RIRs' statistics
say in which country a block of addresses was registered; inetnum objects say it better where they exist.  This room
lays all of that over each other, once, at import, so that a name server only ever bisects a sorted array.

    importer.py   the shell: all inputs → a table on disk
    ready.py      a finished table from another server, in place of an import
    inputs.py     what was named for what, read into one pile; whether anything of it is new
    guard.py      whether a new table may take the place of the old one
    generations.py  the tables before this one, and the way back
    fetch.py      a path or URL → unpacked bytes, read ahead, with limits on everything
    fetching/     HTTP, FTP, packed files; resumption; freshness
    reading/      dumps and statistics → records: an exact reader for all, a fast one for the plain nine tenths
    compiling/    records → the columns of world.table: one origin a prefix, overlapping blocks → ranges, tries
    sets/         as-sets and route-sets → the table's section "sets"; what changed too much is held back
    facts.py      what one object of a registry says
    records.py    what was said, as numpy columns
    bogons.py     what no public route may carry
    sources.py    how much each source is worth
    report.py     what was seen, kept, mended and rejected

Imports go importer → inputs → reading → compiling → records → facts, and reading → fetch → fetching.

Decisions
---------
- 2026-11-23: plain routes and aut-nums are read by one compiled pass over a piece (reading/scan.c), where there is no C
  compiler by numpy (reading/text.py), and whatever is not plain by the exact reader, so speed decides nothing else.
  316 MB: exact reader 27 s, one regular expression 2.3 s, numpy 1.1 s, compiled 0.2 s.  With numpy the whole import
  took 1.3 times what polars-rpsl takes to read the file; that is why there is C.  It is built at the first large
  import, into the user's cache folder.
- 2026-11-23: a second process reads every other piece (reading/second.py) where the exact reader has much to do, or
  numpy all: it takes 0.15 s to start, and saved less than that of the compiled pass's 0.5.
- 2026-11-23: the same dumps in any order make the same table: among aut-nums of equal rank and blocks of the same
  addresses the first country in the alphabet wins, which is no worse than the first dump.
- 2026-11-23: between an inetnum and delegated statistics the smaller block wins, and the inetnum where they are equal.
  An inetnum within its delegation always is the smaller; one that is larger is a registry's placeholder.
- 2026-11-23: a country is taken from a geofeed before an mmdb before the registries, whatever the blocks' sizes: who
  names a file on the command line means it, and a network knows its own users.  Coordinates are an mmdb's before a
  geoloc's, and the middle of the country where these lie in another country than the one believed.
- 2026-11-23: a geofeed takes the mark of anycast off a prefix that it names, or a part of one: a resolver's egress list
  says where queries come from, and the anycast list only that its service is everywhere.  A larger prefix of a geofeed
  leaves the mark: it speaks of the network in general.
- 2026-11-23: a bad object or line ends nothing; a file that is not what it was named for, or came cut short, ends the
  import, and the old table stands.  An import of the rest would take a registry's networks from where they were, all
  at once and without anybody having meant it; yesterday's table is wrong in less.
- 2026-11-23: RPKI: invalid pairs are dropped, not ranked last, as IRRd does; a VRP stands in only where no route of its
  very prefix is left (compiling/validity.py).
- 2026-11-23: ranks of sources are overridden by a file (`--sources`), not by flags, and `never` keeps a source out.
- 2026-11-23: a source that vanished is told and not refused, a table that lost its countries is refused (guard.py).
- 2026-11-23: a rollback keeps what it replaces as .undone, and does not stop the next import from fetching the same
  dumps again: who rolls back stops his timer, or says what was wrong with them.
- 2026-11-23: a finished table is fetched with a SHA-256 beside it, not with a signature: https says who made it, the
  sum that it is whole and whether it is new.  One that is older than ours is refused, as one that shrank: a cache on
  the way must not undo a night's import (ready.py).
- 2026-11-23: an mmdb without a radius gets 100 km: two such databases differ by 54 km in the median.
- 2026-11-23: a zero-padded octet is mended where it reads the same in octal or can only be decimal, else rejected.
- 2026-11-23: reserved space and private AS numbers never enter, unless `--bogons` asks for them (laboratories).
- 2026-11-23: `newest` compares last-modified first and changed second: RADB stamped a million objects with one
  last-modified day when it moved to IRRd 4.
- 2026-11-23: an AS number's country in delegated statistics counts as its aut-num's, ranked below an authoritative
  registry's and above a third party's.
"""
