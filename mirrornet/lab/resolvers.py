"""Recursive resolvers at a lab's sites: unbound and BIND as people run them, in front of the lab's name servers.

ecs        unbound that sends EDNS Client Subnet to everybody (RFC 7871)
unbound    unbound as it comes: no ECS, answers shuffled
bind       BIND as it comes: no ECS, answers shuffled
expired    unbound that gives expired answers while it asks anew (RFC 8767)

Each is told where the zones' name servers are (a stub, as if the parent had delegated), listens on port 53 of its site,
and has its caches in memory.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Final

from mirrornet.lab.mirrors import wait_for
from mirrornet.lab.network import Network
from mirrornet.model.errors import LocalError


class Brand(StrEnum):
    """Which resolver, and how it is set."""

    ECS = "ecs"
    UNBOUND = "unbound"
    BIND = "bind"
    EXPIRED = "expired"


_UNBOUND: Final = """
server:
  username: ""
  chroot: ""
  directory: "{folder}"
  pidfile: ""
  use-syslog: no
  logfile: ""
  do-daemonize: no
  num-threads: 1
  interface: {address}
  {more_interfaces}
  access-control: 0.0.0.0/0 allow
  access-control: ::/0 allow
  module-config: "{modules}iterator"
  root-hints: ""
  auto-trust-anchor-file: ""
  {local}
  {more}
remote-control:
  control-enable: no
"""
_STUB: Final = 'stub-zone:\n  name: "{zone}"\n  {servers}\n'
_BIND: Final = """
options {{
  directory "{folder}"; pid-file none; session-keyfile "{folder}/session.key";
  listen-on {{ {four} }}; listen-on-v6 {{ {six} }};
  recursion yes; allow-query {{ any; }}; allow-recursion {{ any; }}; dnssec-validation no; querylog no;
}};
controls {{ }};
"""
_STATIC_STUB: Final = 'zone "{zone}" {{ type static-stub; server-addresses {{ {servers} }}; }};\n'


class ResolverServer:
    """A resolver at `site` that finds each zone of `zones` at these addresses, and nothing else.  Not yet started."""

    def __init__(self, network: Network, site: str, brand: Brand, zones: Mapping[str, Sequence[str]]) -> None:
        self.network, self.site, self.brand = network, site, brand
        self.addresses = network.addresses[site]
        self.home = network.folder / f"resolver-{site}-{brand}"
        self.home.mkdir()
        self._process: subprocess.Popen[bytes] | None = None
        config = self._bind(zones) if brand is Brand.BIND else self._unbound(zones)
        (self.home / "config").write_text(config)

    def _unbound(self, zones: Mapping[str, Sequence[str]]) -> str:
        more = {
            Brand.ECS: "send-client-subnet: 0.0.0.0/0\n  send-client-subnet: ::/0\n  max-client-subnet-ipv6: 56",
            Brand.EXPIRED: "serve-expired: yes\n  serve-expired-ttl: 86400",
        }.get(self.brand, "")
        first, *others = self.addresses
        text = _UNBOUND.format(
            folder=self.home,
            address=first,
            more_interfaces="\n  ".join(f"interface: {one}" for one in others),
            modules="subnetcache " if self.brand is Brand.ECS else "",
            # .test, home.arpa and others are unbound's own (RFC 6761, 6303) unless a zone below them is said not to be.
            local="\n  ".join(f'local-zone: "{zone}" transparent' for zone in zones),
            more=more,
        )
        for zone, servers in zones.items():
            text += _STUB.format(zone=zone, servers="\n  ".join(f"stub-addr: {one}" for one in servers))
        return text

    def _bind(self, zones: Mapping[str, Sequence[str]]) -> str:
        text = _BIND.format(
            folder=self.home,
            four="".join(f"{one};" for one in self.addresses if ":" not in one) or "none;",
            six="".join(f"{one};" for one in self.addresses if ":" in one) or "none;",
        )
        for zone, servers in zones.items():
            text += _STATIC_STUB.format(zone=zone, servers="".join(f"{one};" for one in servers))
        return text

    def start(self) -> None:
        """Starts it and waits until it answers.  Raises LocalError with what it said."""
        config = str(self.home / "config")
        command = ["named", "-g", "-c", config] if self.brand is Brand.BIND else ["unbound", "-d", "-c", config]
        log = self.home / "log"
        with log.open("wb") as out:
            process = self.network.start(self.site, command, stdout=out, stderr=out)
        self._process = process
        ready = b"running" if self.brand is Brand.BIND else b"start of service"
        wait_for(lambda: ready in log.read_bytes() or process.poll() is not None)
        if process.poll() is not None:
            said = log.read_text("utf-8", "replace").strip().splitlines() or ["it said nothing"]
            raise LocalError(f"lab: {self.site}: {command[0]} does not start: {said[-1]}")

    def stop(self) -> None:
        """Ends it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
