"""Records that are the same for everybody: from a master file, and from the zone file.  Pure; the door to dnslib.

masterfile.py   the lines of a master file (RFC 1035 section 5)
static.py       a records file → record sets, or every fault with its line
coherence.py    what only shows across lines: CNAME alone, glue, hidden records
rdata.py        rdata of our own answers: addresses, SRV, URI, TXT, SOA
"""
