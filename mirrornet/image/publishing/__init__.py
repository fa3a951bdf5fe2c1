"""An image becomes a version of itself in a repository.

source.py    what is published: an image, a device, a .cloop
cut.py       it is cut into blocks on all cores
store.py     the blocks/ folder, written by many threads
previous.py  what stays of the version before
carry.py     its boot's profile, by where the blocks are now
packs.py     many blocks in one file
tally.py     which blocks were met before, for the figures
boot.py      --boot: which files start an image
attach.py    files beside an index: profile, kernel, initrd, cmdline
publish.py   publish
export.py    a version as a raw image or a .cloop again
held.py      a repository that one process changes at a time
changing.py  the same of one whose metadata is about to change, with the keys at hand
resign.py    signatures that expire are renewed
rotate.py    new keys in place of old ones
rollback.py  an old content as a new version
retire.py    versions taken out of the metadata
listing.py   what a repository holds
"""
