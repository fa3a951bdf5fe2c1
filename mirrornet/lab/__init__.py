"""The lab: a network with real distances on one machine, for tests, benchmarks, the demo, and whoever plans his own.

    world.py        sites on Earth, the round trips between them, their addresses     (pure)
    paths.py        what happens to a packet on its way: delay, rate, loss, a cut     (pure)
    namespaces.py   network namespaces without names, and the TUN device of each
    forwarder.py    the process that carries packets between them
    sweep.py        removing all of it, after a crash too
    network.py      sites by name, programs at them, paths that change while it runs
    mirrors.py      nginx in four kinds, and all that can go wrong with a mirror
    disks.py        small disks, to be filled
    authority.py    certificates for those by HTTPS
    resolvers.py    unbound and BIND as people run them
    nameserver.py   `mirrornet serve` at a site, and its zone file

and for an operator's own zone, `mirrornet lab`:

    clients.py      who asks: cities, countries, coordinates, real addresses                  (pure)
    blueprint.py    from a zone to a world: who stands where, and how far from each other     (pure)
    rewriting.py    the zone file with a lab's addresses, all else as it was                  (pure)
    trial.py        all mount and read, a mirror is cut off, all read on
    report.py       what each client got, before and after                                    (pure)

    soak/           load, readers and faults for minutes on end, and a judge

Decisions
---------
- 2026-11-23: no kernel on our machines has netem, and a test must not depend on one that has.  A process that forwards
  packets between TUN devices does the same in a few hundred lines, and can count what it carried.
- 2026-11-23: namespaces have no names.  A name in /run/netns outlives a crash; a descriptor does not.
- 2026-11-23: what runs in a lab's namespaces is the lab's, and is killed with it.  No list of processes is kept that a
  daemon could escape.
- 2026-11-23: the lab starts programs and knows none of our rooms: what it tests is the command, as everybody calls it.
- 2026-11-23: round trips of an operator's lab are great circles unless he brings a table.  The ranking's own estimate
  knows cables better, but a lab that believed it would confirm whatever the name server says.
- 2026-11-23: a `health: timeout` that no probe could keep in the lab is raised there, and told of.  Left as it is, far
  mirrors were down from the start and the table said nothing else.
- 2026-11-23: a trial cuts its mirror off instead of ending it: nobody answers, as after a power cut, which is harder on
  clients than a refused connection.
- 2026-11-23: the zone is lab.example.  unbound answers for .test by itself (RFC 6761 6.2).
"""
