"""Health: probes → verdicts.  What a mirror says of itself is nothing; what it can prove is everything.

    rule/     from what probes found to verdicts: one table, and the TTL promise   (pure)
    probes/   when, where and what is asked; the watch over a zone's mirrors
    words/    what an operator says of a mirror by hand                           (pure)
    eyes/     what other machines see: signed statements, a quorum

A probe goes  order → probe → Outcome (an address) → judge → together → Outcome (a mirror) → step → Track → Verdict.
docs/health.md shows the rule to operators; its tables are made of this room by scripts/make_health.py.

Decisions
---------
- 2026-11-23: the first probe decides at once, as in gdnsd.  `up` quick probes in a row would prove little more about
  the next minute than one does, and would delay the first answer by `up` timeouts.
- 2026-11-23: outcomes of a mirror are at least an interval apart (schedule.py), so the TTL promise holds to the
  letter; a mirror that times out is therefore found out after down x (interval + timeout), not down x interval.
- 2026-11-23: a corrupt mirror comes back by itself, but only after the blocks that were bad (if they are still there)
  and 300 others were whole, eight in a probe, all asked for as a client asks.  One good block says nothing about a bad
  one; 300 say that fewer than 1 % are bad (95 %).  It takes six minutes and 75 MB; a person may be quicker (pardon).
- 2026-11-23: `serves_select` and `holds` have meters of their own with the same thresholds: a lost packet on port 80
  must not take a mirror out of A and AAAA, and they are inside the TTL promise.
- 2026-11-23: within a family the worst of a mirror's addresses decides, and is named.  The families are judged each for
  itself, and the mirror is as good as the better one.  A family that this machine cannot route is no evidence against
  the mirror as long as another family can be seen.
- 2026-11-23: one question more is a meter more, never an `if`: families, the select url, images and pace all go by
  table.py, so that what was proven of it (the promise, exhaustively) holds for all of them.
- 2026-11-23: what stands against a return (flaps, a lie) is a level of its own in the table, the gate, and not a longer
  `up`: how long it takes can be said at once, so TTLs need not be short meanwhile.
- 2026-11-23: damping is on by default, with a half-life of 90 intervals: what is short order depends on how often one
  looks.  It costs a mirror its place from the fourth outage on, but nobody is held while less than half of the weight
  is in use: our own uplink may be what flaps, and clients need mirrors to fall back on.
- 2026-11-23: a mirror that comes back gets its full weight at once (`ramp: 0s`): caches bring its users back over a TTL
  anyway.  Who has slow disks or cold caches may let it grow.
- 2026-11-23: slow is measured against the mirror's own past, not against others: they are elsewhere.  It ranks lower
  and takes nobody out, so it is not in the promise; a probe's time is no reason to lose an answer.
- 2026-11-23: a probe in disguise comes late, never early: outcomes closer than an interval would break the promise.  It
  leaves the select url alone, which clients that mount do not ask for.
- 2026-11-23: the promise is shortened by up to a tenth, by the mirror's name.  A jitter by dice would change TTLs from
  second to second, and two servers of one zone would differ.
- 2026-11-23: a lagging mirror keeps its place among near-equals of A and AAAA (dns/ranking): a publication moves
  nobody.
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
