"""An operator's word: what it makes of a verdict, and how it is asked for.  Pure.

overrides.py   what an operator's word makes of a verdict, and how a drain goes
asking.py      from what an operator asks for to overrides and warnings
"""
