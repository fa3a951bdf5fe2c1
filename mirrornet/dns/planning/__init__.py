"""The plan: who gets which mirrors, for the whole world at once, as one immutable file.  Pure; numpy stays in here.

ground.py      the map of the world as columns, with the operator's places laid over it
hops.py        AS hops from the mirrors' ASes; the terms that a zone's estimates go by
distances.py   the estimates of ranking/estimate.py, for all places at once
wards.py       policy by address: where along it prefixes, route-sets and pins begin and end to hold
kinds.py       policy by place: the askers of whom all items say the same
rows.py        equal rows of parallel columns, numbered
standing.py    what verdicts say of each mirror, as columns
spots.py       the ranking of ranking/nearest.py, for all places at once
views.py       ... with mirrors closed or barred to some of a spot's places
sights.py      the ground as it is seen through what is barred
dealing.py     what every place gets: near-equals and lists
loads.py       what each mirror carries
crowding.py    who is full while others are out, and from where on
field.py       what of a zone outlives a plan
lists.py       the answers of one kind, and which of them every place gets
partition.py   ranges of addresses with equal answers, and their exact scopes
plan.py        the Planner: zones, map and verdicts in, a Plan out
planfile.py    the Plan, and its file; what workers map (no numpy)
lookup.py      a name in the plan's tree (RFC 1034 section 4.3.2)
"""
