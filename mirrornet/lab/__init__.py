"""The lab: a network with real distances on one machine, for tests, benchmarks, the demo, and whoever plans his own.

    paths.py        what happens to a packet on its way: delay, rate, loss, a cut     (pure)
    namespaces.py   network namespaces without names, and the TUN device of each
    forwarder.py    the process that carries packets between them
    sweep.py        removing all of it, after a crash too
    network.py      sites by name, programs at them, paths that change while it runs

Decisions
---------
- 2026-11-23: no kernel on our machines has netem, and a test must not depend on one that has.  A process that forwards
  packets between TUN devices does the same in a few hundred lines, and can count what it carried.
- 2026-11-23: namespaces have no names.  A name in /run/netns outlives a crash; a descriptor does not.
- 2026-11-23: what runs in a lab's namespaces is the lab's, and is killed with it.  No list of processes is kept that a
  daemon could escape.
"""
