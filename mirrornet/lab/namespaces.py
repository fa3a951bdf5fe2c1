"""Network namespaces without names, and the TUN device that is each one's only way out.

A namespace lives while a process is in it or a file descriptor names it.  Ours have no name in /run/netns: when the
forwarder and all that runs inside have gone, the kernel removes namespace and device, so a crash leaves nothing.
Others enter by `nsenter --net=/proc/PID/fd/N`; `ip netns exec` would hide the host's mounts from them.

Devices carry a virtio header in front of each packet (IFF_VNET_HDR, linux/virtio_net.h) with checksum and segmentation
offload on: TCP hands over up to 64 KB at once and nobody computes a checksum, so that Python keeps up.

Senders use CUBIC, whatever this machine is set to: that is how servers come (RFC 9438).  BBR paces what an application
sends now and then far below the line: a file of 96 KB over a warm connection, 40 ms and 200 Mbit/s takes 62 ms by BBR
and 45 by CUBIC (measured here), so that one would measure this machine's settings instead of the programs.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from mirrornet.model.errors import LocalError

DEVICE: Final = "lab0"
HEADER: Final = 10  # struct virtio_net_hdr
CONGESTION: Final = "cubic"
LARGEST: Final = HEADER + 65535 + 40
_CLONE_NEWNET: Final = 0x40000000
_SO_NETNS_COOKIE: Final = 71
_TUNSETIFF, _TUNSETOFFLOAD = 0x400454CA, 0x400454D0
_IFF_TUN, _IFF_NO_PI, _IFF_VNET_HDR = 0x0001, 0x1000, 0x4000
_CSUM, _TSO4, _TSO6, _TSO_ECN = 0x01, 0x02, 0x04, 0x08

_libc = ctypes.CDLL(None, use_errno=True)


def missing() -> str | None:
    """Why this machine cannot hold a lab, and what to do about it; None: it can."""
    if os.geteuid() != 0:
        return "a lab makes network namespaces and devices: run it as root"
    if not Path("/dev/net/tun").exists():
        return "a lab needs /dev/net/tun: load the kernel's module with `modprobe tun`"
    return None


class Namespace:
    """A new network namespace with one TUN device, up, and a default route into it for both families.

    `descriptor` names the namespace, `tun` reads and writes its packets (not blocking), each after its HEADER.
    Raises LocalError.  The calling thread's own namespace is what it was afterwards.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        try:
            _check(_libc.unshare(_CLONE_NEWNET), "a network namespace cannot be made")
            self.descriptor = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
            try:
                self.tun = _tun()
                _configure(addresses)
            finally:
                _check(_libc.setns(home, _CLONE_NEWNET), "there is no way back from a network namespace")
        finally:
            os.close(home)
        self.inode = os.fstat(self.descriptor).st_ino
        self.cookie = cookie(self.descriptor)

    def segment(self, large: bool) -> None:
        """Whether the kernel may hand over many segments as one packet: not where single ones are to be lost."""
        fcntl.ioctl(self.tun, _TUNSETOFFLOAD, _CSUM | (_TSO4 | _TSO6 | _TSO_ECN if large else 0))


def cookie(namespace: int) -> int:
    """The kernel's number of the namespace that a descriptor names, which no other will ever have, as inodes do.

    0 where the kernel does not tell (Linux before 5.14).  Raises LocalError.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _check(_libc.setns(namespace, _CLONE_NEWNET), "a network namespace cannot be entered")
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as inside:
                return int.from_bytes(inside.getsockopt(socket.SOL_SOCKET, _SO_NETNS_COOKIE, 8), sys.byteorder)
        except OSError:
            return 0
        finally:
            _check(_libc.setns(home, _CLONE_NEWNET), "there is no way back from a network namespace")
    finally:
        os.close(home)


def _check(result: int, what: str) -> None:
    if result:
        raise LocalError(f"lab: {what}: {os.strerror(ctypes.get_errno())}")


def _tun() -> int:
    try:
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        flags = _IFF_TUN | _IFF_NO_PI | _IFF_VNET_HDR
        fcntl.ioctl(tun, _TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), flags))
        fcntl.ioctl(tun, _TUNSETOFFLOAD, _CSUM | _TSO4 | _TSO6 | _TSO_ECN)
    except OSError as error:
        raise LocalError(f"lab: /dev/net/tun: {error.strerror}") from None
    return tun


def _configure(addresses: Sequence[str]) -> None:
    available = Path("/proc/sys/net/ipv4/tcp_available_congestion_control").read_text().split()
    senders = f" congctl {CONGESTION}" if CONGESTION in available else ""
    lines = ["link set lo up", f"link set {DEVICE} mtu 1500 txqueuelen 2000 up"]
    for address in addresses:
        lines.append(f"address add {address}/{128 if ':' in address else 32} dev {DEVICE} noprefixroute")
    if any(":" not in address for address in addresses):
        lines.append(f"route add default dev {DEVICE}{senders}")
    if any(":" in address for address in addresses):
        lines.append(f"route add ::/0 dev {DEVICE}{senders}")
    try:
        done = subprocess.run(
            ["ip", "-batch", "-"],
            input="\n".join(lines) + "\n",
            text=True,
            capture_output=True,
            timeout=10,
            check=False,
        )
    except FileNotFoundError:
        raise LocalError("lab: there is no `ip`: install Debian's iproute2") from None
    if done.returncode:
        raise LocalError(f"lab: ip: {done.stderr.strip().splitlines()[0]}")
