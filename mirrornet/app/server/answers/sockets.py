"""The sockets that queries come by: opened here, or taken from the service manager, which kept or opened them.

A worker slot owns one UDP and one TCP socket for each listen address (SO_REUSEPORT: the kernel deals the queries out
among the slots).  SO_REUSEPORT would also let a second mirrornet of the same user steal half of the queries in silence,
so each address is first bound without it, which fails where anybody else has it.

What the service manager gives (app/notify.py) is taken by its address, not by its name.  Sockets we stored ourselves
bear names of ours: one that no slot needs any more, since there are fewer workers or another address, is dropped there
as well, for as long as anybody holds it the kernel deals it queries that nobody reads.  Those of a .socket unit are not
ours to drop: where there are more than slots a slot has several, where there are fewer, several slots share one.

Rejected: one socket for all workers (they wake each other and lose the cache's warmth; a third of the speed).
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Final

from mirrornet.app.notify import Given, Manager
from mirrornet.model.address import Address
from mirrornet.model.errors import LocalError

_BUFFER: Final = 16 << 20  # bytes a UDP socket may hold while its worker is replaced; the kernel may give less
_SO_RCVBUFFORCE: Final = 33  # asm-generic/socket.h: beyond net.core.rmem_max, for who has CAP_NET_ADMIN
_BACKLOG: Final = 1024  # connections
_SO_MEMINFO: Final = 55  # asm-generic/socket.h; the numbers are those of linux/sock_diag.h, SK_MEMINFO_*
_IP_MTU_DISCOVER, _IP_PMTUDISC_OMIT = 10, 5  # linux/in.h: a forged "too big" must not make us send fragments
_STREAM: Final = (socket.SOCK_STREAM,)
_BOTH: Final = (socket.SOCK_DGRAM, socket.SOCK_STREAM)
_OWN: Final = "mirrornet-"  # how names of sockets begin that we gave to the manager

Endpoint = tuple[Address, int]


@dataclass
class Sockets:
    """What all slots listen on, and where that is (a port 0 has become the one the kernel picked)."""

    slots: list[list[socket.socket]]
    secure: list[list[socket.socket]]  # they speak TLS
    addresses: list[Endpoint] = field(default_factory=list)
    secure_addresses: list[Endpoint] = field(default_factory=list)

    def queues(self) -> dict[str, int]:
        """Of all UDP sockets: `queued`, bytes that wait to be read; `overflowed`, datagrams that found no room."""
        found = {os.fstat(sock.fileno()).st_ino: sock for sock in itertools.chain(*self.slots)}
        told = [_memory(sock) for sock in found.values() if sock.type == socket.SOCK_DGRAM]
        return {"queued": sum(one[0] for one in told), "overflowed": sum(one[8] for one in told)}

    def close(self) -> None:
        """May be called twice."""
        for sock in itertools.chain(*self.slots, *self.secure):
            sock.close()
        self.slots, self.secure = [], []


def offered(listen: Sequence[Endpoint], secure: Sequence[Endpoint], manager: Manager) -> bool:
    """Whether `manager` gives at least one socket for every endpoint and protocol."""
    return all(
        any(_fits(given, endpoint, kind) for given in manager.given)
        for endpoints, kinds in ((listen, _BOTH), (secure, _STREAM))
        for endpoint in endpoints
        for kind in kinds
    )


def open_all(
    listen: Sequence[Endpoint], secure: Sequence[Endpoint] = (), count: int = 1, manager: Manager | None = None
) -> Sockets:
    """Sockets for `count` slots: those that `manager` gives, others opened and given to it.

    Raises LocalError, with nothing left open.
    """
    manager = manager or Manager()
    found = Sockets([[] for _ in range(count)], [[] for _ in range(count)])
    spare = list(manager.given)
    manager.given.clear()
    try:
        for endpoints, wanted, slots, bound in (
            (listen, _BOTH, found.slots, found.addresses),
            (secure, _STREAM, found.secure, found.secure_addresses),
        ):
            for address, port in endpoints:
                if not any(_fits(given, (address, port), kind) for given in spare for kind in wanted):
                    port = free(address, port, wanted)
                for kind in wanted:
                    _fill(slots, (address, port), kind, spare, manager)
                bound.append((address, port))
    except LocalError:
        found.close()
        raise
    finally:
        for given in spare:
            given.socket.close()
            if given.name.startswith(_OWN):
                manager.drop(given.name)
    return found


def _fill(
    slots: list[list[socket.socket]], endpoint: Endpoint, kind: socket.SocketKind, spare: list[Given], manager: Manager
) -> None:
    """A socket of `kind` at `endpoint` for every slot; what is used of `spare` leaves it."""
    fitting = [given for given in spare if _fits(given, endpoint, kind)]
    for given in fitting:
        if endpoint[0].version == 6 and not given.socket.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY):
            raise LocalError(
                f"the service manager's socket on {endpoint[0]} port {endpoint[1]} takes IPv4 as well: write "
                "BindIPv6Only=ipv6-only into its .socket unit"
            )
    taken = 0
    for number, sockets in enumerate(slots):
        if number < len(fitting):
            sockets.append(fitting[number].socket)
            spare.remove(fitting[number])
            taken += 1
            continue
        try:
            sock = bind(*endpoint, kind, True)
        except LocalError:  # a .socket unit without ReusePort=, or another user's
            if not fitting:
                raise
            sockets.append(fitting[number % len(fitting)].socket.dup())
            continue
        sockets.append(sock)
        manager.keep(_name(number, endpoint, kind), sock)
    for number, given in enumerate(fitting[taken:]):
        if not given.name.startswith(_OWN):
            slots[number % len(slots)].append(given.socket)
            spare.remove(given)
    for given in fitting:
        tune(given.socket, endpoint[0].version, kind)


def _memory(sock: socket.socket) -> tuple[int, ...]:
    """SK_MEMINFO_RMEM_ALLOC first, SK_MEMINFO_DROPS ninth; zeroes where the kernel does not tell."""
    numbers = struct.Struct("9I")
    try:
        return numbers.unpack(sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, numbers.size))
    except (OSError, struct.error):
        return (0,) * 9


def _name(slot: int, endpoint: Endpoint, kind: socket.SocketKind) -> str:
    """A name of ours; the manager allows no colon in it, which IPv6 is full of."""
    protocol = "tcp" if kind == socket.SOCK_STREAM else "udp"
    return f"{_OWN}{slot}-{protocol}-{endpoint[0].packed.hex()}-{endpoint[1]}"


def _fits(given: Given, endpoint: Endpoint, kind: socket.SocketKind) -> bool:
    sock = given.socket
    if sock.family not in (socket.AF_INET, socket.AF_INET6) or sock.type != kind:
        return False
    host, port, *_ = sock.getsockname()
    return (ip_address(str(host).partition("%")[0]), port) == endpoint


def _family(address: Address) -> socket.AddressFamily:
    return socket.AF_INET if address.version == 4 else socket.AF_INET6


def tune(sock: socket.socket, version: int, kind: socket.SocketKind) -> None:
    """What every socket of ours has, whoever opened it."""
    if kind == socket.SOCK_STREAM:
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER)
    if version == 4:
        sock.setsockopt(socket.IPPROTO_IP, _IP_MTU_DISCOVER, _IP_PMTUDISC_OMIT)


def bind(address: Address, port: int, kind: socket.SocketKind, share: bool) -> socket.socket:
    """A bound socket; where it is to `share` its port with other slots and is a TCP one, it listens.

    Raises LocalError.
    """
    sock = socket.socket(_family(address), kind)
    try:
        if address.version == 6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if kind == socket.SOCK_STREAM:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        tune(sock, address.version, kind)
        if share:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((str(address), port))
        if share and kind == socket.SOCK_STREAM:
            sock.listen(_BACKLOG)
    except OSError as error:
        sock.close()
        protocol = "TCP" if kind == socket.SOCK_STREAM else "UDP"
        raise LocalError(f"cannot listen on {address} port {port} ({protocol}): {_advice(error)}") from error
    return sock


def _advice(error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return "another program has it; `ss -lunpt` shows which one"
        case errno.EACCES | errno.EPERM:
            return "no right to; start as root, or give the program CAP_NET_BIND_SERVICE"
        case errno.EADDRNOTAVAIL:
            return "this machine has no such address"
        case errno.EAFNOSUPPORT:
            return "this machine does not speak IPv6"
    return error.strerror or str(error)


def free(address: Address, wanted: int, kinds: Sequence[socket.SocketKind]) -> int:
    """A port that nobody holds, by all of `kinds`: `wanted`, or for 0 one the kernel picks.  Raises LocalError."""
    attempts = 1 if wanted else 20
    while True:
        attempts -= 1
        with bind(address, wanted, kinds[0], False) as first:
            port: int = first.getsockname()[1]
            try:
                for kind in kinds[1:]:
                    bind(address, port, kind, False).close()
            except LocalError:
                if not attempts:
                    raise
                continue
            return port
