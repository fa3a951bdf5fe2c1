"""Make docs/status-*.png: the status page of a real name server on a lively day, in Chromium.

    python scripts/screenshots.py [FOLDER] [--table WORLD.TABLE]

Ten mirrors serve copies of a small repository on loopback addresses: one is dead, one still has the version before the
last, one has a spoilt block, one is drained by hand.  A name server with quick probes watches them, clients from a few
real prefixes ask, and when all verdicts are what they should be the page is photographed.  Without --table the map is
the demo's, which knows a few hundred prefixes only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent / "demo"))

import dns.edns
import dns.message
import dns.query
from playwright.sync_api import expect, sync_playwright
from stage import HERE, MIRRORNET, TREE, Stage, free, wait_for

PLACES = {
    "tokyo": "{country: JP, latitude: 35.68, longitude: 139.69, asn: 2500}",
    "frankfurt": "{country: DE, latitude: 50.11, longitude: 8.68, asn: 3320}",
    "amsterdam": "{country: NL, latitude: 52.37, longitude: 4.90, asn: 1103}",
    "ashburn": "{country: US, latitude: 39.04, longitude: -77.49, asn: 14618}",
    "sanjose": "{country: US, latitude: 37.34, longitude: -121.89, asn: 6939}",
    "saopaulo": "{country: BR, latitude: -23.55, longitude: -46.63, asn: 22548}",
    "johannesburg": "{country: ZA, latitude: -26.20, longitude: 28.05, asn: 2018}",
    "mumbai": "{country: IN, latitude: 19.08, longitude: 72.88, asn: 9829}",
    "singapore": "{country: SG, latitude: 1.35, longitude: 103.82, asn: 7473}",
    "sydney": "{country: AU, latitude: -33.87, longitude: 151.21, asn: 7575}",
}
WANTED = {"saopaulo": "down", "singapore": "lagging", "mumbai": "corrupt"}
DRAINED = "amsterdam"
CLIENTS = (
    "203.178.136.36",
    "2.160.1.1",
    "200.160.2.3",
    "155.232.1.1",
    "8.8.8.8",
    "1.120.0.1",
    "49.32.0.1",
    "80.10.1.1",
)
EXPLAINED = "155.232.1.1"
ZONE = """
zone: inetboot.example
contact: hostmaster@inetboot.example
serial: 1
nameservers: {{ns1.inetboot.example: [127.0.0.1]}}
world: world.table
repository: {{root: root.json, images: [tiny], lag: 6h}}
select:
  - {{name: select, url: "http://select.inetboot.example:{mirrors}/", ttl: 20}}
