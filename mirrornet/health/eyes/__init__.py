"""Many eyes: name servers and vantages tell each other what they see of the mirrors, and a quorum decides.

    observation.py  one vantage's signed statement: bytes and values, and all that makes bytes unbelievable   (pure)
    ledger.py       the newest statement of each vantage: sequence, age, what was refused and why             (pure)
    quorum.py       from own verdicts and fresh statements to one verdict a mirror                            (pure)
    places.py       who is out of reach for some networks only                                                (pure)
    bounds.py       how much of a zone's weight others may move                                               (pure)
    link.py         Redis or Valkey: a few keys, read and written with limits on size and time
    exchange.py     the two halves of sharing: to say what one sees, to hear what others say

    own verdicts ──────────────┬──▶ quorum ─▶ (what operators say by hand) ─▶ bounds ─▶ plan
    Redis ─▶ ledger (signed) ──┘

There is no leader.  Every server computes the same pure function of the same statements, at whole seconds of the
clock; so servers that hear each other give the same answers, and one that hears nobody goes by its own eyes.  A
statement holds verdicts, not single probes: each vantage has judged by the three thresholds already (state.py), so a
quorum needs no memory of its own, and a server that starts in the middle agrees with the others at once.

Redis is a notice board and nothing more.  Whoever can write to it can at most take notices down: each is signed by a
key that the zone file names, carries a sequence that only grows, and expires.

Decisions
---------
- 2026-11-23: one key a vantage and zone, which holds all its verdicts, not one a mirror: one signature, one sequence,
  and no moment in which half of what a vantage says is new.  Readers ask for named keys only, and for as many bytes as
  a zone of that size needs, so that garbage under other names, or of any size, costs nothing.
- 2026-11-23: readers poll the first line of each key twice a second instead of subscribing.  Nobody can push anything
  to a poller; there is one connection and one way to fail; the half second is small beside three missed probes.
- 2026-11-23: a tie keeps a mirror: half of the world reaches it, and the half that does not is told apart by place
  (places.py).
- 2026-11-23: a mirror that these probes have found corrupt is out here, whatever others say: bytes that are not what
  was signed cannot be outvoted.  Others' word for it is a vote like any other, since bytes cannot be shown to third
  parties; so this is the one case in which two servers may differ until both have met the bad block.
- 2026-11-23: a vantage's name follows from its key: servers of a zone share one zone file, and only the key differs.
- 2026-11-23: what is said by hand outlives the statement it came with, for the server that took it may be the one that
  burns; votes do not.
- 2026-11-23: who listed a vantage trusts its probes, not its temper: however often it changes its mind, others together
  cause ten plans at once and one in five seconds after these.
- 2026-11-23: one board.  Two of them would have to be told apart when they disagree; without any, every server still
  has its eyes.
"""
