"""Copies of a repository: made, proven, and rid of what nobody needs any more.

    standing.py   which mirror is asked next, and when again                            (pure)
    pace.py       bytes a second, kept by waiting                                        (pure)
    names.py      millions of file names in 32 bytes each                                (pure)
    files.py      one file from the mirrors into its place, verified on the way
    signed.py     the newest signed set that the mirrors have, and its files
    sync.py       a folder that is a verified copy, whenever it is stopped
    remains.py    what a repository holds and does not need; taking it away, later
    garbage.py    what no version has needed for a while: gc, where versions are made
    proof.py      what one mirror holds, against what was signed
    audit.py      many mirrors side by side, and how they stand to each other

A copy asks nobody to be trusted: metadata goes through the client's own code (`trust.attempt`), a file through its
hash, and `inventory` says which files there must be.  Blocks come first, then what is in files/, then metadata, of
which timestamp.json is last: stopped at any moment, a copy is what it was before, with some files more.

Decisions
---------
- 2026-11-23: `sync` believes a file that has its name and its length.  It was verified when it was written, and was
  brought to the disk before the metadata that names it; reading a terabyte every hour wears a cheap host's welcome.
  `--verify` reads all of it.
- 2026-11-23: since when a file is not needed is written down in `.unneeded` in the copy itself.  Times of change tell
  when a file came, not when it went out of use; a list that is lost makes the grace begin anew, which harms nobody.
- 2026-11-23: one sync(2) before the metadata instead of an fsync a file: 76,000 fsyncs take an hour on a cheap disk.
- 2026-11-23: a large file that broke off begins anew; blocks are small, and a pack is not larger than one chooses.
"""
