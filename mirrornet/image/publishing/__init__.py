"""An image becomes a version of itself in a repository.

cut.py       an image cut into blocks on all cores
publish.py   publish
held.py      a repository that one process changes at a time
changing.py  the same of one whose metadata is about to change, with the keys at hand
resign.py    signatures that expire are renewed
rotate.py    new keys in place of old ones
rollback.py  an old content as a new version
retire.py    versions taken out of the metadata
garbage.py   what no version needs any more, and since when: gc
listing.py   what a repository holds
"""