health: {{interval: 4s, timeout: 3s, up: 2, ok: 2, down: 2, probe: block}}
server: {{listen: ["127.0.0.1:{dns}"], http: "127.0.0.1:{http}", workers: 1}}
mirrors:
"""
SHOTS = {  # name: theme, viewport, pixels of the page that are shown
    "light": ("light", {"width": 1280, "height": 900}, 1840),
    "dark": ("dark", {"width": 1280, "height": 900}, 1840),
    "phone": ("light", {"width": 390, "height": 844}, 1700),
}


def repository(stage: Stage) -> None:
    """A folder for each mirror; the last but one version for who lags, a spoilt block for who lies."""
    image, repo, keys = stage.work / "image", stage.work / "repo", stage.work / "keys"
    stage.run(MIRRORNET, "keygen", str(keys))
    for _ in range(2):
        if repo.exists():
            shutil.copytree(repo, stage.work / "singapore")
        image.write_bytes(os.urandom(1 << 20))
        stage.run(MIRRORNET, "publish", str(image), "--name", "tiny", "--repo", str(repo), "--keys", str(keys))
    shutil.copyfile(keys / "root.json", stage.work / "root.json")
    shutil.copytree(repo, stage.work / "mumbai")


def spoil(folder: Path) -> None:
    for block in (folder / "blocks").rglob("*"):
        if block.is_file():
            block.write_bytes(b"\0" + block.read_bytes()[1:])


def serve(stage: Stage, table: Path | None) -> tuple[int, int, Callable[[], bool]]:
    """(port for DNS, port for HTTP, whether the page is up to date) of the name server, once all verdicts are there."""
    ports = {}
    for name, wanted in (("mirrors", 15500), ("dns", 15600), ("http", 15700)):
        ports[name] = next(port for port in range(wanted, wanted + 90) if free("127.0.0.1", port))
    mirrors = {}
    text = ZONE.format(**ports)
    for number, (name, place) in enumerate(PLACES.items(), 31):
        address = f"127.0.0.{number}"
        url = f"http://{name}.inetboot.example:{ports['mirrors']}/"
        text += f'  {name}: {{url: "{url}", addresses: [{address}], place: {place}}}\n'
        root = stage.work / name if (stage.work / name).exists() else stage.work / "repo"
        command = (sys.executable, str(HERE / "static_server.py"), str(root), address, str(ports["mirrors"]))
        mirrors[name] = stage.start(*command, log=f"{name}.log")
    (stage.work / "zone.yaml").write_text(text)
    if table is not None:
        shutil.copyfile(table, stage.work / "world.table")
    else:
        demo = TREE / "zones" / "demo"
        out = ("--delegated", str(demo / "delegated.txt"), "--out", str(stage.work / "world.table"))
        stage.run(MIRRORNET, "import-radb", str(demo / "routes.db"), *out)
    state = ("--state", str(stage.work / "state"))
    stage.start(MIRRORNET, "serve", str(stage.work / "zone.yaml"), *state, log="serve.log")

    def status() -> dict[str, Any]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{ports['http']}/status.json", timeout=5) as answer:
                return dict(json.load(answer))
        except OSError:
            return {}

    def states() -> dict[str, str]:
        (zone,) = status().get("zones") or [{"probes": 0, "mirrors": []}]
        return {mirror["name"]: mirror["state"] for mirror in zone["mirrors"] if zone["probes"]}

    def surveyed() -> bool:
        """Whether the map is that of the plan that answers."""
        told = status()
        return bool(told) and told["zones"][0]["address_share_generation"] == told["plan"]["generation"]

    wait_for(lambda: states().get("tokyo") == "up" and states().get("mumbai") == "up", 60, "the first round of probes")
    stage.end(mirrors["saopaulo"])
    spoil(stage.work / "mumbai")
    why = ("--why", "new disks at 14:00", "--for", "2h", "--rate", "60")
    stage.run(MIRRORNET, "drain", DRAINED, *why, *state)
    wait_for(lambda: WANTED.items() <= states().items(), 120, f"{WANTED}, not {states()}")
    return ports["dns"], ports["http"], surveyed


def ask(port: int, over: threading.Event) -> None:
    """Clients, a few a second, until `over`."""
    number = 0
    while not over.wait(0.12):
        number += 1
        rtype, name = (("A", ""), ("AAAA", ""), ("URI", "_http._tcp."))[number % 3]
        option = dns.edns.ECSOption(CLIENTS[number % len(CLIENTS)], 24)
        query = dns.message.make_query(f"{name}select.inetboot.example", rtype, use_edns=0, options=[option])
        with contextlib.suppress(OSError, dns.exception.DNSException):
            dns.query.udp(query, "127.0.0.1", timeout=2, port=port)


def photograph(port: int, folder: Path, ready: Callable[[], bool]) -> None:
    program = shutil.which("chromium")
    if program is None or shutil.which("pngquant") is None:
        sys.exit("screenshots: needs the programs chromium and pngquant (Debian packages of the same names)")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        for name, (theme, viewport, height) in SHOTS.items():
            page = browser.new_page(viewport=viewport, color_scheme=theme)  # type: ignore[arg-type]
            wait_for(ready, 60, "the map to be that of the plan in force")
            page.goto(f"http://127.0.0.1:{port}/")
            page.get_by_label("A client's address").fill(EXPLAINED)
            page.keyboard.press("Enter")
            expect(page.locator("#explained")).to_contain_text("155.232")
            expect(page.locator(".queries tbody tr")).to_have_count(12, timeout=30_000)
            clip = {"x": 0, "y": 0, "width": viewport["width"], "height": height}
            target = folder / f"status-{name}.png"
            page.screenshot(path=target, full_page=True, clip=clip)  # type: ignore[arg-type]
            subprocess.run(["pngquant", "--force", "--output", target, "64", target], check=True, timeout=60)
            print(f"{target}: {target.stat().st_size / 1000:.0f} KB")
            page.close()
        browser.close()


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=Path, nargs="?", default=TREE / "docs")
    options.add_argument("--table", type=Path, help="a whole world.table")
    options.add_argument("--settle", type=float, default=20.0, help="seconds between the last verdict and the picture")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="mirrornet-shots-") as work:
        stage = Stage(Path(work), "builtin")
        over = threading.Event()
        try:
            repository(stage)
            dns_port, http_port, ready = serve(stage, chosen.table)
            asking = threading.Thread(target=ask, args=(dns_port, over))
            asking.start()
            time.sleep(chosen.settle)  # so that the drain has got somewhere
            photograph(http_port, chosen.folder, ready)
        finally:
            over.set()
            stage.stop()


if __name__ == "__main__":
    main()
