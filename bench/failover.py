"""What a plain client sees when a mirror dies: seconds until 99 % of fresh answers leave it out, ours beside gdnsd's.

    make bench-failover        or: python bench/failover.py [SECONDS]

Two mirrors stand equally near, so both are in every answer.  Both name servers check them in the same way (HTTP every
2 s, 1 s to answer, thresholds 3 up, 2 ok, 3 down) and offer the same TTL of 20 s; gdnsd shortens it as it does by
default, to half at least.  Three resolvers are in front of each: unbound and BIND as they come, and an unbound with
serve-expired and cache-min-ttl 300.  One name in one cache is one client's resolver: NAMES balanced names, first asked
for at random moments within a TTL before the death, are as many caches of different age.  Every one is asked twice a
second until SECONDS after a mirror is killed; what counts is the last answer that still holds it.

A low TTL is bought with questions: the TTLs that both offered stand above the table.  mirrornet's is the time in which
its probes cannot change their mind, so it follows `interval` and `down` more closely than gdnsd's, which is half of the
maximum at least.

Both name servers are told of the death by the same closed port and at the same moment; "at the server" is the answer
without a resolver in between.  "> N": still there when the measurement ended.
"""

from __future__ import annotations

import random
import runpy
import select
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import dns.message

TREE = Path(__file__).resolve().parents[1]
Peers: Any = runpy.run_path(str(TREE / "tests" / "peers" / "conftest.py"))["Peers"]
NAMES, TTL, EVERY = 40, 20, 0.5  # names; seconds; seconds between two questions for one name
DEAD, ALIVE = "127.0.77.1", "127.0.77.2"
SERVERS = ("mirrornet", "gdnsd")
RESOLVERS = ("at the server", "unbound", "BIND", "unbound, cache-min-ttl 300")
OURS = """
zone: mirrornet.example
contact: hostmaster@mirrornet.example
serial: 1
nameservers: {{ns1.mirrornet.example: [127.0.0.1]}}
select:
{selects}
health: {{interval: 2s, timeout: 1s, up: 3, ok: 2, down: 3, probe: http}}
mirrors:
  dead: {{url: "http://select.mirrornet.example:{port}/", addresses: [{dead}], place: {{country: FR}}}}
  alive: {{url: "http://select.mirrornet.example:{port}/", addresses: [{alive}], place: {{country: FR}}}}
"""
GDNSD = """
service_types => {{ web => {{
  plugin => http_status, port => {port}, url_path => "/metadata/timestamp.json", ok_codes => [200],
  interval => 2, timeout => 1, up_thresh => 3, ok_thresh => 2, down_thresh => 3 }} }}
plugins => {{ multifo => {{ m => {{ service_types => web, a => {dead}, b => {alive} }} }} }}
"""


def build(peers: Any, port: int) -> None:
    """Mirrors, name servers, resolvers."""
    www = peers.folder("www")
    (www / "metadata").mkdir()
    (www / "metadata" / "timestamp.json").write_text("{}\n")
    for name, address in (("dead", DEAD), ("alive", ALIVE)):
        command = (sys.executable, "-m", "http.server", str(port), "--bind", address, "--directory", str(www))
        with (www / f"{name}.log").open("wb") as log:
            peers.processes[name] = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + 10
        while socket.socket().connect_ex((address, port)):
            assert time.monotonic() < deadline, f"no mirror at {address}"
            time.sleep(0.05)
    url = f"http://select.mirrornet.example:{port}/"
    selects = "\n".join(f'  - {{name: n{number}, url: "{url}", ttl: {TTL}}}' for number in range(NAMES))
    ours, theirs = peers.quiet_addresses(2)  # BIND's static-stub wants port 53
    peers.mirrornet("mirrornet", OURS.format(selects=selects, dead=DEAD, alive=ALIVE, port=port), ours, 53)
    master = "@ SOA ns1 hostmaster 1 3600 600 86400 60\n@ NS ns1\n@ NS ns2\nns1 A 127.0.0.1\nns2 A 127.0.0.1\n"
    master += "".join(f"n{number} {TTL} DYNA multifo!m\n" for number in range(NAMES))
    peers.gdnsd("gdnsd", GDNSD.format(port=port, dead=DEAD, alive=ALIVE), {"gdnsd.example": master}, theirs, 53)
    stubs = statics = ""
    for server in SERVERS:
        address, at = peers.at[server]
        stubs += f"stub-zone:\n name: {server}.example\n stub-addr: {address}@{at}\n"
        statics += f'zone "{server}.example" {{ type static-stub; server-addresses {{ {address}; }}; }};\n'
    peers.unbound("unbound", stubs)
    peers.unbound("unbound, cache-min-ttl 300", f" cache-min-ttl: 300\n serve-expired: yes\n{stubs}")
    peers.named("BIND", " dnssec-validation no;", statics)


