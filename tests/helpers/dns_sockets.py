"""Sockets of tests that speak DNS: a server's pair on one port, and a client's TLS that asks for `dot` (RFC 7858)."""

from __future__ import annotations

import socket
import ssl


def bound(host: str) -> tuple[socket.socket, socket.socket]:
    """UDP and listening TCP on one port of `host`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(50):
        udp = socket.socket(family, socket.SOCK_DGRAM)
        udp.bind((host, 0))
        try:
            return udp, socket.create_server((host, udp.getsockname()[1]), family=family, backlog=1024)
        except OSError:  # somebody has it by TCP
            udp.close()
    raise RuntimeError("no port is free by TCP and by UDP")


def client_context() -> ssl.SSLContext:
    """A client's TLS that takes any certificate, as opportunistic DNS over TLS does (RFC 7858 section 4.1)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["dot"])
    return context


def exact(sock: socket.socket, size: int) -> bytes:
    """`size` octets of a stream, or what came before its end."""
    data = b""
    while len(data) < size:
        more = sock.recv(size - len(data))
        if not more:
            return data
        data += more
    return data
