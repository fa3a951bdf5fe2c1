"""The hall of words: values that every room may hold.  Standard library only, no input or output.

    units.py     durations and sizes as people write them
    address.py   addresses and prefixes as integers; IPv4 hidden in IPv6
    place.py     where an address is, and how far apart two places are
    url.py       what everybody who asks a mirror over HTTP agrees on
    rtt.py       a client's report of its round trips, as it travels
    zone.py      what a zone file means once proven sound
    verdict.py   what may be known of a mirror's health
    override.py  what an operator says of one by hand
    table.py     the layout of world.table, its reader and encoder
    links.py     which AS is whose provider, whose peer
    sets.py      the layout of its as-sets and route-sets; expansion.py: all that is in one
    regions.py   whom each mirror serves
    names.py     what may name an image; which known name was meant
    problem.py   one fault of a text somebody wrote
    errors.py    whose fault it is, and the exit code
    event.py     one line of a log

Decisions
---------
- 2026-11-23: the map of the world keeps 64 bits of an IPv6 address.  Nothing longer than a /64 says anything about a
  place (RFC 4291 2.5.1), ECS sources are /56 (RFC 7871 11.1), and every boundary is one machine word.
- 2026-11-23: a word moves here only when two rooms need it.
"""
