"""`mirrornet doctor`: a deployment looked at from end to end, from where it is run; one line a check, and what to do.

examination.py   the whole of it: what is looked at, in which order, what is asked again
finding.py       what is said of a check                                                       (pure)
delegation.py    is the zone found at all: the resolver, the parent                             (pure)
servers.py       do all name servers answer, alike, with ECS                                    (pure)
mirrors.py       does each mirror serve what is signed; metadata, certificates, the clock       (pure)
machine.py       disk, files, FUSE, the world.table, the unit                                   (pure)
resolver.py      questions by UDP and TCP
look.py          the mirrors: the probes of `serve`, once
here.py          this machine

Facts are gathered by the shells at the end of the list, all at once; the modules that judge take them as values.  It
changes nothing, writes only to a folder of its own, and asks each server some twenty questions.

Decisions
---------
- 2026-11-23: the probes are those of `serve`, not others that are nearly so: what the doctor calls good, `serve` does.
- 2026-11-23: servers that give different answers are asked once more after three seconds, and then it is a warning: a
  verdict may have flipped at one of them.  Different serials are a fault: files do not travel by themselves.
- 2026-11-23: what cannot be seen from here (no IPv6, a network that lets no DNS out) is a warning, for it is not known.
- 2026-11-23: a resolver that passes no client subnets on is a warning: it is somebody else's, and works.
"""
