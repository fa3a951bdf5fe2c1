"""Bytes of dumps and statistics → what they say.

opening.py    a file opened, checked at its start, entered in the report
further.py    geofeeds, VRPs, AS relationships, geolocation databases: the loops over them
geofeed.py    ... RFC 8805 → blocks
vrps.py       ... validators' JSON → VRPs
relations.py  ... CAIDA's serial-1 and -2 → links
mmdb.py       ... MaxMind's tree → blocks with coordinates
dumps.py      one file: opened, checked, read piece by piece into Records
second.py     another process that reads every other piece
batch.py      one piece → all it says, counted, whoever reads it
rpsl.py       bytes → pieces of whole objects → attributes
objects.py    one object → Route, Block, AutNum, SetObject, or why not: the exact reader
members.py    the member list of an as-set or route-set
columns.py    a piece → all its plain routes and aut-nums at once: the fast reader, equal to the exact one
scan.py       ... the same by a compiled pass (scan.c), where there is a C compiler
prefixes.py   ... their prefixes
text.py       ... their lines and numbers
delegated.py  delegated statistics → blocks and seats of AS numbers: the exact reader
rows.py       a piece of them → all its plain rows at once, equal to the exact reader's
"""
