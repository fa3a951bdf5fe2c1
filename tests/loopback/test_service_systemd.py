"""The units under a real systemd, which is PID 1 of its own namespaces (tests/helpers/little_systemd.py).

A stream of queries, one every few milliseconds, runs through a restart, a SIGKILL and a hang: each must be answered.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from little_systemd import TREE, LittleSystemd, Unable
from waiting import until

from mirrornet.radb.importer import import_radb

DEPLOY = TREE / "deploy"
SERVICE = "mirrornet-serve.service"
ZONE = """
zone: try.test
contact: hostmaster@try.test
serial: {serial}
nameservers: {{ns1.try.test: [127.0.0.1]}}
world: /var/lib/mirrornet/world.table
select: [{{name: select, url: "http://select.try.test/", ttl: 5}}]
health: {{probe: none}}
mirrors:
  tokyo: {{url: "http://tokyo.try.test/", addresses: [203.0.113.10], place: {{country: JP}}}}
server: {{listen: ["127.0.0.1:53", "[::1]:53"], workers: 2}}
"""
# Each query from a socket of its own, so that either worker may get it.
STREAM = """
import select, socket, sys, time
query = bytes.fromhex("%s")
sent = answered = 0
slowest = 0.0
while not select.select([sys.stdin], [], [], 0.004)[0]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(60)
        sock.connect(("127.0.0.1", 53))
        began = time.monotonic()
        sock.send(query)
        sent += 1
        try:
            answered += sock.recv(4096)[3] & 15 == 0
        except OSError:
            pass
        slowest = max(slowest, time.monotonic() - began)
    if sent == 20:
        print("begun", flush=True)
