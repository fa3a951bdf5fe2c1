"""A network of sites on this machine, with real distances: start it, run programs at its sites, change its paths.

    with Network({"tokyo": ["198.18.1.1"], "home": ["198.18.2.1"]}) as network:
        network.path("tokyo", "home", rtt=40, rate=200)
        network.run("home", ["ping", "-c1", "198.18.1.1"])

Everything is gone after the `with`, and after a crash: the forwarder (forwarder.py) ends what runs in its namespaces
when this process is no more, and the next network sweeps up after a forwarder that was killed.

Addresses are from 198.18.0.0/15 (RFC 2544) and 2001:db8::/32 (RFC 3849) only, so that no mistake ever reaches a public
one.  A program at a site sees this machine's files and mounts, and that site's network.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from ipaddress import ip_address, ip_network
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from mirrornet.lab.namespaces import missing
from mirrornet.lab.sweep import PATIENCE, sweep_leftovers
from mirrornet.lab.world import World
from mirrornet.model.errors import InputError, LocalError

ALLOWED: Final = (ip_network("198.18.0.0/15"), ip_network("2001:db8::/32"))
RECORDS: Final = Path("/run/mirrornet/labs")
START_SECONDS: Final = 60.0


class Network:
    """Sites by name, each with its addresses.  A context manager; raises InputError, LocalError when entered.

    `folder` is where programs of the lab keep their files: made, and removed with all that is mounted below it.
    """

    def __init__(self, sites: Mapping[str, Sequence[str]]) -> None:
        _prove(sites)
        self.addresses = {name: tuple(addresses) for name, addresses in sites.items()}
        self._numbers = {name: number for number, name in enumerate(sites)}
        self._enter: list[str] = []

    def __enter__(self) -> Network:
        if why := missing():
            raise LocalError(f"lab: {why}")
        try:
            RECORDS.mkdir(parents=True, exist_ok=True)
            sweep_leftovers(RECORDS)
            self.folder = Path(tempfile.mkdtemp(prefix="mirrornet-lab-"))
        except OSError as error:
            raise LocalError(f"lab: {error.filename}: {error.strerror}") from None
        ours, theirs = socket.socketpair()
        with theirs:
            self._forwarder = subprocess.Popen(
                [sys.executable, "-m", "mirrornet.lab.forwarder"],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                cwd="/",
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,
            )
        self._control = ours
        self._control.settimeout(START_SECONDS)
        self._lines = ours.makefile("r", encoding="utf-8")
        try:
            sites = [list(addresses) for addresses in self.addresses.values()]
            record = str(RECORDS / f"{self.folder.name}.json")
            said = self._order({"folder": str(self.folder), "record": record, "sites": sites})
        except BaseException:
            self.close()
            raise
        self._enter = [f"/proc/{said['pid']}/fd/{one}" for one in said["descriptors"]]
        self.inodes: tuple[int, ...] = tuple(said["inodes"])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends and removes everything.  May be called twice."""
        self._lines.close()
        self._control.close()
        try:
            self._forwarder.wait(3 * PATIENCE)
        except subprocess.TimeoutExpired:
            self._forwarder.kill()
            self._forwarder.wait()
            sweep_leftovers(RECORDS)
        shutil.rmtree(self.folder, ignore_errors=True)

    def at(self, site: str, command: Sequence[str | Path]) -> list[str]:
        """`command` as it has to be called to run at `site`."""
        return ["nsenter", f"--net={self._enter[self._number(site)]}", "--", *map(str, command)]

    def run(self, site: str, command: Sequence[str | Path], timeout: float = 60.0, **options: Any) -> Any:
        """subprocess.run() at `site`, with its output captured as text."""
        given: dict[str, Any] = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL} | options
        return subprocess.run(self.at(site, command), timeout=timeout, check=False, **given)

    def start(self, site: str, command: Sequence[str | Path], **options: Any) -> subprocess.Popen[bytes]:
        """subprocess.Popen() at `site`; what still runs is killed with the network."""
        given: dict[str, Any] = {"stdin": subprocess.DEVNULL} | options
        return subprocess.Popen(self.at(site, command), **given)

    def path(self, one: str, other: str, **conditions: float | bool) -> None:
        """Changes what is given of `rtt` (ms), `rate` (Mbit/s), `loss` (%), `cut`, both ways, from now on.

        Raises InputError.
        """
        self._order({"path": [self._number(one), self._number(other)], **conditions})

    def site(self, name: str, **conditions: float | bool) -> None:
        """The same for all paths of `name`."""
        for other in self._numbers:
            if other != name:
                self.path(name, other, **conditions)

    def access(self, name: str, rate: float) -> None:
        """All that goes to a site shares this many Mbit/s, and all that comes from it; 0: no limit.  Raises InputError.

        A classroom's line, where many programs run at one site.
        """
        self._order({"access": self._number(name), "rate": rate})

    def everywhere(self, **conditions: float | bool) -> None:
        """The same for all paths there are."""
        for one, other in itertools.combinations(self._numbers, 2):
            self.path(one, other, **conditions)

    def spread(self, world: World) -> None:
        """Gives every path the delay and the rate that `world` says.  Raises InputError."""
        for one, other in itertools.combinations(world.addresses(), 2):
            self.path(one, other, rtt=world.rtt(one, other), rate=world.rate)

    def counts(self) -> dict[tuple[str, str], dict[str, int]]:
        """Packets, bytes and drops from each site to each other, where there were any."""
        names = list(self._numbers)
        lines = self._order({"counts": True})["lines"]
        keep = ("packets", "bytes", "dropped")
        return {(names[line["from"]], names[line["to"]]): {key: line[key] for key in keep} for line in lines}

    def _number(self, site: str) -> int:
        if site not in self._numbers:
            raise InputError(f"lab: there is no site {site!r}; there are {', '.join(self._numbers)}")
        return self._numbers[site]

    def _order(self, order: Mapping[str, Any]) -> dict[str, Any]:
        try:
            self._control.sendall(json.dumps(order).encode() + b"\n")
            line = self._lines.readline()
        except OSError as error:
            raise LocalError(f"lab: the forwarder does not answer: {error}") from None
        if not line:
            raise LocalError("lab: the forwarder has ended")
        said: dict[str, Any] = json.loads(line)
        if "error" in said:
            raise (InputError if "path" in order or "access" in order else LocalError)(
                f"lab: {said['error'].removeprefix('lab: ')}"
            )
        return said


def _prove(sites: Mapping[str, Sequence[str]]) -> None:
    owners: dict[str, str] = {}
    for name, addresses in sites.items():
        for text in addresses:
            try:
                address = ip_address(text)
            except ValueError:
                raise InputError(f"lab: {name}: {text!r} is not an address") from None
            if not any(address in network for network in ALLOWED):
                raise InputError(f"lab: {name}: {text}: a lab uses addresses of 198.18.0.0/15 and 2001:db8::/32 only")
            if owners.setdefault(str(address), name) != name:
                raise InputError(f"lab: {text} belongs to {owners[str(address)]} and to {name}")
