"""A program: asks name servers for the select name, from one network after the other, for ever, and counts.

    python asker.py NAME RATE SEED NETWORK,... SERVER=ADDRESS...

It begins at once and ends when its standard input does, with one JSON array: server, second, sent, lost, wrong.  Each
query carries a Client Subnet (RFC 7871) out of the networks given.  Every second one is for addresses, and right if
NOERROR: there may be no mirror in use that serves under the select url.  The others are for the ranked list (URI), in
which there always is somebody.  What has no answer after PATIENCE seconds is lost.  A RATE is queries a
second to each server.
"""

from __future__ import annotations

import contextlib
import ipaddress
import json
import random
import select
import socket
import struct
import sys
import time
from typing import Final

PATIENCE: Final = 2.0
DNS: Final = 53
A: Final = 1
URI: Final = 256  # RFC 7553


def query(number: int, name: str, subnet: str) -> bytes:
    """One question, for the list if `number` is odd, with EDNS and a Client Subnet (RFC 6891, 7871)."""
    if number & 1:
        name = f"_http._tcp.{name}"
    labels = b"".join(bytes([len(one)]) + one.encode() for one in name.split(".")) + b"\0"
    network = ipaddress.ip_network(subnet)
    address = network.network_address.packed[: (network.prefixlen + 7) // 8]
    family = 1 if network.version == 4 else 2
    option = struct.pack(">HHHBB", 8, 4 + len(address), family, network.prefixlen, 0) + address
    edns = b"\0" + struct.pack(">HHIH", 41, 1232, 0, len(option)) + option
    return (
        struct.pack(">HHHHHH", number, 0x0000, 1, 0, 0, 1)
        + labels
        + struct.pack(">HH", URI if number & 1 else A, 1)
        + edns
    )


def right(packet: bytes) -> bool:
    """Whether it is an answer, and a list has something in it."""
    if len(packet) <= 12 or not packet[2] & 0x80 or packet[3] & 0x0F:
        return False
    return not packet[1] & 1 or packet[6:8] != b"\0\0"


def main(name: str, rate: float, seed: int, networks: list[str], servers: dict[str, str]) -> list[list[object]]:
    """Asks until standard input ends; rows of server, Unix second, sent, lost, wrong."""
    dice = random.Random(seed)
    links: dict[socket.socket, str] = {}
    for server, address in servers.items():
        link = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
        link.connect((address, DNS))
        link.setblocking(False)
        links[link] = server
    rows: dict[tuple[str, int], list[int]] = {}
    waiting: dict[tuple[str, int], float] = {}  # (server, number) → when it was asked
    number, due = 0, time.time()
    while True:
        ready, _, _ = select.select([*links, sys.stdin], [], [], max(0.0, due - time.time()))
        if sys.stdin in ready:
            break
        for link, server in links.items():
            if link in ready:
                _receive(link, server, waiting, rows)
        now = time.time()
        if now < due:
            continue
        due = max(due + 1 / rate, now - 0.5)
        number = (number + 1) & 0xFFFF
        for link, server in links.items():
            key, row = (server, number), (server, int(now))
            rows.setdefault(row, [0, 0, 0])[0] += 1
            waiting[key] = now
            with contextlib.suppress(OSError):  # refused: nobody is there, and so it will be lost
                link.send(query(number, name, dice.choice(networks)))
        for key, asked in list(waiting.items()):
            if now - asked <= PATIENCE:
                break
            del waiting[key]
            rows[key[0], int(asked)][1] += 1
    return [[server, at, *row] for (server, at), row in sorted(rows.items(), key=lambda one: one[0][1])]


def _receive(
    link: socket.socket,
    server: str,
    waiting: dict[tuple[str, int], float],
    rows: dict[tuple[str, int], list[int]],
) -> None:
    while True:
        try:
            packet = link.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            continue  # an ICMP error of an earlier one
        asked = waiting.pop((server, int.from_bytes(packet[:2], "big")), None)
        if asked is not None and not right(packet):
            rows[server, int(asked)][2] += 1


if __name__ == "__main__":
    _name, _rate, _seed, _networks, *_servers = sys.argv[1:]
    _where = dict(one.split("=", 1) for one in _servers)
    print(json.dumps(main(_name, float(_rate), int(_seed), _networks.split(","), _where)))
