"""RPSL text → who originates an address and where that is → world.table.  The door to pytricia and requests.

A registry of routes (RADB and its peers) says which AS originates a prefix and nothing of places; the RIRs' statistics
say in which country a block of addresses was registered; inetnum objects say it better where they exist.  This room
lays all of that over each other, once, at import, so that a name server only ever bisects a sorted array.

    importer.py   the shell: dumps and statistics → a table on disk, checked against the old one
    fetch.py      a path or URL → unpacked bytes, read ahead, with limits on everything
    reading/      dumps and statistics → records: an exact reader for all, a fast one for the plain nine tenths
    compiling/    records → the columns of world.table: one origin a prefix, overlapping blocks → ranges, tries
    sets/         as-sets and route-sets → the table's section "sets"; what changed too much is held back
    facts.py      what one object of a registry says
    records.py    what was said, as numpy columns
    bogons.py     what no public route may carry
    sources.py    how much each source is worth
    report.py     what was seen, kept, mended and rejected

Imports go importer → reading → compiling → records → facts.

Decisions
---------
- 2026-11-23: numpy reads the plain routes.  A piece of text is an array of bytes; lines, attributes, octets and digits
  are found for all its objects by a few calls.  Tried before: one regular expression over the file (2.3 s), a loop over
  objects (27 s with all our checks).  Whatever is not plain goes to the exact reader, so speed decides nothing else.
- 2026-11-23: between an inetnum and delegated statistics the smaller block wins, and the inetnum where they are equal.
  An inetnum within its delegation always is the smaller; one that is larger is a registry's placeholder.
- 2026-11-23: a zero-padded octet is mended where it reads the same in octal or can only be decimal, else rejected.
- 2026-11-23: reserved space and private AS numbers never enter, unless `--bogons` asks for them (laboratories).
- 2026-11-23: `newest` compares last-modified first and changed second: RADB stamped a million objects with one
  last-modified day when it moved to IRRd 4.
- 2026-11-23: an AS number's country in delegated statistics counts as its aut-num's, ranked below an authoritative
  registry's and above a third party's.
"""
