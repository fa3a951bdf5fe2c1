"""All units of deploy/: what systemd makes of them, how much they may do, and that it is enough."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from little_systemd import TREE, LittleSystemd, Unable
from waiting import until

from mirrornet.image.publishing.publish import publish
from mirrornet.image.trust.keys import keygen

DEPLOY = TREE / "deploy"
UNITS = sorted(path.name for path in DEPLOY.glob("mirrornet-*"))
# What `systemd-analyze security` may say at most, of 10; the other two mount file systems for all to see, as root.
EXPOSURE = {"serve": 1.6, "import": 1.2, "fetch-table": 1.2, "vantage": 1.2, "resign": 1.4, "sync": 1.4}
DUMP = "route: 203.178.136.0/21\norigin: AS2500\nsource: RADB\n"
ZONE = """
zone: try.test
contact: hostmaster@try.test
serial: 1
nameservers: {ns1.try.test: [127.0.0.1]}
world: /var/lib/mirrornet/world.table
select: [{name: select, url: "http://select.try.test/", ttl: 5}]
health: {probe: none}
mirrors:
  tokyo: {url: "http://tokyo.try.test/", addresses: [203.0.113.10], place: {country: JP}}
server: {listen: ["127.0.0.1:53"], workers: 2}
"""
ASK = """
import socket
sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sock.settimeout(60)
sock.sendto(bytes.fromhex("%s"), ("127.0.0.1", 53))
print(sock.recv(4096)[3] & 15)
"""
QUERY = b"\0\1\1\0\0\1\0\0\0\0\0\0\6select\3try\4test\0\0\1\0\1".hex()


def test_systemd_understands_all_of_them(need: Callable[..., None], tmp_path: Path) -> None:
    need("systemd-analyze")
    for name in UNITS:
        text = (DEPLOY / name).read_text().replace("/usr/local/bin/mirrornet", "/bin/true")
        (tmp_path / name).write_text(text.replace("\nUser=mirrornet\n", "\nUser=root\n").replace("DynamicUser=yes", ""))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *(str(tmp_path / name) for name in UNITS)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    told = [line for line in done.stderr.splitlines() if "mirrornet-" in line]
    assert done.returncode == 0 and not told, done.stderr


@pytest.mark.parametrize("name", EXPOSURE)
def test_they_may_do_little(name: str, need: Callable[..., None]) -> None:
    need("systemd-analyze")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", str(DEPLOY / f"mirrornet-{name}.service")],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    said = re.search(r"Overall exposure level .*: ([0-9.]+)", done.stdout)
    assert said and float(said[1]) <= EXPOSURE[name], done.stdout


@pytest.fixture(scope="module")
def systemd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LittleSystemd]:
    try:
        made = LittleSystemd(tmp_path_factory.mktemp("units"))
    except Unable as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no systemd to try: {error}")
    try:
        for name in UNITS:
            made.write(f"/etc/systemd/system/{name}", (DEPLOY / name).read_text())
            if made.run(
                "unshare", "--user", "true", code=None
            ).returncode:  # in a chroot nobody may (user_namespaces(7))
                made.write(f"/etc/systemd/system/{name}.d/users.conf", "[Service]\nPrivateUsers=no\n")
        made.run("systemctl", "daemon-reload")
        yield made
    finally:
        made.close()


def instead(systemd: LittleSystemd, unit: str, *lines: str) -> None:
    """Other lines than the unit's, as an operator writes them: `systemctl edit`."""
    systemd.write(f"/etc/systemd/system/{unit}.d/try.conf", "\n".join(lines) + "\n")
    systemd.run("systemctl", "daemon-reload")


def test_one_imports_another_fetches_and_the_server_takes_it_up(systemd: LittleSystemd) -> None:
    """All three units share a user and its folder; none of them is root."""
    systemd.write("/srv/radb.db", DUMP)
    words = "/usr/local/bin/mirrornet import-radb"
    table = "--out /var/lib/mirrornet/world.table"
    instead(
        systemd,
        "mirrornet-import.service",
        "[Service]",
        "Restart=no",
        "ExecStart=",
        f"ExecStart={words} /srv/radb.db {table}",
    )
    systemd.run("systemctl", "start", "mirrornet-import.service")
    systemd.write("/etc/mirrornet/zone.yaml", ZONE)
    systemd.run("systemctl", "start", "mirrornet-serve.service")
    owner = systemd.run("stat", "-Lc", "%u", "/var/lib/mirrornet/world.table", "/var/lib/mirrornet/control").stdout
    assert len(set(owner.split())) == 1 and owner.split()[0] != "0"
    systemd.run(
        "sh", "-ec", "install -m 644 /var/lib/mirrornet/world.table /srv/ && cd /srv && sha256sum world.table >s"
    )
    fetch = f"{words} --fetch /srv/world.table --checksum /srv/s {table}"
    instead(systemd, "mirrornet-fetch-table.service", "[Service]", "Restart=no", "ExecStart=", f"ExecStart={fetch}")
    systemd.run("systemctl", "start", "mirrornet-fetch-table.service")
    assert "nothing new since" in systemd.journal("-u", "mirrornet-fetch-table.service")
    systemd.write("/srv/radb.db", DUMP + "\nroute: 2.160.0.0/12\norigin: AS3320\nsource: RADB\n")
    systemd.run("systemctl", "start", "mirrornet-import.service")
    until(lambda: "reloaded" in systemd.journal("-u", "mirrornet-serve.service"), systemd.journal, 30)
    systemd.run("systemctl", "stop", "mirrornet-serve.service")


