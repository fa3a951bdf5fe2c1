"""What the window shows: why, whom, and who asks.

showing.py      what it shows of each zone
explaining.py   why an address gets what it gets, for `explain` and the status page
surveying.py    whom each mirror serves, when somebody looks
watching.py     samples of queries: for the window, and the query log
seeing.py       what may be shown of a sample
simulating.py   two worlds and their plans, for `simulate`
"""
