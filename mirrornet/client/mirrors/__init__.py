"""Mirrors as this client knows them: who there is, what was seen of each, whom to ask next.  All of it pure.

    source.py     SOURCE as a person writes it; an endpoint: a mirror and where to dial it
    descent.py    from a list spread over the world to the mirrors near by
    record.py     what is known of one mirror
    measures.py   first bytes, rates and silence of a mirror
    breaker.py    whether a mirror is in use: out by failures, back by proof
    window.py     how much prefetch a mirror gets at once
    choice.py     what is known of each mirror, and whom to ask next

Decisions
---------
- 2026-11-23: a mirror that is out stands at the end of the order instead of leaving it.  Bytes are verified, so the
  last resort costs time at worst, and "all mirrors are out" is no state a reader can get stuck in.
- 2026-11-23: proof is by the block that went wrong, not by any block: a mirror with one bad file answers well for all
  others, and would come back every time.
- 2026-11-23: silence is evidence against a mirror before any deadline is: the longer it is silent, the farther back it
  stands, and requests may leave it outside of the hedges' budget once another mirror has answered meanwhile.  A hedge
  that merely won blames nobody.
- 2026-11-23: prefetch is bounded by delay (LEDBAT) and not by bytes or a fixed number, and for each mirror by itself.
  Readers are not bounded: what they wait for is what the line is for.
"""
