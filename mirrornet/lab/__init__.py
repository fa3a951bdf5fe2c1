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

Decisions
---------
- 2026-11-23: no kernel on our machines has netem, and a test must not depend on one that has.  A process that forwards
  packets between TUN devices does the same in a few hundred lines, and can count what it carried.
- 2026-11-23: namespaces have no names.  A name in /run/netns outlives a crash; a descriptor does not.
- 2026-11-23: what runs in a lab's namespaces is the lab's, and is killed with it.  No list of processes is kept that a
  daemon could escape.
- 2026-11-23: the lab starts programs and knows none of our rooms: what it tests is the command, as everybody calls it.
- 2026-11-23: the zone is lab.example.  unbound answers for .test by itself (RFC 6761 6.2).
"""
