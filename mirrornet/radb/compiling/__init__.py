"""Records → the columns of world.table.

validity.py   routes that RPKI contradicts go, those that it confirms come first
origins.py    one origin for each prefix
sweep.py      overlapping prefixes and blocks → ranges that cover everything once
ranges.py     the layers over each other, places numbered, neighbours merged
tries.py      the same table as longest match by pytricia
tally.py      what a table holds, in a few numbers
"""
