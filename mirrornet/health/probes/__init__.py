"""The probes: when, where and what is asked, and the watch over all mirrors of a zone.

ordering.py    what the next probe asks                                                     (pure)
target.py      where a probe may go: Host, address, redirects, addresses that are refused   (pure)
memory.py      what survives a restart
fetch.py       one connection to one address, and all that can go wrong on it
probe.py       one probe: tcp, http or block, within one deadline
catalogue.py   which blocks exist: a trust folder of the prober's own, and a page of the index
learning.py    when the catalogue learns, and from whom
monitor.py     the watch over a zone's mirrors: tasks, clock, dice
"""