print(sent, answered, round(slowest, 3))
"""
QUERY = b"\0\1\1\0\0\1\0\0\0\0\0\0\6select\3try\4test\0\0\1\0\1".hex()


@pytest.fixture(scope="module")
def systemd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LittleSystemd]:
    folder = tmp_path_factory.mktemp("systemd")
    dump = folder / "radb.db"
    dump.write_text("route: 203.178.136.0/21\norigin: AS2500\nsource: RADB\n")
    import_radb([str(dump)], folder / "world.table", now=1_790_000_000)
    try:
        made = LittleSystemd(folder)
    except Unable as error:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no systemd to try: {error}")
    try:
        for unit in DEPLOY.glob("mirrornet-*"):
            if unit.suffix in (".service", ".timer", ".socket"):
                made.write(f"/etc/systemd/system/{unit.name}", unit.read_text())
        made.write("/etc/mirrornet/zone.yaml", ZONE.format(serial=1))
        made.write("/var/lib/private/mirrornet/world.table", (folder / "world.table").read_bytes())
        made.run("systemctl", "daemon-reload")
        yield made
    finally:
        made.close()


@pytest.fixture
def running(systemd: LittleSystemd) -> LittleSystemd:
    """The service, started if need be: a start takes a second."""
    systemd.run("systemctl", "start", SERVICE)
    return systemd


def show(systemd: LittleSystemd, what: str) -> str:
    return systemd.run("systemctl", "show", "--value", f"--property={what}", SERVICE).stdout.strip()


def workers(systemd: LittleSystemd) -> list[str]:
    return systemd.run("pgrep", "-f", "serving.[w]orker", code=None).stdout.split()


class Stream:
    """The stream of queries, from the beginning of the block to its end."""

    def __init__(self, systemd: LittleSystemd) -> None:
        python = ["/usr/bin/env", "LD_LIBRARY_PATH=/opt/python/lib", "/opt/python/bin/python3"]
        self._process = subprocess.Popen(
            systemd.command(*python, "-c", STREAM % QUERY), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None and self._process.stdout.readline() == "begun\n"

    def end(self) -> tuple[int, int, float]:
        """How many were sent, how many answered without an error, and the longest time in seconds one has waited."""
        out, _ = self._process.communicate("\n", timeout=60)
        sent, answered, slowest = out.split()
        return int(sent), int(answered), float(slowest)


def test_it_may_open_port_53_and_nothing_else(running: LittleSystemd) -> None:
    assert show(running, "ActiveState") == "active" and show(running, "StatusText") == "answering for try.test"
    pids = [show(running, "MainPID"), *workers(running)]
    assert len(pids) == 3
    for pid in pids:
        status = running.run("cat", f"/proc/{pid}/status").stdout
        said = dict(line.split(":", 1) for line in status.splitlines())
        assert "0" not in said["Uid"].split() and said["NoNewPrivs"].strip() == "1" and said["Seccomp"].strip() == "2"
        assert {int(said[name], 16) for name in ("CapPrm", "CapBnd")} == {1 << 10}  # CAP_NET_BIND_SERVICE
    assert show(running, "NFileDescriptorStore") == "8"  # two workers, two addresses, UDP and TCP


def test_a_restart_loses_no_query_and_leaves_no_old_worker(running: LittleSystemd) -> None:
    before = workers(running)
    stream = Stream(running)
    running.run("systemctl", "restart", SERVICE)
    until(lambda: len(workers(running)) == 2 and not set(workers(running)) & set(before), running.journal, 120)
    sent, answered, slowest = stream.end()
    assert sent == answered, f"{slowest} s; {running.journal()}"
    assert "the last server's workers answer until the first plan is ready" in running.journal("-u", SERVICE)
    assert show(running, "NFileDescriptorStore") == "8"


def test_a_kill_loses_no_query(running: LittleSystemd) -> None:
    before, main = workers(running), show(running, "MainPID")
    stream = Stream(running)
    running.run("systemctl", "kill", "--signal=KILL", "--kill-whom=main", SERVICE)
    until(lambda: len(workers(running)) == 2 and not set(workers(running)) & set(before), running.journal, 120)
    assert show(running, "MainPID") != main
    sent, answered, _ = stream.end()
    assert sent == answered, running.journal()


def test_a_reload_takes_the_files_up_again(running: LittleSystemd) -> None:
    main = show(running, "MainPID")
    running.write("/etc/mirrornet/zone.yaml", ZONE.format(serial=2))
    running.run("systemctl", "reload", SERVICE)
    until(lambda: "reloaded /etc/mirrornet/zone.yaml" in running.journal("-u", SERVICE), running.journal)
    assert show(running, "MainPID") == main


def test_one_that_hangs_is_replaced_by_the_watchdog(systemd: LittleSystemd) -> None:
    systemd.write(f"/run/systemd/system/{SERVICE}.d/quick.conf", "[Service]\nWatchdogSec=2\n")
    systemd.run("systemctl", "daemon-reload")
    systemd.run("systemctl", "restart", SERVICE)
    main = show(systemd, "MainPID")
    stream = Stream(systemd)
    systemd.run("systemctl", "kill", "--signal=STOP", "--kill-whom=main", SERVICE)
    until(lambda: show(systemd, "MainPID") not in (main, "0"), systemd.journal, 120)
    until(lambda: show(systemd, "ActiveState") == "active", systemd.journal, 120)
    sent, answered, _ = stream.end()
    assert sent == answered, systemd.journal()
    systemd.run("rm", "-r", f"/run/systemd/system/{SERVICE}.d")
    systemd.run("systemctl", "daemon-reload")


def test_a_stop_leaves_nothing(running: LittleSystemd) -> None:
    systemd = running
    assert len(workers(systemd)) >= 2
    systemd.run("systemctl", "stop", SERVICE)
    assert workers(systemd) == [] and show(systemd, "Result") == "success"
    assert ":53" not in systemd.run("ss", "-lnut").stdout


def test_a_faulty_zone_file_is_not_tried_again(systemd: LittleSystemd) -> None:
    systemd.write("/etc/mirrornet/zone.yaml", ZONE.format(serial="once"))
    systemd.run("systemctl", "start", SERVICE, code=1)
    assert (show(systemd, "ActiveState"), show(systemd, "ExecMainStatus")) == ("failed", "2")
    assert "zone.yaml:4: " in systemd.journal("-u", SERVICE)
    systemd.write("/etc/mirrornet/zone.yaml", ZONE.format(serial=3))
    systemd.run("systemctl", "reset-failed", SERVICE)
