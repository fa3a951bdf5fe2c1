"""A name server of ours at a lab's site, and the zone file that describes the lab to it.

The zone's mirrors are the lab's, with their kinds' URLs and the lab's addresses; `places:` tells where each site is,
since the addresses are nobody's.  So what is tested is the whole program as an operator starts it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from mirrornet.lab.mirrors import MirrorServer, wait_for
from mirrornet.lab.network import Network
from mirrornet.lab.world import World
from mirrornet.model.errors import LocalError

ZONE: Final = "lab.example"  # not .test, for which unbound answers itself (RFC 6761)
COMMAND: Final = (sys.executable, "-c", "import sys; from mirrornet.cli import main; sys.exit(main())")
START_SECONDS: Final = 60.0  # a first round of probes, on a machine that has much else to do
LOOK: Final = 0.2  # seconds: its window takes 20 questions a second from one address
HEALTH: Final = {"interval": "3s", "timeout": "2500ms", "up": 2, "ok": 2, "down": 2, "probe": "block"}


def zone_text(
    world: World,
    mirrors: Sequence[MirrorServer],
    nameservers: Sequence[str],
    root: Path,
    images: Sequence[str],
    health: dict[str, object] | None = None,
    ttl: int = 5,
) -> str:
    """The zone file of a lab: JSON, which is YAML.  `nameservers`: the sites where serve runs."""
    places: dict[str, dict[str, object]] = {}
    for site in world.sites:
        if site.latitude is not None:
            place = {"country": site.country or "DE", "latitude": site.latitude, "longitude": site.longitude}
            places |= dict.fromkeys(world.prefixes(site.name), place)
    described = {}
    for mirror in mirrors:
        site = world.site(mirror.site)
        described[mirror.site] = {"url": mirror.url, "addresses": list(mirror.addresses)} | (
            {"place": {"latitude": site.latitude, "longitude": site.longitude, "country": site.country or "DE"}}
            if site.latitude is not None
            else {}
        )
    zone = {
        "zone": ZONE,
        "contact": f"hostmaster@{ZONE}",
        "serial": 1,
        "nameservers": {
            f"ns{number}.{ZONE}": [world.address(site), world.address(site, 6)]
            for number, site in enumerate(nameservers, 1)
        },
        "repository": {"root": str(root), "images": list(images), "lag": "1h"},
        "select": [{"name": "select", "url": f"http://select.{ZONE}/", "answers": 3, "ttl": ttl}],
        "health": health or HEALTH,
        "mirrors": described,
        "places": places,
    }
    return json.dumps(zone, indent=1)


class NameServer:
    """`mirrornet serve` at `site` with this zone file, not yet started."""

    def __init__(self, network: Network, site: str, zone: str) -> None:
        self.network, self.site = network, site
        self.addresses = network.addresses[site]
        self.home = network.folder / f"nameserver-{site}"
        self.home.mkdir()
        ends = [f"[{one}]:53" if ":" in one else f"{one}:53" for one in self.addresses]
        described = json.loads(zone)
        server = {"listen": ends, "http": f"{self.addresses[0]}:80", "workers": 1}
        described["server"] = described.get("server", {}) | server
        (self.home / "zone.yaml").write_text(json.dumps(described, indent=1))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether its process is there."""
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        """What it has said so far."""
        return (self.home / "log").read_text("utf-8", "replace")

    def start(self, **environment: str) -> None:
        """Starts it and waits until it answers.  Raises LocalError with what it said."""
        command = [*COMMAND, "serve", "zone.yaml", "--state", "state"]
        with (self.home / "log").open("ab") as out:
            process = self.network.start(
                self.site, command, cwd=self.home, stdout=out, stderr=out, env={**os.environ, **environment}
            )
        self._process = process
        ready = wait_for(lambda: process.poll() is not None or self.healthy(), START_SECONDS, LOOK)
        if process.poll() is not None or not ready:
            raise LocalError(f"lab: {self.site}: serve does not start: {self.log.strip().splitlines()[-1]}")

    def healthy(self) -> bool:
        """Whether it says at its status port that it answers."""
        done = self.network.run(
            self.site, ["curl", "-sf", "-m", "2", "-o", "/dev/null", f"http://{self.addresses[0]}/healthz"]
        )
        return bool(done.returncode == 0)

    def status(self) -> dict[str, Any]:
        """Its /status.json.  Raises LocalError where it does not answer."""
        page = f"http://{self.addresses[0]}/status.json"
        done = self.network.run(self.site, ["curl", "-sf", "-m", "5", "--retry", "3", page])  # also after 429
        if done.returncode:
            raise LocalError(f"lab: {self.site}: serve does not answer at {page}")
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ends it; its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(30)
