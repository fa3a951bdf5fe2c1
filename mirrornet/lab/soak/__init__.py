"""The soak: a world under load and under fire, and a judge who was told what to expect.

    schedule.py   which fault strikes whom, when and for how long, from a seed      (pure)
    judge.py      what was seen, held against what is promised                      (pure)
    stage.py      the world: mirrors, name servers, a resolver, a publisher; and how each fault is done to it
    reader.py     a program: reads a mounted image for ever, and compares every byte
    asker.py      a program: asks the name servers for ever, and counts
    memory.py     what the processes of a lab hold in memory
    __main__.py   `python -m mirrornet.lab.soak`: all of it at once, and the report

A fault is drawn every few seconds.  The schedule keeps two mirrors and a name server out of trouble at any moment, so
whatever goes wrong for a reader then is ours: a byte that is wrong, a read past its deadline, an answer that got lost.

Decisions
---------
- 2026-11-23: faults are drawn beforehand, from a seed, and not by what happens: the same seed is the same day, and a
  failure can be looked at again.
- 2026-11-23: an answer counts as lost only where the server it was asked of was in nobody's hands, with some seconds
  to find its feet.  What is on the way to a server that is cut off or stopped is lost with it; one that is killed has
  no such excuse, since its workers answer on.  Its successor says SERVFAIL until it has looked at the mirrors, unless a
  service manager keeps the sockets (app/server/answers/inherit.py), so resolvers ask the other server meanwhile.
- 2026-11-23: a mirror that lied once is no longer counted among the good: clients leave it for ten minutes at least.
"""
