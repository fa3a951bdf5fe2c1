"""The deployment of docs/deployment.md, whole, on loopback addresses: what the page says is what is run here.

    a root and the parent zone        Knot          delegates select.inetboot.example, with glue
    ns1 and ns2 of the select zone    mirrornet     two servers that share nothing but copies of their files
    resolvers                         unbound, BIND as they come, but for the root they begin at

The root is ours and unsigned, so BIND is told not to validate below it, and unbound has no trust anchor.  Both insist
on port 53 for what they find by delegation, which is free on loopback addresses that nobody else uses.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import pytest

TREE = Path(__file__).resolve().parents[2]
MIRRORNET = [sys.executable, "-c", "import sys; from mirrornet.cli import main; sys.exit(main())"]
SELECT = "select.inetboot.example"
ZONE = """
zone: select.inetboot.example
contact: hostmaster@inetboot.example
serial: 2026112301
nameservers:
  ns1.select.inetboot.example: [{ns1}]
  ns2.select.inetboot.example: [{ns2}]
world: world.table
select:
  - {{name: "@", url: "http://select.inetboot.example/", ttl: 20}}
health: {{probe: none}}
mirrors:
  tokyo:
    url: http://select.inetboot.example/
    addresses: [203.0.113.10, "2001:db8:10::1"]
    place: {{country: JP}}
  paris:
    url: http://select.inetboot.example/
    addresses: [203.0.113.20, "2001:db8:20::1"]
    place: {{country: FR}}
  dallas:
    url: http://select.inetboot.example/
    addresses: [203.0.113.30]
    place: {{country: US, latitude: 32.78, longitude: -96.8}}
places:
  127.0.0.0/8: {{country: JP}}
"""
ROOT = """$TTL 3600
. SOA a.root. hostmaster.root. 1 3600 600 86400 60
. NS a.root.
a.root. A {parent}
inetboot.example. NS ns.inetboot.example.
ns.inetboot.example. A {parent}
"""
PARENT = """$TTL 3600
@ SOA ns hostmaster 1 3600 600 86400 60
@ NS ns
ns A {parent}
select NS ns1.select
select NS ns2.select
ns1.select A {ns1}
ns2.select A {ns2}
"""


class Deployment:
    def __init__(self, peers: Any) -> None:
        self.peers = peers
        self.parent, self.ns1, self.ns2 = peers.quiet_addresses(3)
        self.zone = ZONE.format(ns1=self.ns1, ns2=self.ns2)

    def name_server(self, name: str, address: str) -> None:
        self.peers.mirrornet(name, self.zone, address, 53)

    def build(self) -> None:
        peers = self.peers
        demo = TREE / "zones" / "demo"
        first = peers.folder("ns1")
        source = (str(demo / "routes.db"), "--delegated", str(demo / "delegated.txt"))
        made = [*MIRRORNET, "import-radb", *source, "--out", str(first / "world.table")]
        subprocess.run(made, check=True, capture_output=True, timeout=60)
        shutil.copyfile(first / "world.table", peers.folder("ns2") / "world.table")
        zones = {".": ROOT.format(parent=self.parent)}
        zones["inetboot.example."] = PARENT.format(parent=self.parent, ns1=self.ns1, ns2=self.ns2)
        peers.knot("parent", zones, address=self.parent, port=53)
        self.name_server("ns1", self.ns1)
        self.name_server("ns2", self.ns2)
        hints = f". 3600 IN NS a.root.\na.root. 3600 IN A {self.parent}\n"
        for name in ("unbound", "bind"):
            (peers.folder(name) / "hints").write_text(hints)
        peers.unbound("unbound", f' root-hints: "{peers.folder("unbound")}/hints"\n')
        peers.named("bind", " dnssec-validation no;", 'zone "." { type hint; file "hints"; };\n')

    def resolve(self, resolver: str, name: str, rdtype: str, tcp: bool = False) -> dns.message.Message:
        reply: dns.message.Message = self.peers.ask(resolver, name, rdtype, rd=True, seconds=10, tcp=tcp)
        assert reply.flags & dns.flags.RA
        return reply


@pytest.fixture
def deployment(peers: Any, need: Callable[..., None]) -> Deployment:
    need("root", "knotd", "unbound", "named")
    found = Deployment(peers)
    found.build()
    return found


def texts(reply: dns.message.Message) -> list[str]:
    assert reply.rcode() == dns.rcode.NOERROR, reply
    return sorted(str(record) for rrset in reply.answer for record in rrset)


RESOLVERS = ("unbound", "bind")


def test_resolvers_as_they_come_find_the_nearest_and_one_server_may_die(deployment: Deployment) -> None:
    for resolver in RESOLVERS:
        for tcp in (False, True):
            assert texts(deployment.resolve(resolver, SELECT, "A", tcp)) == ["203.0.113.10"]
            assert texts(deployment.resolve(resolver, SELECT, "AAAA", tcp)) == ["2001:db8:10::1"]
            uris = texts(deployment.resolve(resolver, f"_http._tcp.{SELECT}", "URI", tcp))
            assert uris[0].endswith('"http://select.inetboot.example/#tokyo"'), uris
            assert len(uris) == 3
            services = texts(deployment.resolve(resolver, f"_http._tcp.{SELECT}", "SRV", tcp))
            assert services[0].endswith(f"80 tokyo.{SELECT}."), services
        assert texts(deployment.resolve(resolver, f"dallas.{SELECT}", "A")) == ["203.0.113.30"]
        assert texts(deployment.resolve(resolver, f"dallas.{SELECT}", "AAAA")) == []
        assert texts(deployment.resolve(resolver, f"_tcp.{SELECT}", "A")) == []
        assert len(texts(deployment.resolve(resolver, SELECT, "NS"))) == 2
    deployment.peers.stop("ns1", kill=True)
    for resolver in RESOLVERS:
        for number in range(15):  # names that no cache holds
            fresh = deployment.resolve(resolver, f"nobody-{number}.{SELECT}", "A")
            assert fresh.rcode() == dns.rcode.NXDOMAIN, (resolver, fresh)
        assert len(texts(deployment.resolve(resolver, f"_http._tcp.paris.{SELECT}", "URI"))) == 3
        assert texts(deployment.resolve(resolver, f"paris.{SELECT}", "A")) == ["203.0.113.20"]


def test_two_servers_with_the_same_files_give_the_same_answers(deployment: Deployment) -> None:
    dice = random.Random(4)
    for _ in range(100):
        client = f"{IPv4Address(dice.getrandbits(24) << 8)}/24"
        for name, rdtype in ((SELECT, "A"), (f"_http._tcp.{SELECT}", "URI"), (f"_http._tcp.{SELECT}", "SRV")):
            one, two = (deployment.peers.ask(server, name, rdtype, client) for server in ("ns1", "ns2"))
            assert one.answer == two.answer
            assert [option.to_wire() for option in one.options] == [option.to_wire() for option in two.options]
            assert one.flags & dns.flags.AA
