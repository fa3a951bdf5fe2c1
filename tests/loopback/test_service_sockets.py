"""The service manager's protocol, spoken by a fake one: what it is told, what it keeps, what it gives back."""

from __future__ import annotations

import asyncio
import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path

import pytest

from mirrornet.app.notify import Given, Manager, attend
from mirrornet.app.server.answers.sockets import open_all
from mirrornet.model.errors import LocalError

V4 = ip_address("127.0.0.1")
BOTH = (socket.SOCK_DGRAM, socket.SOCK_STREAM)


class FakeManager:
    """A NOTIFY_SOCKET that remembers, and a store of descriptors by name."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))
        self.socket.settimeout(60)
        self.store: dict[str, socket.socket] = {}

    def one(self) -> list[str]:
        """The next message's lines; descriptors with it go into the store."""
        data, descriptors, _, _ = socket.recv_fds(self.socket, 4096, 4)
        lines = data.decode().split("\n")
        values = dict(line.split("=", 1) for line in lines)
        if "FDSTORE" in values:
            (descriptor,) = descriptors
            self.store[values["FDNAME"]] = socket.socket(fileno=descriptor)
        if "FDSTOREREMOVE" in values:
            self.store.pop(values["FDNAME"]).close()
        return lines

    def all(self) -> list[list[str]]:
        """All that has come so far: a datagram is there when send() returns."""
        found = []
        self.socket.settimeout(0)
        while True:
            try:
                found.append(self.one())
            except BlockingIOError:
                self.socket.settimeout(60)
                return found

    def manager(self) -> Manager:
        """What the next process of the unit is given."""
        return Manager(str(self.path), None, [Given(name, sock.dup()) for name, sock in self.store.items()])


@pytest.fixture
def fake(tmp_path: Path) -> Iterator[FakeManager]:
    made = FakeManager(tmp_path / "notify")
    yield made
    made.socket.close()
    for sock in made.store.values():
        sock.close()


def test_what_is_told(fake: FakeManager) -> None:
    manager = Manager(str(fake.path))
    manager.ready("answering\nfor example.org")
    manager.alive()
    manager.status("so so")
    manager.stopping()
    assert fake.all() == [
        ["READY=1", "STATUS=answering for example.org"],
        ["WATCHDOG=1"],
        ["STATUS=so so"],
        ["STOPPING=1"],
    ]


def test_without_a_manager_nothing_happens() -> None:
    environment = {"HOME": "/"}
    manager = Manager.of(environment)
    manager.ready("x")
    assert (manager.address, manager.watchdog, manager.given, environment) == ("", None, [], {"HOME": "/"})


def test_a_manager_that_is_gone_is_a_warning(tmp_path: Path, expected_warnings: list[str]) -> None:
    expected_warnings.append("does not listen")
    Manager(str(tmp_path / "nobody")).ready("x")


def test_the_environment_is_read_once_and_is_not_for_children(fake: FakeManager) -> None:
    """In a process of its own, since descriptors of a manager begin with 3."""
    code = """
import os, sys
from mirrornet.app.notify import Manager
os.environ["LISTEN_PID"] = os.environ["WATCHDOG_PID"] = str(os.getpid())
manager = Manager.of(os.environ)
left = [name for name in os.environ if name.startswith(("LISTEN_", "WATCHDOG_", "NOTIFY_"))]
print(left, manager.watchdog, [(given.name, given.socket.getsockname()[1], os.get_inheritable(given.socket.fileno()))
      for given in manager.given])
os.environ.update(LISTEN_PID="1", LISTEN_FDS="2", WATCHDOG_USEC="9", WATCHDOG_PID="1")
other = Manager.of(os.environ)
print(other.given, other.watchdog)
"""
    with socket.socket(type=socket.SOCK_DGRAM) as first, socket.socket() as second:
        for sock in (first, second):
            sock.bind(("127.0.0.1", 0))
        ports = [sock.getsockname()[1] for sock in (first, second)]
        kept = [fcntl.fcntl(sock, fcntl.F_DUPFD, 10) for sock in (first, second)]  # none that is in use
        moved = f'exec 3<&{kept[0]} 4<&{kept[1]}; exec "$@"'
        environment = {
            **os.environ,
            "NOTIFY_SOCKET": str(fake.path),
            "WATCHDOG_USEC": "30000000",
            "LISTEN_FDS": "2",
            "LISTEN_FDNAMES": "one:two",
        }
        try:
            done = subprocess.run(
                ["bash", "-c", moved, "bash", sys.executable, "-c", code],
                env=environment, pass_fds=kept, capture_output=True, text=True, check=True,
            )  # fmt: skip
        finally:
            for descriptor in kept:
                os.close(descriptor)
    expected = [("one", ports[0], False), ("two", ports[1], False)]
    assert done.stdout.splitlines() == [f"[] 30.0 {expected}", "[] None"]


