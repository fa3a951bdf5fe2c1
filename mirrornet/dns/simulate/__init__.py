"""What would change: two plans laid over each other, address by address.  Pure; with numpy, for it is the whole world.

space.py      which addresses count, and how much
sides.py      one plan as columns: what each address gets, and how far that is
compare.py    what moves from where to where, the load of each mirror, the estimates
regions.py    whom each mirror serves, for the status page
scopes.py     how many answers and scopes a resolver has to keep
text.py       the same for a person

Decisions
---------
- 2026-11-23: an address that asks by IPv4 is sent to the mirrors of its A answer in equal shares, for resolvers
  shuffle; one that asks by IPv6 to those of AAAA.  Where there is no such answer it is A, then the first of URI.
- 2026-11-23: IPv4 weighs by addresses and IPv6 by /48s, in space that a prefix of the table (or of `places:`) covers:
  what nobody announces sends no packets.  A /48 is what one site gets (RFC 6177), whatever the network is called.  Of
  one IPv6 range at most 65,536 of them count, a /32: registries hand out /19s to some and /32s to others with as many
  customers, and a handful of giants would be all that one sees.
- 2026-11-23: what moves is the least that must move: where an answer of (a, b) becomes (b, c), half of it stays at b.
- 2026-11-23: both answers are measured with one yardstick, the estimates of the world after the change, which knows
  better; only mirrors that are gone are estimated by the world before.
- 2026-11-23: mirrors are taken as up unless told otherwise, so that the same files say the same on every machine.
"""
