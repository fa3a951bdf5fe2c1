"""Bytes of dumps and statistics → what they say.

dumps.py      one file: opened, checked, read piece by piece into Records
rpsl.py       bytes → pieces of whole objects → attributes
objects.py    one object → Route, Block, AutNum, or why not: the exact reader
columns.py    a piece → all its plain routes at once: the fast reader, equal to the exact one
delegated.py  delegated statistics → blocks and seats of AS numbers
"""
