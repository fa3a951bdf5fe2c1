"""as-sets and route-sets: what registries say of them → the section "sets" of world.table (model/sets.py).

    gather.py    all set objects and all claims of membership, as they are read
    resolve.py   names → the sets meant, claims → members: sets as they may enter a table
    closure.py   all members of every set at once, nested ones included
    changes.py   a set that changed too much since the last table keeps its former content
    section.py   all of these in a row, and what the report tells

What a member list means word by word is read in ../reading/members.py; what a set means to a zone, with the ways by
which members came in, is model/expansion.py and dns/ranking/policy.py.

The threat.  Whom a mirror serves may hang on a set, and a set is what strangers write.  Whoever maintains a set that
is nested in yours changes yours.  In a registry without authority (RADB, ALTDB, ...) a name that is free is anybody's:
a member AS-CUSTOMER whose object vanished can be registered anew by another.  `mbrs-by-ref: ANY` lets everybody claim
to be a member.  What we do: names are qualified by their source, and looked for in the referring set's own source
first; a claim counts only in the set's own source and only with a maintainer that the set names, or ANY (RFC 2622
section 5.1), for maintainers' names mean something in one registry only; words that mean everybody are no members; and
a jump of more than 30 % waits for the operator.  What is left: whoever adds himself to a large set alone stays below
any such limit.  So an item can order mirrors or withhold one, and never make a client read a wrong byte.

Decisions
---------
- 2026-11-23: an unqualified member is looked for in the referring set's source, then by the sources' weights
  (../sources.py), then by the alphabet; among those that exist.
- 2026-11-23: 30 % are counted on all members, nested ones included, that came or went, of those that were.  The set
  that is held is the lowest one that jumps; sets above it follow it.  There is no floor for small sets: one stranger in
  a set of two is what this is for.  A set that was empty and is filled is held.  A name that is new is accepted, since
  no zone can have meant it.  A set that vanishes is held, so that a dump that was left out does no harm.
- 2026-11-23: a held set keeps its former member list where that still means what it meant, else the flat list of all
  members that it had.
- 2026-11-23: rtr-sets, peering-sets and filter-sets say nothing of askers; they are counted as unused.
- 2026-11-23: a route-set's members that are AS numbers or as-sets match askers by origin AS, which is what "the routes
  originated by it" comes to for whoever has an address in one of them.
"""
