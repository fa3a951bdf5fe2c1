"""Questions to name servers and resolvers, by UDP and TCP, each within a deadline.  The dice are for IDs only."""

from __future__ import annotations

import asyncio
import secrets
import socket
import struct
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

from mirrornet.dns import asking
from mirrornet.dns.asking import Reply
from mirrornet.health.probes.fetch import NoRoute, translate
from mirrornet.model.address import Address, Prefix, parse_address
from mirrornet.model.errors import InputError, MirrornetError

TRIES: Final = 2
WAIT: Final = 2.0  # seconds for each try
RECURSION: Final = 4.0  # likewise, where the server has to ask others first
RESOLV_CONF: Final = Path("/etc/resolv.conf")
Endpoint = tuple[Address, int]


async def ask(
    server: Endpoint, name: str, rtype: str, *, tcp: bool = False, recursive: bool = False, subnet: Prefix | None = None
) -> Reply | str:
    """What `server` says, or in a few words why there is nothing ("does not answer")."""
    said = "does not answer"
    for _ in range(TRIES):
        number = secrets.randbelow(1 << 16)
        data = asking.question(name, rtype, number, recursive, subnet)
        try:
            async with asyncio.timeout(RECURSION if recursive else WAIT):
                reply = asking.read(await _exchange(server, data, tcp), number)
        except TimeoutError:
            continue
        except OSError as error:
            why = translate(error)
            said = "cannot be reached from here" if isinstance(why, NoRoute) else str(why)
        except MirrornetError as error:
            said = str(error)
        else:
            if reply.truncated and not tcp:
                return await ask(server, name, rtype, tcp=True, recursive=recursive, subnet=subnet)
            return reply
    return said


async def _exchange(server: Endpoint, data: bytes, tcp: bool) -> bytes:
    loop = asyncio.get_running_loop()
    family = socket.AF_INET if server[0].version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        await loop.sock_connect(sock, (str(server[0]), server[1]))
        if not tcp:
            await loop.sock_sendall(sock, data)
            while True:  # what somebody else put into the line is not for us
                found = await loop.sock_recv(sock, 1 << 16)
                if found[:2] == data[:2]:
                    return found
        await loop.sock_sendall(sock, struct.pack("!H", len(data)) + data)
        size = struct.unpack("!H", await _exactly(sock, 2))[0]
        return await _exactly(sock, size)


async def _exactly(sock: socket.socket, size: int) -> bytes:
    loop = asyncio.get_running_loop()
    found = b""
    while len(found) < size:
        piece = await loop.sock_recv(sock, size - len(found))
        if not piece:
            raise ConnectionResetError
        found += piece
    return found


async def addresses_of(resolver: Endpoint, name: str) -> list[Address]:
    """The addresses of `name`, IPv4 first; none where the resolver finds none."""
    found: list[Address] = []
    for rtype in ("A", "AAAA"):
        heard = await ask(resolver, name, rtype, recursive=True)
        values = heard.values(rtype) if isinstance(heard, Reply) else ()
        found += [IPv4Address(one) if rtype == "A" else IPv6Address(one) for one in values]
    return found


def system_resolver() -> Endpoint:
    """The first name server of /etc/resolv.conf.  Raises InputError where it names none."""
    try:
        lines = RESOLV_CONF.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            try:
                return parse_address(words[1].partition("%")[0]), 53
            except ValueError:
                continue
    raise InputError(f"{RESOLV_CONF} names no name server: give --resolver ADDR:PORT")
