"""Health: probes → verdicts.  What a mirror says of itself is nothing; what it can prove is everything.

    outcome.py     what one probe found, and how the addresses of a mirror make one outcome     (pure)
    state.py       the three-threshold machine, its one table, the verdict and the TTL promise  (pure)
    freshness.py   who is behind, since when, and when that becomes stale                       (pure)
    overrides.py   what an operator's word makes of a verdict, and how a drain goes             (pure)
    asking.py      from what an operator asks for to overrides and warnings                     (pure)
    schedule.py    when each mirror is probed                                                   (pure)
    target.py      where a probe may go: Host, address, redirects, addresses that are refused   (pure)
    memory.py      what survives a restart
    fetch.py       one connection to one address, and all that can go wrong on it
    probe.py       one probe: tcp, http or block, within one deadline
    catalogue.py   which blocks exist: a trust folder of the prober's own, and a page of the index
    monitor.py     the watch over a zone's mirrors: tasks, clock, dice

A probe goes  order → probe → Outcome (an address) → worst → Outcome (a mirror) → judge → step → Track → Verdict.

Decisions
---------
- 2026-11-23: the first probe decides at once, as in gdnsd.  `up` quick probes in a row would prove little more about
  the next minute than one does, and would delay the first answer by `up` timeouts.
- 2026-11-23: outcomes of a mirror are at least an interval apart (schedule.py), so the TTL promise holds to the
  letter; a mirror that times out is therefore found out after down x (interval + timeout), not down x interval.
- 2026-11-23: a corrupt mirror comes back by itself, but only after `up` probes in a row in each of which the blocks
  that were bad (if they are still there) and eight others are whole.  One good block says nothing about a bad one.
- 2026-11-23: `serves_select` and `holds` have meters of their own with the same thresholds: a lost packet on port 80
  must not take a mirror out of A and AAAA, and they are inside the TTL promise.
- 2026-11-23: the worst of a mirror's addresses decides, and is named.  A family that this machine cannot route is no
  evidence against the mirror as long as another family can be seen.
- 2026-11-23: an http probe asks for metadata/timestamp.json, not for the mirror's "/": what is a mirror of ours must
  have it, and many hosts answer 403 for a folder.
- 2026-11-23: a block that is not there counts only against a mirror whose timestamp is the one we verified: a lagging
  mirror cannot have what is newer than it, and a fresher one may have dropped what is older.
- 2026-11-23: freshness is the timestamp's version, not the snapshot's.  Resigning makes everybody lag for a while,
  but it is also the only sign of a mirror that stopped syncing while nothing was published.
- 2026-11-23: a drain goes by a grid of ten seconds that all clocks share, its first step at once: one plan in ten
  seconds however many mirrors are drained, and servers that know of one override answer alike.
- 2026-11-23: `force-up` and `force-down` end after a day unless told otherwise, a drain lasts until `auto`.  A forced
  verdict that is forgotten sends people to a dead mirror, or keeps a good one idle; a forgotten drain harms nobody.
- 2026-11-23: `force-up` believes the operator about the mirror (probes, families, the select url, other eyes), not
  about what is on it: images that probes found missing stay missing.  What ends it is probes again, so a corrupt
  mirror that was forced up is corrupt again afterwards, unless it has proven itself meanwhile.
- 2026-11-23: a name stands for the mirrors of that name in all zones of a server: it is one machine that gets new
  disks.  `--zone` narrows it.  One pattern that fits nothing spoils the whole request.
"""
