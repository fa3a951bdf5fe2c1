"""Servers that share a secret know each other's cookies, whatever program they are (RFC 9018): two of ours and Knot."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import dns.edns
import dns.message
import dns.query
import dns.rcode

ZONE = """
zone: mirrors.example
contact: hostmaster@mirrors.example
serial: 1
nameservers: {ns1.mirrors.example: [127.0.0.1]}
select: [{name: select}]
health: {probe: none}
mirrors:
  a: {url: "http://select.mirrors.example/", addresses: [192.0.2.1], place: {country: JP}}
server: {cookies: cookies}
"""
MASTER = "@ 60 SOA ns1 hostmaster 1 3600 600 86400 60\n@ 60 NS ns1\nns1 60 A 127.0.0.1\nselect 60 A 192.0.2.1\n"
SECRET, OTHER = "850448b9ff469b538126d7430805711d", "0123456789abcdef0123456789abcdef"
COOKIE = 10  # the option's code


def ask(peers: Any, server: str, cookie: bytes) -> bytes:
    """The COOKIE option of the reply to a query with `cookie`."""
    query = dns.message.make_query("select.mirrors.example", "A", use_edns=0, payload=1232)
    query.use_edns(0, options=[dns.edns.GenericOption(COOKIE, cookie)])
    address, port = peers.at[server]
    reply = dns.query.udp(query, address, timeout=30, port=port)
    if server == "knot" and len(cookie) == 8:  # it insists on a cookie of its own before it answers
        assert reply.rcode() == dns.rcode.BADCOOKIE
    else:
        assert reply.rcode() == dns.rcode.NOERROR
        assert reply.answer
    (option,) = [option for option in reply.options if option.otype == COOKIE]
    wire: bytes = option.to_wire()
    return wire


def test_a_cookie_of_one_is_good_at_the_others(peers: Any, need: Callable[..., None]) -> None:
    need("knotd")
    for name, secrets in (("ns1", [SECRET]), ("ns2", [SECRET]), ("turning", [OTHER, SECRET]), ("stranger", [OTHER])):
        (peers.folder(name) / "cookies").write_text("\n".join(secrets) + "\n")
        peers.mirrornet(name, ZONE)
    module = f"mod-cookies:\n  - id: c\n    secret: 0x{SECRET}\n"
    peers.knot("knot", {"mirrors.example": MASTER}, module, "    module: mod-cookies/c\n")
    client = b"mirrored"
    for maker in ("ns1", "knot"):
        cookie = ask(peers, maker, client)
        assert len(cookie) == 24
        assert cookie[:8] == client
        for judge in ("ns1", "ns2", "knot"):
            assert ask(peers, judge, cookie) == cookie, (maker, judge)
        # Who has moved on to another secret still knows it, and gives a cookie of the new one instead.
        renewed = ask(peers, "turning", cookie)
        assert renewed[:8] == client
        assert ask(peers, "stranger", renewed) == renewed
        assert ask(peers, "stranger", cookie) != cookie
