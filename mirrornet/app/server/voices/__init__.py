"""Who has a say in a verdict: own probes, other eyes, clients, the operator.

probing.py      the monitors of all zones, and how one set follows another
sharing.py      what others see, and what others are told
joining.py      how a server comes to share
naming.py       who of the others is silent, not believed or outvoted
overriding.py   what operators say by hand: kept, applied, ended in time
ordering.py     the verbs' side of that: to the server that runs, or for the next one
measuring.py    from clients' reports of round trips to the plan
"""