async def test_the_watchdog_hears_three_times_as_often_as_it_must(fake: FakeManager) -> None:
    task = asyncio.create_task(attend(Manager(str(fake.path), watchdog=0.03)))
    for _ in range(3):
        assert await asyncio.to_thread(fake.one) == ["WATCHDOG=1"]
    task.cancel()
    await asyncio.wait_for(attend(Manager(str(fake.path))), 60)  # nobody waits: it has nothing to do


def ports_of(slots: list[list[socket.socket]]) -> list[list[tuple[int, int]]]:
    return [[(sock.type, sock.getsockname()[1]) for sock in slot] for slot in slots]


def test_sockets_are_kept_and_taken_again_with_what_has_queued(fake: FakeManager, free_port: Callable[[], int]) -> None:
    listen = [(V4, free_port()), (ip_address("::1"), free_port())]
    first = open_all(listen, (), 2, Manager(str(fake.path)))
    fake.all()
    assert len(fake.store) == 8 and all(":" not in name and len(name) < 256 for name in fake.store)
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        for number in range(20):
            client.sendto(b"query %d" % number, (str(V4), listen[0][1]))
    shape = ports_of(first.slots)
    first.close()
    second = open_all(listen, (), 2, fake.manager())
    assert fake.all() == [] and ports_of(second.slots) == shape
    found = set()
    for slot in second.slots:
        slot[0].setblocking(False)
        try:
            while True:
                found.add(slot[0].recv(100))
        except BlockingIOError:
            continue
    assert found == {b"query %d" % number for number in range(20)}
    second.close()


def test_fewer_workers_drop_what_nobody_reads_and_more_open_their_own(
    fake: FakeManager, free_port: Callable[[], int]
) -> None:
    listen, elsewhere = [(V4, free_port())], [(V4, free_port())]
    open_all(listen, (), 3, Manager(str(fake.path))).close()
    fake.all()
    fewer = open_all(listen, (), 1, fake.manager())
    told = fake.all()
    assert len(told) == 4 and all(lines[0] == "FDSTOREREMOVE=1" for lines in told) and len(fake.store) == 2
    fewer.close()
    more = open_all(listen, (), 2, fake.manager())
    fake.all()
    assert [len(slot) for slot in more.slots] == [2, 2] and len(fake.store) == 4
    more.close()
    moved = open_all(elsewhere, (), 1, fake.manager())
    fake.all()
    assert len(fake.store) == 2 and moved.addresses == elsewhere
    moved.close()
    for sock in fake.store.values():
        sock.close()
    with socket.socket(type=socket.SOCK_DGRAM) as anybody:
        anybody.bind((str(V4), listen[0][1]))  # not one socket of the old address is left anywhere


@pytest.mark.parametrize(("units", "workers", "wanted"), [(1, 3, [2, 2, 2]), (3, 1, [6]), (2, 2, [2, 2])])
def test_sockets_of_a_unit_are_shared_or_heaped_and_never_dropped(
    fake: FakeManager, free_port: Callable[[], int], units: int, workers: int, wanted: list[int]
) -> None:
    """ReusePort= in the unit only where it names an address more than once."""
    port, given = free_port(), []
    for _ in range(units):
        for kind in BOTH:
            sock = socket.socket(type=kind)
            if units > 1:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            sock.bind((str(V4), port))
            if kind == socket.SOCK_STREAM:
                sock.listen()
            given.append(Given("mirrornet.socket", sock))
    found = open_all([(V4, port)], (), workers, Manager(str(fake.path), None, given))
    assert [len(slot) for slot in found.slots] == wanted and fake.all() == []
    assert {port} == {sock.getsockname()[1] for slot in found.slots for sock in slot}
    found.close()


def test_a_socket_of_a_unit_that_takes_both_families_is_refused(free_port: Callable[[], int]) -> None:
    port, given = free_port(), []
    for kind in BOTH:
        sock = socket.socket(socket.AF_INET6, kind)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(("::", port))
        given.append(Given("mirrornet.socket", sock))
    with pytest.raises(LocalError, match="BindIPv6Only=ipv6-only"):
        open_all([(ip_address("::"), port)], (), 1, Manager(given=given))
    assert all(one.socket.fileno() == -1 for one in given)  # nothing is left open