class Watch:
    """The questions of all clients, and when each last saw the dead mirror."""

    def __init__(self, peers: Any) -> None:
        self.sockets = {}
        for resolver in RESOLVERS:
            for server in SERVERS:
                sock = socket.socket(type=socket.SOCK_DGRAM)
                sock.connect(peers.at[server if resolver == "at the server" else resolver])
                sock.setblocking(False)
                self.sockets[sock] = (resolver, server)
        dice = random.Random(1)
        self.first = [dice.uniform(0, TTL) for _ in range(NAMES)]  # seconds after the beginning
        self.last: dict[tuple[str, str, int], float] = {}  # the last answer with the dead mirror
        self.replies: dict[tuple[str, str], int] = dict.fromkeys(self.sockets.values(), 0)
        self.ttls: dict[str, set[int]] = {server: set() for server in SERVERS}  # offered while all was well
        self.asked = 0

    def turn(self, elapsed: float) -> None:
        """Asks for every name whose time has come, everywhere, and reads what there is until the next turn."""
        end = time.monotonic() + EVERY
        for number in range(NAMES):
            if elapsed < self.first[number]:
                continue
            for sock, (_, server) in self.sockets.items():
                query = dns.message.make_query(f"n{number}.{server}.example", "A", use_edns=0, id=number).to_wire()
                self.asked += 1
                try:
                    sock.send(query)
                except OSError:
                    continue
            self._read(0)
        while (left := end - time.monotonic()) > 0:
            self._read(left)

    def _read(self, seconds: float) -> None:
        for sock in select.select(list(self.sockets), [], [], seconds)[0]:
            try:
                reply = sock.recv(4096)
            except OSError:
                continue
            where = self.sockets[sock]
            self.replies[where] += 1
            if where[0] == "at the server" and self.replies[where] <= NAMES:
                self.ttls[where[1]].update(rrset.ttl for rrset in dns.message.from_wire(reply).answer)
            if socket.inet_aton(DEAD) in reply:
                self.last[(*where, int.from_bytes(reply[:2], "big"))] = time.monotonic()


def main(seconds: float = 320.0) -> int:
    with tempfile.TemporaryDirectory(prefix="mirrornet-failover-") as folder:
        peers = Peers(Path(folder))
        try:
            build(peers, peers.free_port(DEAD))
            return measure(peers, seconds)
        finally:
            for name in list(peers.processes):
                peers.stop(name)


def measure(peers: Any, seconds: float) -> int:
    watch = Watch(peers)
    begun = time.monotonic()
    while time.monotonic() - begun < TTL + 2:
        watch.turn(time.monotonic() - begun)
    assert len(watch.last) == NAMES * len(watch.sockets), "not everybody saw both mirrors to begin with"
    died = time.monotonic()
    peers.stop("dead", kill=True)
    while time.monotonic() - died < seconds:
        watch.turn(TTL)
        recent = max(watch.last.values())
        if time.monotonic() - recent > 60 and time.monotonic() - died > 310:
            break
    over = time.monotonic()
    answers = sum(watch.replies.values())
    print(f"{NAMES} caches each, TTL {TTL} s, a check every 2 s; {watch.asked:,} questions, {answers:,} answers")
    for server, ttls in watch.ttls.items():
        print(f"TTL that {server} offers while all is well: {min(ttls)} to {max(ttls)} s")
    print(f"{'seconds until fresh answers leave the dead mirror out':54}{'median':>8}{'99 %':>9}")
    for resolver in RESOLVERS:
        for server in SERVERS:
            ages = sorted(watch.last[resolver, server, number] - died for number in range(NAMES))
            worst = ages[min(len(ages) - 1, int(0.99 * len(ages)))]
            still = over - died - worst < 2 * EVERY + 0.5
            middle = max(0.0, statistics.median(ages))
            print(f"{server + ', ' + resolver:54}{middle:8.1f}{'>' if still else '':>3}{max(0.0, worst):6.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(*map(float, sys.argv[1:])))
