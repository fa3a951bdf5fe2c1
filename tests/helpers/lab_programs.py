"""Small programs that tests of the lab run at its sites."""

from __future__ import annotations

ECHO = """
import socket
s = socket.socket(socket.AF_INET6 if ":" in HERE else socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 33, 8 << 20)  # SO_RCVBUFFORCE
s.bind((HERE, 7))
print("ready", flush=True)
while True:
    data, peer = s.recvfrom(2000)
    s.sendto(data, peer)
"""
SOURCE = """
import socket
s = socket.create_server((HERE, 9))
print("ready", flush=True)
while True:
    peer, _ = s.accept()
    try:
        while True:
            peer.sendall(bytes(1_000_000))
    except OSError:
        pass
"""