def test_a_vantage_gets_its_key_from_systemd_and_is_ready_without_redis(systemd: LittleSystemd) -> None:
    """The key is root's, mode 0600."""
    public = systemd.run(
        "/usr/local/bin/mirrornet", "keygen", "--vantage", "/etc/mirrornet/vantage.key"
    ).stdout.split()[0]
    share = f"server: {{share: {{url: 'redis://127.0.0.1:1/0'}}, vantages: {{fra1: {{key: '{public}'}}}}, "
    systemd.write("/etc/mirrornet/zone.yaml", ZONE.replace("server: {", share).replace("probe: none", "probe: tcp"))
    systemd.run("systemctl", "start", "mirrornet-vantage.service")
    shown = systemd.run("systemctl", "show", "--value", "--property=StatusText", "mirrornet-vantage.service").stdout
    assert "try.test" in shown
    systemd.run("systemctl", "stop", "mirrornet-vantage.service")


def test_a_copy_is_made_and_signatures_are_renewed(systemd: LittleSystemd, tmp_path: Path) -> None:
    """By a user who owns the folders and may do nothing else."""
    pin = keygen(tmp_path / "keys", passphrase=None, now=1_790_000_000.0)
    (tmp_path / "image").write_bytes(b"x" * 300_000)
    publish(tmp_path / "image", "demo", tmp_path / "repo", tmp_path / "keys", now=1_790_000_000.0)
    systemd.run("useradd", "--system", "mirrornet")
    packed = subprocess.run(["tar", "-C", str(tmp_path), "-c", "repo", "keys"], capture_output=True, check=True).stdout
    systemd.write("/srv/mirrornet/all.tar", packed)
    systemd.run("tar", "-C", "/srv/mirrornet", "--no-same-owner", "-xf", "/srv/mirrornet/all.tar")
    systemd.run("mkdir", "-p", "/srv/www/os")
    systemd.run("chown", "-R", "mirrornet:", "/srv/mirrornet", "/srv/www/os")
    systemd.run("systemctl", "start", "mirrornet-resign.service")
    assert "timestamp version 2" in systemd.journal("-u", "mirrornet-resign.service")
    words = f"/usr/local/bin/mirrornet sync file:///srv/mirrornet/repo /srv/www/os --root {pin} --quiet"
    line = f"ExecStart={words} --state /var/lib/mirrornet-sync"
    instead(systemd, "mirrornet-sync.service", "[Service]", "ExecStart=", line)
    systemd.run("systemctl", "start", "mirrornet-sync.service")
    systemd.run("cmp", "/srv/mirrornet/repo/metadata/timestamp.json", "/srv/www/os/metadata/timestamp.json")
    systemd.run("userdel", "mirrornet")


def test_sockets_of_systemd_need_no_capability_and_start_the_server(systemd: LittleSystemd) -> None:
    systemd.write("/srv/radb.db", DUMP)
    systemd.write("/etc/mirrornet/zone.yaml", ZONE)
    systemd.run("rm", "-f", "/var/lib/mirrornet/world.table")
    systemd.run("systemctl", "start", "mirrornet-import.service")
    socket = (DEPLOY / "mirrornet-serve.socket").read_text().replace("192.0.2.53:53", "127.0.0.1:53")
    systemd.write("/etc/systemd/system/mirrornet-serve.socket", socket)
    none = ("[Service]", "AmbientCapabilities=", "CapabilityBoundingSet=")
    instead(systemd, "mirrornet-serve.service", *none)
    systemd.run("systemctl", "start", "mirrornet-serve.socket")
    python = ["/usr/bin/env", "LD_LIBRARY_PATH=/opt/python/lib", "/opt/python/bin/python3"]
    for verb in ("", "stop"):
        if verb:
            systemd.run("systemctl", verb, "mirrornet-serve.service")
        assert systemd.run(*python, "-c", ASK % QUERY).stdout == "0\n", verb
    systemd.run("systemctl", "stop", "mirrornet-serve.socket", "mirrornet-serve.service")
