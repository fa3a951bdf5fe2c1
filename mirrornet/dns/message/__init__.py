"""What is in a packet: octets to a Query and back, and the manners of the protocol.  Pure but for reading files.

wire.py      the strict reader of a query, the writer of a reply
edns.py      EDNS(0): client subnets, cookies' and other options, extended errors, padding
rrset.py     names and record sets in wire form
cookies.py   DNS cookies (RFC 7873, RFC 9018)
rate.py      response rate limiting by network
gate.py      who is answered, who is told to come back, who gets silence
manners.py   cookie secrets, limits and certificates of the zone file, as a worker needs them
"""
