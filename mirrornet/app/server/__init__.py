"""`mirrornet serve` and what belongs to it: the supervisor, its workers, what they are told, what is kept of it.

serve.py        the supervisor of `mirrornet serve`: health, planner, workers, window
workers.py      the worker processes
sockets.py      the sockets they read, opened or taken from the service manager
answering.py    from a world and its verdicts to answers
probing.py      the monitors of all zones, and how one set follows another
sharing.py      what others see, and what others are told
joining.py      how a server comes to share
naming.py       who of the others is silent, not believed or outvoted
verdicts.py     what `serve` knows of the mirrors, for `explain`
inherit.py      how a new supervisor follows one that was killed or restarted
files.py        when the files are worth reading again
manners.py      from `server:` in a zone file to what workers are told
measuring.py    from clients' reports of round trips to the plan
overriding.py   what operators say by hand: kept, applied, ended in time
ordering.py     the verbs' side of that: to the server that runs, or for the next one
tokens.py       who may say it by HTTP
policies.py     the as-sets and route-sets that zones name, held against the table
world.py        all that is read before anything is answered
families.py     selects whose AAAA answers send dual-stack clients far away
explaining.py   why an address gets what it gets, for `explain` and the status page
surveying.py    whom each mirror serves, when somebody looks
showing.py      what the window shows of each zone
simulating.py   two worlds and their plans, for `simulate`
asked.py        how often each mirror was named
watching.py     samples of queries: for the window, and the query log
seeing.py       what may be shown of a sample
trouble.py      what fails for hours is said once
endpoints.py    where clients report to, told by DNS

Decisions
---------
- 2026-11-23: sockets are kept by the service manager (FDSTORE), not by a .socket unit: their number is that of workers
  times addresses, both of which the zone file says.  Sockets of a .socket unit are taken as well.
- 2026-11-23: at a restart the old workers answer until the new ones have a plan, and nothing but the service manager
  knows that it is a restart: its unit asks it and sends SIGUSR2.  Rejected: queueing in the sockets meanwhile (a start
  takes seconds, a buffer holds two of them at best, and resolvers wait for less than one), workers that begin with the
  last plan on the disk (an older or newer program's, whose form may be another).
"""
