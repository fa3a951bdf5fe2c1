"""Signed metadata (The Update Framework): whom to believe, and since when.

versions.py   ImageVersion and Metadata: what signed metadata says, as values        (pure)
verify.py     bytes of signed metadata → what they prove                             (pure)
keyfiles.py   a key where it lies: a PEM file, a token, a service
keys.py       the publisher's keys and the first root
ring.py       keys as they are opened
shelf.py      the publisher's half of the metadata: read, change, sign, write
adapter.py    a fetcher as python-tuf's
roots.py      the client's first root: a file or a pin
seal.py       a signature over a few bytes: what name servers and vantages tell each other
attempt.py    the client's half: one attempt at one mirror, the trust folder, offline
"""
