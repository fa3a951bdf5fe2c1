"""Wiring: the only place where rooms meet.  Processes start, reload and stop here; nothing is decided here.

world.py      a world.table, mapped
folders.py    where state, cache and sockets live
serve.py      the supervisor of `mirrornet serve`: health, planner, workers, window
workers.py    the worker processes and their sockets
mount.py      `mirrornet mount`: resolver, repository, cache, reader, kernel
"""
