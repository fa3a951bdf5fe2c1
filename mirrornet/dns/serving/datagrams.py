"""UDP, one datagram at a time, by the standard library alone: what runs where recvmmsg is missing (batch.py).

A reply leaves from the address that was asked (RFC 2181 section 4): a socket bound to one address does that by
itself, one bound to all of them is told by IP_PKTINFO, whose octets go back with the reply (`echoed`).

A turn is a function that answers what has arrived at one socket, a batch at most, and returns: so neither a flood nor
a slow TCP client starves the other (transport.py).
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from time import perf_counter
from typing import Final

from mirrornet.dns.serving import counters

Respond = Callable[[bytes, bytes, int], bytes | None]  # octets, peer, wire.UDP or TCP or TLS
Turn = Callable[[Respond], None]

BATCH: Final = 64  # queries in one turn
QUERY: Final = 4096  # octets read of a datagram; what is longer is cut and so malformed
IP_PKTINFO: Final = getattr(socket, "IP_PKTINFO", 8)  # Linux; the module names it from 3.12 on


def packed(address: str) -> bytes:
    """4 or 16 octets of the address in a socket's address tuple."""
    if ":" in address:
        return socket.inet_pton(socket.AF_INET6, address.partition("%")[0])
    return socket.inet_aton(address)


def anywhere(sock: socket.socket) -> bool:
    """Whether `sock` is bound to all addresses of its family; it then tells each datagram's own (IP_PKTINFO)."""
    if packed(sock.getsockname()[0]).strip(b"\0"):
        return False
    if sock.family == socket.AF_INET:
        sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
    return True


def echoed(info: bytes) -> bytes:
    """The packet information to send back, so that the reply leaves from the address that was asked.

    struct in_pktinfo (12 octets) is interface, local address (which becomes the source), address in the header; the
    second is 127.0.0.1 for all of 127/8, so the third counts.  No interface is named for IPv4, so that the route back
    is the kernel's choice; in in6_pktinfo (20 octets) it is part of a link-local address.
    """
    return bytes(4) + info[8:12] + bytes(4) if len(info) == 12 else info


def turn(sock: socket.socket, counts: list[int]) -> Turn:
    """The turn of the non-blocking UDP socket `sock`.  `counts`: as in counters.py."""
    return _anywhere(sock, counts) if anywhere(sock) else _bound(sock, counts)


def _bound(sock: socket.socket, counts: list[int]) -> Turn:
    receive, send = sock.recvfrom, sock.sendto
    to_octets = socket.inet_aton if sock.family == socket.AF_INET else packed

    def one_turn(respond: Respond) -> None:
        for _ in range(BATCH):
            try:
                data, address = receive(QUERY)
            except OSError:  # drained; or an error that an earlier reply met, which is not ours to mend
                return
            began = perf_counter()
            counts[counters.UDP] += 1
            reply = respond(data, to_octets(address[0]), False)
            if reply is not None:
                try:
                    send(reply, address)
                except OSError:
                    counts[counters.UNSENT] += 1
            counters.took(counts, 1, perf_counter() - began)

    return one_turn


def _anywhere(sock: socket.socket, counts: list[int]) -> Turn:
    if sock.family == socket.AF_INET:
        wanted, size = (socket.IPPROTO_IP, IP_PKTINFO), 12
    else:
        wanted, size = (socket.IPPROTO_IPV6, socket.IPV6_PKTINFO), 20
    space = socket.CMSG_SPACE(size)

    def one_turn(respond: Respond) -> None:
        for _ in range(BATCH):
            try:
                data, ancillary, _flags, address = sock.recvmsg(QUERY, space)
            except OSError:
                return
            began = perf_counter()
            counts[counters.UDP] += 1
            reply = respond(data, packed(address[0]), False)
            if reply is not None:
                own = [(*wanted, echoed(info)) for level, kind, info in ancillary if (level, kind) == wanted]
                try:
                    sock.sendmsg([reply], own, 0, address)
                except OSError:
                    counts[counters.UNSENT] += 1
            counters.took(counts, 1, perf_counter() - began)

    return one_turn
