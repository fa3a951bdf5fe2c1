"""An image becomes a version of itself in a repository.

cut.py       an image cut into blocks on all cores
publish.py   publish
held.py      a repository that one process changes at a time
resign.py    signatures that expire are renewed
listing.py   what a repository holds
"""
