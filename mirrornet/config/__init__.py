"""zones/*.yaml → a proven Zone, or every fault with file:line.

    load.py       files from disk: `load_zone`, `load_zones`, `check_zones`
    tree.py       YAML text → a tree of strings that remembers its lines; the only door to yaml
    section.py    a mapping of the tree, read key by key with types
    schema.py     the keys: type, range and default of each
    values.py     scalars: numbers, durations, countries
    names.py      scalars: host names, mailboxes, URLs
    addresses.py  scalars: addresses, prefixes, sockets to listen on
    trips.py      the file of `round_trips:`
    policy.py     scalars: items of only, prefer, never
    sharing.py    the keys by which servers and vantages share what they see
    prove.py      checks across sections and across files
    owners.py     which names a records file owns
    faults.py     the faults of one file, gathered

Text goes through once: events → tree → draft values → proof.  Nothing stops at the first fault but a fault of YAML's
own syntax, and that only for its file.  zones/example.yaml is the documentation of the keys; a test holds that it
shows every key that schema.py reads.

Decisions
---------
- 2026-11-23: a typed reader of our own in place of pydantic.  One wrong field loses a whole pydantic model, so that the
  checks across keys would wait for the next run; all messages had to be reworded and mapped back to lines anyway.
- 2026-11-23: aliases, anchors, merge keys and tags are refused.  They save a few lines in a file that people read in a
  hurry, and nine lines of them can unfold to gigabytes.
- 2026-11-23: libyaml's parser where there is one, else PyYAML's own.  They disagree on `[2001:db8::]` (one refuses it,
  the other takes it apart); both ways it is a fault with the hint to quote it, and the tests run with both.
- 2026-11-23: two letters in only, prefer and never are always a country; a continent is written `continent:EU`.  AF,
  AS, NA and SA are both.
- 2026-11-23: mirrors may share a url where their addresses differ: that is what serving under the select url means.
  They may not share a url and an address, nor a url where one of them has no addresses.
- 2026-11-23: `ok` may not exceed `up`, and is the smaller of 2 and `up` when left out.  `probe` left out is block where
  there is a repository, else http.
- 2026-11-23: loopback and private addresses of mirrors are taken without a word: who writes them into a zone file means
  them.  Probes refuse such addresses only where a name resolves to them.
"""
