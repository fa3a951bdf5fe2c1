"""From sockets to answers: what a worker process imports, and nothing else.

answer.py      respond(): octets of a query → octets of the reply; pure
step.py        the compiled step for the common packet (answer.c), equal to respond(); absent without harm
batch.py       many datagrams in one system call
datagrams.py   UDP
streams.py     TCP and TLS
transport.py   the loop over both
control.py     the page shared with the supervisor: generation, TTLs, counters
counters.py    what is counted, and where in the page
worker.py      the process
"""
