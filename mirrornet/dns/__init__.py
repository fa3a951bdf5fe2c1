"""The name server: query octets in, and out the mirrors that are nearest to whoever asks.

Read reference.py first: it is the whole server in plain lines.  Everything else is there to say the same, faster, for a
million ranges, and to say why.

    message/        what is in a packet: octets to a Query and back, EDNS, cookies, limits
    records/        records that are the same for everybody: master files, the apex, mirrors' own names
    ranking/        which mirrors are near a place, and why the others are passed over
    planning/       the same for the whole world at once, with exact scopes, as one immutable file
    serving/        from sockets to answers: what a worker process imports (supervisor: app/server/answers/workers.py)
    reference.py    the whole in plain lines; question.py (names that depend on mirrors) and packing.py (dnslib) are its
    asking.py       the other side: a question, and what a reply says, for `doctor`
    explain.py      why this client gets these mirrors; explain_text.py says it to a person
    simulate/       who would be sent elsewhere

Imports go down this list only: reference, explain and simulate, serving, planning, ranking and records, message.

Decisions
---------
- 2026-11-23: five sub-rooms, drawn when the room had 36 files; the walls are a contract in pyproject.toml.
- 2026-11-23: lookup.py and wire.py serve both engines.  What the reference checks independently is the choice, the
  scope and the packing; dnspython is the oracle for the packets themselves.
- 2026-11-23: an opcode other than QUERY gets a header and nothing else (RFC 8906 8.1.4); a question that cannot be read
  likewise.  An OPT goes into every error once one was seen, for FORMERR without it says "no EDNS here" (RFC 6891 7).
- 2026-11-23: a truncated reply has no records at all, rather than those that fit: nobody may use them (RFC 2181 9).
- 2026-11-23: CD is not copied (RFC 4035 3.1.6 lets an authoritative server ignore it); DO is (RFC 3225 3).
- 2026-11-23: minimal answers: no NS, no addresses of SRV targets.  Our client asks for them by name; fewer octets.
- 2026-11-23: an alias is followed one step, and only to what is static and of the same zone: the second name of a
  chain must not be tailored (RFC 7871 7.2.1), and a resolver asks again by itself.
- 2026-11-23: negative answers have scope 0 even where others get data under that name and type (RFC 7871 7.4).
- 2026-11-23: before the first plan we answer SERVFAIL with "Not Ready" at once instead of waiting, so that a resolver
  goes to our sibling.  A replaced worker has its plan before it reads its first query.
- 2026-11-23: cookies are always on, since BIND sends one to everybody and a valid one proves an asker at 56 ns: the
  operator's file of secrets, or a secret of our own.  Without pressure an invalid one costs nobody his answer (RFC 7873
  5.2.4, choice 3); under the rate limit it is BADCOOKIE.
- 2026-11-23: SipHash-2-4 is siphashc's (kept, one C function); the standard library has it for hash() only, keyless.
- 2026-11-23: the rate limit is off unless set.  Public resolvers ask for half the world from a few networks and send no
  cookie, and a limit that is right for a small zone would halve the answers of a great one; gdnsd, Knot and BIND, too,
  leave it to the operator.  Where it is on, it is one limit for all replies to a network, split among the workers.
- 2026-11-23: "all mirrors are down" is an Extended Error with code 0 and a text, for RFC 8914 has no code for it; it is
  a mark in the plan (Entry.last_resort), and such answers take the long road.  Refusals say why (20, 21).
- 2026-11-23: class CH is refused whole: who we are is NSID's to say, which version is nobody's business.
- 2026-11-23: a query of over 4096 octets is malformed.  By TCP 64 KiB of options would fit, 2.5 ms of work each.
- 2026-11-23: TLS is spoken in the workers' own loop by the standard library.  One turn serves 16 connections, with 64
  queries each; before, a thousand busy ones made UDP wait for all of them.
- 2026-11-23: an ECS address beside the /96 that carries IPv4 gets a scope longer than 64, which keeps the /96 out: the
  map has 64 bits, the wire has 128.
- 2026-11-23: a worker learns of its supervisor's death by the end of a pipe, not by PR_SET_PDEATHSIG, which tells of a
  thread's end, not of a process's; and is woken for a new plan by a byte in it.  It answers on for a minute
  (app/server/answers/inherit.py): a planner that dies leaves the answers standing, and nobody probes for longer.
- 2026-11-23: plain Python in batches takes one and a half times Knot's CPU a query (the kernel's share is the same for
  all, and small where processors are new), so there is a compiled step for the common packet and for names that do not
  exist.  respond() stays the one truth: what the step does not plainly know it leaves, limits included, since a bucket
  that is empty costs nobody anything to look at twice.
- 2026-11-23: the step reads the mapped plan and Python's own rate buckets in place.  TTLs are written into each answer
  as it leaves, so that one that changes costs a small array, where Python's answers are written out anew.
- 2026-11-23: an index of /16 blocks stands before the search in C (a few probes in place of eighteen), not in Python,
  where bisect is one call either way.
- 2026-11-23: the plan's columns are mapped copy-on-write, which nobody writes, for ctypes gives no address otherwise.
- 2026-11-23: estimates are whole 1/64 ms, so that numpy and plain code never part over the last bit of a sine.
- 2026-11-23: near-equals are reckoned among those that can stand in A (or AAAA): the nearest with an address of the
  family, under the select url, and what is near-equal to that.  Lagging mirrors take part; slow ones are drawn last.
- 2026-11-23: a rendezvous hash of (place, mirror) chooses near-equals, and one of (the chosen set, mirror) orders them:
  an order by place would part places with the same mirrors, and narrow scopes for a difference nobody sees.
- 2026-11-23: `prefer` comes before distance, and where a preferred mirror can stand in A, only preferred ones do.
- 2026-11-23: a pin (`places: {PREFIX: {mirrors: …}}`) comes before `prefer` and never opens what `only` and `never`
  close.  Its order means something and resolvers shuffle, so A and AAAA hold the first pinned mirror that can, alone.
- 2026-11-23: an as-set or route-set of a zone has its registry before it.  One that the table lacks matches nobody, and
  is a warning: what strangers delete must not stop a name server.
- 2026-11-23: the lists near a mirror go by that mirror's own place and address in `only` and `never`, for they are the
  same for everybody who asks.
- 2026-11-23: fail open takes the stale before the silent before the liars.
- 2026-11-23: a list of eight holds the nearest mirror of each family and one of another AS, in place of the last ones.
- 2026-11-23: scope 0 is kept for answers that the whole world of both families gets (RFC 7871 7.3.1 makes it valid for
  all networks); a family that has one answer while the other has more says 1.
- 2026-11-23: a plan's range stays whole where its addresses' scopes differ, see planfile.py.  Cutting was tried: 8
  million rows for 1.3 million ranges.
- 2026-11-23: an SRV's port is the select url's where the schemes agree, for that is where the mirror was seen to serve.
- 2026-11-23: TTLs also wait for a mirror that was seen without the images or not under the select url: its verdict's
  promise covers these, and it could come in.
- 2026-11-23: the four places where an IPv6 carries an IPv4 count as different from their neighbours, always; only where
  the whole world has one answer may a scope cover them.
- 2026-11-23: an alias into a delegation is answered without the referral that Knot adds: a resolver asks again anyway.
  All else that is static agrees with Knot: rcode, flags, authority and glue (tests/peers/test_peers_static.py).
- 2026-11-23: the control page is written whole when it is made: a sparse one is a bus error on a full disk.
- 2026-11-23: changed files are seen by looking once a second, not by inotify: it is blind on NFS and to a rename over
  the file it watches, and a second passes anyway until we believe that an edit has come to rest.
- 2026-11-23: estimates go by cables (data/detours.py): Brazil and South Africa face each other and are 300 ms apart.
  The first choice is within 10 ms of the best for 95 % instead of 91 % of clients, its p95 regret 9 ms instead of 37
  (50 regions, 8 mirrors; `make bench-nearest`), and hardly less with a table that never saw the client's region.
- 2026-11-23: near-equals are within 10 ms or a tenth of the best; it was a fifth, which at 200 ms meant 40:
  p95 of what a plain client loses went from 23 to 17 ms, and mirrors share as before where it does not matter.
- 2026-11-23: a hop costs 5 ms.  8 and 3 were measured elsewhere (528 probes, three clouds) and are equally good; an AS
  of which nothing is known counts as four hops, so that not being known is no advantage.
- 2026-11-23: an operator's round trips count half and from 1,500 km on in full, between 500 and 1,500 km in part: a
  country pair says nothing of two mirrors in one country, and a step at 1,000 km would part neighbours.
- 2026-11-23: `ipv6: near` is off unless set, since askers with IPv6 alone, and no NAT64, get no AAAA there; `check`
  warns where dual-stack clients lose.  A verdict may name the families it holds for (Verdict.families).
- 2026-11-23: a reload publishes its plan first and moves the probes after it; a zone whose probes would be the same
  keeps its monitor, and no mirror that stays is probed an extra time, for the TTL's promise rests on the interval.
- 2026-11-23: a share of a mirror's weight (a drain, a slow return) is a lot of (place, mirror), not a smaller weight in
  the rendezvous hash: weights say nothing where no more near-equals stand than an answer holds (ranking/closing.py).
- 2026-11-23: what is barred is for these askers as if the mirror were down, and laid over the ground for as long as it
  lasts: 0.2 to 0.5 s of a plan when it changes, nothing while it stays (1 million ranges, 50 mirrors).
- 2026-11-23: no mirror carries more than twice its usual load while another has room (planning/crowding.py).  Twice,
  since of two equals one must be able to stand in for the other, whatever we think of it.  Usual is the greater of what
  it carries with all up and its part of the weights: by weights alone the only mirror of a busy region would be full
  with all up, by loads alone an idle one on an island could help nobody.  A plan with 10 to 40 of 50 mirrors out takes
  0.2 to 1.6 s more by that (600,000 ranges); with hundreds of mirrors it ends after some seconds, as it then stands.
- 2026-11-23: `ipv6: near` is asked before who is closed, or a mirror that closes far away would let another one in.
"""
