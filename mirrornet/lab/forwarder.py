"""The forwarding process: it makes a lab's namespaces, holds their devices, and carries every packet between them.

Started by lab.py with a socket as its standard input, it speaks JSON lines, one answer to each order:

    {"folder": PATH, "record": PATH, "sites": [[ADDRESS, ...], ...]}    first; answered by the namespaces' descriptors
    {"path": [i, j], "rtt": ms, "rate": Mbit/s, "loss": %, "cut": bool}    any of the four; from now on, both ways
    {"access": i, "rate": Mbit/s}                                   what all paths of site i share, each way
    {"counts": true}                                                packets, bytes and drops of every line

When the socket ends, for whatever reason, it removes all there is and goes: a lab cannot outlive who started it.

A packet is read with its virtio header, which goes on unchanged, to the device of the site that has its destination
address.  What is for nobody is dropped and counted: no route leads out of a lab.  Packets wait in one heap; sites with
a lossy line get single segments, for a loss of 64 KB at once is none that TCP ever sees.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import random
import select
import signal
import socket
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from mirrornet.lab.namespaces import HEADER, LARGEST, Namespace
from mirrornet.lab.paths import Conditions, Line
from mirrornet.lab.sweep import started, sweep
from mirrornet.model.errors import LocalError

WAITING: Final = 1 << 28  # bytes on their way at most, all lines together
_BURST: Final = 64  # packets read of one device before the others have their turn


class Forwarder:
    """Devices, lines, and the packets on their way."""

    def __init__(self, sites: list[list[str]], seed: int = 1) -> None:
        self.namespaces = [Namespace(addresses) for addresses in sites]
        self.lines = [[Line(Conditions()) for _ in sites] for _ in sites]
        self.access = [(Line(Conditions()), Line(Conditions())) for _ in sites]  # out of each site, and into it
        self.astray = 0
        self._owner = {ip_address(one).packed: site for site, addresses in enumerate(sites) for one in addresses}
        self._device = {namespace.tun: site for site, namespace in enumerate(self.namespaces)}
        self._heap: list[tuple[float, int, int, bytes]] = []
        self._waiting = 0
        self._count = 0
        self._dice = random.Random(seed)
        self._poll = select.epoll()
        for tun in self._device:
            self._poll.register(tun, select.EPOLLIN)

    def change(self, order: dict[str, Any]) -> None:
        """New conditions for the path between two sites.  Raises ValueError, IndexError, TypeError."""
        one, other = order.pop("path")
        conditions = self.lines[one][other].conditions.changed(**order)
        for line in (self.lines[one][other], self.lines[other][one]):
            line.conditions = conditions
        for site in (one, other):
            rows = [*self.lines[site], *(row[site] for row in self.lines)]
            self.namespaces[site].segment(not any(line.conditions.loss for line in rows))

    def share(self, site: int, rate: float) -> None:
        """A rate for the access line of a site.  Raises ValueError, IndexError, TypeError."""
        for line in self.access[site]:
            line.conditions = line.conditions.changed(rate=rate)

    def counts(self) -> dict[str, Any]:
        """What has been carried, line by line."""
        lines = [
            {"from": one, "to": other, "packets": line.packets, "bytes": line.bytes, "dropped": line.dropped}
            for one, row in enumerate(self.lines)
            for other, line in enumerate(row)
            if line.packets or line.dropped
        ]
        return {"lines": lines, "astray": self.astray}

    def run(self, control: socket.socket) -> None:
        """Forwards until `control` ends."""
        self._poll.register(control, select.EPOLLIN)
        orders = _Orders(control)
        while True:
            timeout = max(0.0, self._heap[0][0] - time.monotonic()) if self._heap else -1
            for descriptor, _ in self._poll.poll(timeout):
                if descriptor in self._device:
                    self._read(descriptor)
                    continue
                for order in orders.read():
                    if order is None:
                        return
                    orders.answer(self._obey(order))
            self._deliver(time.monotonic())

    def _obey(self, order: dict[str, Any]) -> dict[str, Any]:
        if "counts" in order:
            return self.counts()
        try:
            if "access" in order:
                self.share(order["access"], order["rate"])
            else:
                self.change(order)
        except (ValueError, IndexError, TypeError, KeyError) as error:
            return {"error": str(error)}
        return {}

    def _read(self, tun: int) -> None:
        lines, owner = self.lines[self._device[tun]], self._owner
        out = self.access[self._device[tun]][0]
        now = time.monotonic()
        for _ in range(_BURST):
            try:
                packet = os.read(tun, LARGEST)
            except BlockingIOError:
                return
            version = packet[HEADER] >> 4
            to = packet[HEADER + 16 : HEADER + 20] if version == 4 else packet[HEADER + 24 : HEADER + 40]
            site = owner.get(to)
            if site is None:
                self.astray += 1
                continue
            size = len(packet) - HEADER
            left = out.arrival(now, size, 0.0) if out.conditions.rate else now
            when = None if left is None else lines[site].arrival(left, size, self._dice.random())
            if when is None:
                continue
            if self._waiting + len(packet) > WAITING:
                lines[site].dropped += 1
                continue
            self._count += 1
            self._waiting += len(packet)
            heapq.heappush(self._heap, (when, self._count, site, packet))

    def _enter(self, when: float, site: int, packet: bytes) -> bool:
        """Whether a packet that has come to the access line of its site at `when` has to wait there, or is lost."""
        line = self.access[site][1]
        if not line.conditions.rate:
            return False
        through = line.arrival(when, len(packet) - HEADER, 0.0)
        if through is None:
            self._waiting -= len(packet)
        else:
            self._count += 1
            heapq.heappush(self._heap, (through, self._count, -1 - site, packet))
        return True

    def _deliver(self, now: float) -> None:
        heap = self._heap
        while heap and heap[0][0] <= now:
            when, _, site, packet = heapq.heappop(heap)
            if site < 0:  # it has waited at the access line
                site = -1 - site
            elif self._enter(when, site, packet):
                continue
            self._waiting -= len(packet)
            with contextlib.suppress(BlockingIOError, OSError):
                os.write(self.namespaces[site].tun, packet)


class _Orders:
    """JSON lines over a socket."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._rest = b""

    def read(self) -> Iterator[dict[str, Any] | None]:
        """The orders that have come; None is the end of all."""
        try:
            data = self._control.recv(65536)
        except OSError:
            data = b""
        if not data:
            yield None
            return
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            yield json.loads(line)

    def answer(self, what: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._control.sendall(json.dumps(what).encode() + b"\n")


def main() -> int:
    """The process.  Exit code 1 where the lab could not be made; the reason has been told."""
    for one in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM):
        signal.signal(one, signal.SIG_IGN)  # whoever ends the lab closes the socket; until then it must be held
    control = socket.socket(fileno=os.dup(0))
    orders = _Orders(control)
    first = next(order for order in orders.read())
    if first is None:
        return 1
    folder, record = Path(first["folder"]), Path(first["record"])
    try:
        forwarder = Forwarder(first["sites"])
    except LocalError as error:
        orders.answer({"error": str(error)})
        return 1
    inodes = [namespace.inode for namespace in forwarder.namespaces]
    known = {
        "pid": os.getpid(),
        "started": started(os.getpid()),
        "folder": str(folder),
        "inodes": inodes,
        "cookies": [namespace.cookie for namespace in forwarder.namespaces],
    }
    record.write_text(json.dumps(known))
    try:
        descriptors = [namespace.descriptor for namespace in forwarder.namespaces]
        orders.answer({"pid": os.getpid(), "descriptors": descriptors, "inodes": inodes})
        forwarder.run(control)
    finally:
        sweep(inodes, folder)
        record.unlink(missing_ok=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
