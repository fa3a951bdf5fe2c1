"""Who gets a full answer: cookies and the rate limit together, before the question is even looked at.

    a valid cookie, TCP or TLS     the answer, and a fresh cookie; never limited
    else, below the limit          the answer, and a cookie for who sent one (RFC 7873 5.2.3 and 5.2.4, choice 3)
    else                           every second time: BADCOOKIE to who sent a cookie, TC to the others; else silence

One gate for each worker.  `now` is set by whoever owns the clock, once a turn: what a turn's packets differ by is
less than a limit or a cookie can tell.
"""

from __future__ import annotations

from mirrornet.dns.message import edns, wire
from mirrornet.dns.message.cookies import Cookies
from mirrornet.dns.message.rate import ANSWER, SHORT, Limiter


class Gate:
    """`cookies` None: COOKIE options are not understood, like any unknown one.  `limiter` None: no limit."""

    __slots__ = ("cookies", "limiter", "now")

    def __init__(self, cookies: Cookies | None = None, limiter: Limiter | None = None, now: float = 0.0) -> None:
        """`now`: Unix seconds."""
        self.cookies = cookies
        self.limiter = limiter
        self.now = now

    def admit(self, query: wire.Query, peer: bytes, transport: int) -> tuple[int, bytes]:
        """(ANSWER, SHORT or SILENCE; the COOKIE option to send or nothing) for `query` from `peer`."""
        sent, option, valid = query.edns.cookie if query.edns else b"", b"", False
        if sent and self.cookies is not None:
            data, valid = self.cookies.reply(sent, peer, int(self.now))
            option = edns.option(edns.COOKIE, data)
        if valid or transport != wire.UDP:
            return ANSWER, option
        return self.count(peer, transport), option

    def count(self, peer: bytes, transport: int) -> int:
        """ANSWER, SHORT or SILENCE for a packet without a cookie, such as one that cannot be read."""
        if self.limiter is None or transport != wire.UDP:
            return ANSWER
        return self.limiter.admit(peer, self.now)

    def without_question(self, query: wire.Query, peer: bytes, transport: int, cookie: bytes) -> bytes:
        """The reply to a query that asks for a cookie and nothing else (RFC 7873 section 5.4)."""
        assert query.edns is not None
        if not cookie:
            return wire.Malformed(wire.FORMERR, query.id, query.flags, edns=True).reply()
        sent = query.edns.cookie
        good = len(sent) == 8 or self.cookies is None or self.cookies.reply(sent, peer, int(self.now))[1]
        return wire.compose(query, transport, wire.NOERROR if good else wire.BADCOOKIE, options=cookie)


def short(query: wire.Query, transport: int, verdict: int, cookie: bytes) -> bytes | None:
    """What is sent in place of an answer where `verdict` is SHORT or SILENCE: never more octets than were asked with.

    (But for 16 octets of cookie to who has none yet.)
    """
    if verdict != SHORT:
        return None
    if cookie:
        return wire.compose(query, transport, wire.BADCOOKIE, options=cookie)
    return wire.compose(query, transport, truncated=True)
