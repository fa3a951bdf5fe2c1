"""Response rate limiting: so that nobody floods a stranger with our answers by writing in his name.

A network (/24 of IPv4, /56 of IPv6, of the address a packet came from; never of ECS, which anybody may write) has a
bucket of tokens that fills at `rate` a second and holds `BURST` seconds' worth; a reply takes one.  Where the bucket is
empty every second reply is short (TC, or BADCOOKIE to who sent a cookie) and the others are not sent: whoever is there
in truth comes back by TCP or with a cookie, neither of which is limited; whoever is not gets at most what was asked.

The buckets are an array that never grows: a network's place in it is its keyed hash, so that nobody can aim at a
neighbour's.  Two networks at one place share it; with a hundred networks under attack that is one innocent in 1,300.
A bucket is one number, the time at which it will be full again (the "virtual scheduling" of ITU-T I.371), so an old
one needs no tidying.

Rejected: a key with the name or rcode in it, as BIND has (our names are few, and random ones would each be new); a
dictionary with eviction (a flood from random addresses evicts those whom it is to protect).
"""

from __future__ import annotations

from array import array
from typing import Final

from siphashc import siphash

PLACES: Final = 1 << 17  # buckets, 8 octets each
BURST: Final = 2.0  # seconds of replies that may be asked for at once
SLIP: Final = 2  # of so many limited replies one is sent, short

ANSWER, SHORT, SILENCE = range(3)  # what a reply may be


class Limiter:
    """Buckets of `rate` replies a second and network; `key`: 16 octets that nobody else knows."""

    __slots__ = ("_limited", "burst", "full", "interval", "key")  # public: the compiled step shares the buckets

    def __init__(self, rate: float, key: bytes) -> None:
        """Raises ValueError for a rate that is not positive, or a key that is not of 16 octets."""
        if rate <= 0 or len(key) != 16:
            raise ValueError("a limit is a positive number of replies a second, its key 16 octets")
        self.interval = 1.0 / rate
        self.burst = max(BURST, self.interval)
        self.key = key
        self.full = array("d", bytes(8 * PLACES))
        self._limited = 0

    def admit(self, peer: bytes, now: float) -> int:
        """ANSWER, SHORT or SILENCE for a reply to `peer` (4 or 16 packed octets) at `now` (seconds, never going back).

        A clock that does go back forgives nothing and harms nobody for longer than the burst.
        """
        place = siphash(self.key, peer[:3] if len(peer) == 4 else peer[:7]) & PLACES - 1
        full = self.full[place]
        if full < now:
            full = now
        elif full - now > self.burst + self.interval:  # the clock went back
            self.full[place] = full = now + self.burst
        if full + self.interval - now <= self.burst + 1e-9:
            self.full[place] = full + self.interval
            return ANSWER
        self._limited += 1
        return SILENCE if self._limited % SLIP else SHORT
