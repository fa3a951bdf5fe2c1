"""From a world and its verdicts to answers: plans, workers, their sockets.

answering.py   a planner, its plans, and the engine they are given to
workers.py     the worker processes
sockets.py     the sockets they read, opened or taken from the service manager
inherit.py     how a new supervisor follows one that was killed or restarted
asked.py       how often each mirror was named
"""
