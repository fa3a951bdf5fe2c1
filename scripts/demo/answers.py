"""Steps 3 and 4: real routes become a map of the world, and the name server sends four continents four ways."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import dns.edns
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
from stage import MIRRORNET, TREE, Failed, Stage, wait_for

CLIENTS = {  # a real prefix of each city's country, and the mirror that is nearest to it
    "Tokyo": ("203.178.136.36", "tokyo"),
    "Frankfurt": ("2.160.1.1", "frankfurt"),
    "São Paulo": ("200.160.2.3", "saopaulo"),
    "Johannesburg": ("155.232.1.1", "johannesburg"),
}
SELECT = "select.demo.test"


@dataclass
class NameServer:
    """The running name server, its zone file and state folder, and where the mirrors are."""

    port: int
    zone: Path
    state: Path
    http: int

    def ask(self, rdtype: str, client: str | None = None, name: str = SELECT, bits: int = 24) -> dns.message.Message:
        options = [dns.edns.ECSOption(client, bits)] if client else []
        query = dns.message.make_query(name, rdtype, use_edns=0, options=options)
        return dns.query.udp(query, "127.0.0.1", timeout=30, port=self.port)

    def addresses(self, client: str | None = None) -> list[str]:
        return [str(record) for rrset in self.ask("A", client).answer for record in rrset]

    def window(self, path: str) -> bytes:
        """What the status page's server has at `path`."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.http}/{path}", timeout=30) as answer:
            found: bytes = answer.read()
        return found

    def corrupt(self) -> list[str]:
        """Names of the mirrors that /status.json calls corrupt."""
        zones = json.loads(self.window("status.json"))["zones"]
        return [mirror["name"] for zone in zones for mirror in zone["mirrors"] if mirror["state"] == "corrupt"]

    def ranked(self, client: str | None = None) -> list[str]:
        """Names of the mirrors of the ranked list (URI), nearest first."""
        answer = self.ask("URI", client, f"_http._tcp.{SELECT}").answer
        records = sorted((record.priority, record.target.decode()) for rrset in answer for record in rrset)
        return [target.partition("#")[2] for _, target in records]


def import_routes(stage: Stage) -> None:
    stage.step("3. Real route objects and RIR statistics become world.table")
    folder = TREE / "zones" / "demo"
    table = stage.work / "world.table"
    print(
        stage.run(
            MIRRORNET, "import-radb", str(folder / "routes.db"), "--delegated", str(folder / "delegated.txt"),
            "--out", str(table),
        ).rstrip()
    )  # fmt: skip
    routes = (folder / "routes.db").read_text().count("\norigin:")
    stage.check("real routes imported", routes >= 300 and table.exists(), f"{routes} prefixes")


def serve(stage: Stage, zone: Path, ports: dict[int, int]) -> NameServer:
    stage.step("4. The name server: four continents, four mirrors")
    text = zone.read_text()
    for wanted, port in ports.items():
        text = text.replace(f":{wanted}", f":{port}")
    copy, state = stage.work / "demo.yaml", stage.work / "state"
    copy.write_text(text)
    stage.run(MIRRORNET, "check", str(copy))
    process = stage.start(MIRRORNET, "serve", str(copy), "--state", str(state), log="serve.log")
    server = NameServer(ports[15353], copy, state, ports[15380])

    def healthy() -> bool:
        if process.poll() is not None:
            raise Failed(f"the name server ended: {(stage.work / 'serve.log').read_text().strip().splitlines()[-1:]}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{server.http}/healthz", timeout=1) as answer:
                return answer.status == 200
        except (OSError, urllib.error.URLError):
            return False

    seconds = wait_for(healthy, 60, f"the name server (see {stage.work}/serve.log)")
    stage.check("name server ready after its first round of probes", True, f"{seconds:.1f} s")
    return server


def four_continents(stage: Stage, server: NameServer) -> None:
    firsts, mirror_of = [], {f"127.0.0.{11 + i}": name for i, name in enumerate(m for _, m in CLIENTS.values())}
    for city, (address, nearest) in CLIENTS.items():
        response = server.ask("A", address)
        got = [mirror_of[str(record)] for rrset in response.answer for record in rrset]
        scope = next((option.scopelen for option in response.options if isinstance(option, dns.edns.ECSOption)), None)
        firsts.append(got[0] if got else "")
        stage.check(
            f"a client in {city}", got == [nearest],
            f"{address} → {', '.join(got)} (scope /{scope}), then {', '.join(server.ranked(address)[1:])}",
        )  # fmt: skip
    stage.check("four clients, four mirrors", len(set(firsts)) == 4)
    spread = [mirror_of[address] for address in server.addresses("192.0.2.1")]
    stage.check(
        "an asker whose place is unknown gets mirrors spread over the world",
        len(spread) == 3 and len(server.ranked("192.0.2.1")) == 4, ", ".join(spread),
    )  # fmt: skip
    text = stage.run(MIRRORNET, "explain", str(server.zone), CLIENTS["Tokyo"][0], "--state", str(server.state))
    print("\n".join(f"     {line}" for line in text.rstrip().splitlines()))
    stage.check("explain says why", "tokyo" in text and "AS2500" in text)
    page = server.window("")
    on_it = [name for name in mirror_of.values() if f">{name}<".encode() in page]
    stage.check(
        "the status page has a map, and the mirrors on it", b"<svg" in page and len(on_it) == 4,
        f"{len(page) / 1000:.0f} KB, http://127.0.0.1:{server.http}/",
    )  # fmt: skip
