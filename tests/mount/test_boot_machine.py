"""`mirrornet boot` with real virtual machines, small ones: what is kept, what is forgotten, what dies with what."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import client_mirrors as world
import pytest
from sector_guest import PROGRAM, Boot, is_gone, sector_image, small_kernel
from waiting import until

from mirrornet.app.client.mounts import statuses
from mirrornet.app.folders import run_folder
from mirrornet.image.publishing.publish import publish
from mirrornet.image.publishing.retire import retire
from mirrornet.image.trust.keys import keygen

NEEDS = ("qemu-system-x86_64", "qemu-img")


class House:
    """A published image of one sector, mirrors of it, and a machine that boots it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.repo, self.keys = folder, folder / "repo", folder / "keys"
        self.pin = keygen(self.keys, passphrase=None)
        self.publish()
        self.booted: list[Boot] = []
        self.urls: list[str] = []
        self.servers: list[world.Mirror] = []

    def publish(self, zero: str = "0", **attached: bytes) -> None:
        image = sector_image(self.folder / "disk.img", zero)
        publish(image, "disk", self.repo, self.keys, now=time.time(), attached=attached)

    def boot(
        self, *words: str, path: str = "", accel: str = "tcg", program: str = PROGRAM, terminal: bool = False
    ) -> Boot:
        made = Boot(
            self.folder, ",".join(self.urls), "disk", "--root", self.pin, "--state", str(self.folder / "state"),
            "--cache", str(self.folder / "cache"), "--log", str(self.folder / "log"), "--memory", "64M",
            *(["--accel", accel] if accel else []), *words, path=path, program=program, terminal=terminal,
        )  # fmt: skip
        self.booted.append(made)
        return made


@pytest.fixture
def house(need: Callable[..., None], tmp_path: Path) -> Iterator[House]:
    need(*NEEDS)
    made = House(tmp_path)
    with world.mirrors(made.repo, 2, first=20) as servers:
        made.servers, made.urls = servers, [server.url for server in servers]
        yield made
        for each in made.booted:
            each.end()


def test_what_the_guest_writes_is_kept_and_belongs_to_the_version(house: House) -> None:
    for number in (1, 2):
        guest = house.boot()
        guest.until(f"BOOTED {number}")
        assert guest.off() == 0 and guest.errors == ""
    house.publish(zero="A")
    guest = house.boot()
    guest.until("BOOTED B")
    assert guest.off() == 0
    assert "what was written here belongs to version 1; to go back to it: --version 1" in guest.errors
    guest = house.boot("--version", "1")
    guest.until("BOOTED 3")
    assert guest.off() == 0 and guest.errors == ""
    guest = house.boot()
    guest.until("BOOTED C")
    assert guest.off() == 0 and guest.errors == ""  # said once


def test_ephemeral_forgets_and_touches_nothing_that_is_kept(house: House) -> None:
    kept = house.boot()
    kept.until("BOOTED 1")
    assert kept.off() == 0
    for _ in range(2):
        guest = house.boot("--ephemeral")
        guest.until("BOOTED 1")
        assert guest.off() == 0
    files = [path.name for path in (house.folder / "state" / "overlays").rglob("*") if path.is_file()]
    assert sorted(files) == ["disk.qcow2", "lock"]
    again = house.boot()
    again.until("BOOTED 2")
    assert again.off() == 0


def test_a_second_boot_needs_no_network(house: House) -> None:
    first = house.boot()
    first.until("BOOTED 1")
    assert first.off() == 0
    house.urls = ["http://127.0.0.1:9"]
    second = house.boot("--offline")
    second.until("BOOTED 2")
    assert second.off() == 0
    third = house.boot()  # nobody said that there is no network
    third.until("BOOTED 3")
    assert third.off() == 0 and "warning" in third.errors


def test_two_guests_do_not_share_an_overlay(house: House) -> None:
    first = house.boot()
    first.until("BOOTED 1")
    second = house.boot()
    assert second.ended() == 1
    assert f"disk version 1 runs already (process {first.process.pid})" in second.errors
    third = house.boot("--ephemeral")
    third.until("BOOTED 1")
    assert third.off() == 0
    assert first.off() == 0


def test_kill_9_leaves_no_guest_no_client_and_no_lock(house: House) -> None:
    guest = house.boot()
    guest.until("BOOTED 1")
    children = guest.children()
    assert set(children) == {"qemu", "client"}
    assert len(_places(guest)) == 1
    os.kill(guest.process.pid, signal.SIGKILL)
    until(lambda: all(is_gone(pid) for pid in children.values()), lambda: children, patience=30)
    assert not _places(guest)
    again = house.boot()
    again.until("BOOTED 2")
    assert again.off() == 0
    assert not _places(guest)


def test_what_a_boot_and_its_client_left_when_both_were_killed_the_next_boot_removes(house: House) -> None:
    guest = house.boot()
    guest.until("BOOTED 1")
    children = guest.children()
    os.kill(children["client"], signal.SIGSTOP)
    for pid in (guest.process.pid, children["client"]):
        os.kill(pid, signal.SIGKILL)
    until(lambda: all(is_gone(pid) for pid in children.values()), lambda: children, patience=30)
    (left,) = _places(guest)
    os.utime(left, (0, 0))
    again = house.boot()
    again.until("BOOTED 2")
    assert not left.exists() and len(_places(again)) == 1
    assert again.off() == 0


def test_sigterm_asks_the_guest_and_a_second_one_does_not_wait(house: House) -> None:
    guest = house.boot()
    guest.until("BOOTED 1")
    children = guest.children()
    guest.process.terminate()  # this guest knows nothing of a power button
    until(lambda: "asked to power off" in guest.errors)
    guest.process.terminate()
    assert guest.ended() == 130
    assert all(is_gone(pid) for pid in children.values())


def test_sigterm_while_mirrors_are_silent_ends_it_soon_and_leaves_nothing(house: House) -> None:
    for server in house.servers:
        server.behave = "hang"
    guest = house.boot()
    until(lambda: any(server.blocks_asked for server in house.servers), lambda: guest.errors, patience=30)
    children = guest.children()
    guest.process.terminate()
    assert guest.ended() == 130
    assert guest.errors == "mirrornet: interrupted\n"
    assert all(is_gone(pid) for pid in children.values())
    assert not _places(guest)


def test_a_terminal_is_the_guests_and_is_given_back(house: House) -> None:
    guest = house.boot(terminal=True)
    before = termios.tcgetattr(guest.tty)
    guest.until("BOOTED 1")
    assert termios.tcgetattr(guest.tty) != before
    guest.type(b"\x03")  # Ctrl-C is the guest's, and this one powers off at any key
    assert guest.process.wait(60) == 0
    assert termios.tcgetattr(guest.tty) == before
    guest = house.boot(terminal=True)
    guest.until("BOOTED 2")
    guest.type(b"\x01x")  # QEMU's own
    assert guest.process.wait(60) == 0
    guest = house.boot(terminal=True)
    guest.until("BOOTED 3")
    os.kill(guest.children()["qemu"], signal.SIGKILL)
    assert guest.process.wait(60) == 1
    assert termios.tcgetattr(guest.tty) == before and os.get_blocking(guest.tty)
    assert guest.errors == "mirrornet: qemu-system-x86_64 was ended by signal 9\n"


def test_without_qemu_the_package_is_named(house: House, tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    guest = house.boot(path=str(tools))
    assert guest.ended() == 1
    told = "mirrornet: there is no qemu-system-x86_64 on this machine: install QEMU (Debian: apt install "
    assert guest.errors == f"{told}qemu-system-x86)\n"


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        (("--qemu", "-smp '2"), 2, '--qemu "-smp \'2": no closing quotation'),
        (("--qemu", "-no-such-thing"), 1, "-no-such-thing: invalid option"),
        (("--memory", "1"), 2, "--memory"),
        (("--accel", "xen"), 2, "there are kvm and tcg"),
    ],
)
def test_a_slip_of_the_user_is_one_line(house: House, words: tuple[str, ...], code: int, told: str) -> None:
    guest = house.boot(*words, accel="") if "--accel" in words else house.boot(*words)
    assert guest.ended() == code
    assert told in guest.errors and len(guest.errors.splitlines()) == 1, guest.errors


def test_a_guest_whose_writes_do_not_fit_waits_until_they_do(
    need: Callable[..., None], house: House, tmp_path: Path
) -> None:
    need("root", "mount")
    state = tmp_path / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", state], check=True)
    try:
        first = house.boot("--qemu", "-S")  # everything is made, and nothing is run
        until(lambda: list(state.rglob("disk.qcow2")) and "qemu" in first.children(), lambda: first.errors, 30)
        first.end()
        filler = state / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(4096)):
                pass
        guest = house.boot()
        until(lambda: "this machine's disk is full" in guest.errors, lambda: guest.errors, 60)
        filler.unlink()
        guest.until("BOOTED 1")
        assert guest.off() == 0 and guest.errors.count("is full") == 1
    finally:
        subprocess.run(["umount", "-l", state], check=True)


def test_more_arguments_reach_qemu(house: House) -> None:
    guest = house.boot("--qemu", "-name 'my guest'", "--qemu", "-smp 2")
    guest.until("BOOTED 1")
    words = Path(f"/proc/{guest.children()['qemu']}/cmdline").read_bytes().split(b"\0")
    assert b"my guest" in words and words[words.index(b"-smp") + 1] == b"2"
    assert guest.off() == 0


def test_a_client_that_dies_is_followed_by_another_and_the_guest_sees_no_error(house: House) -> None:
    guest = house.boot()
    guest.until("BOOTED 1")
    for number in range(3):
        former = guest.children()["client"]
        os.kill(former, signal.SIGKILL)
        begun = time.monotonic()
        guest.type(b"r")
        guest.until("READ\n" * (number + 1))
        print(f"a read took {time.monotonic() - begun:.2f} s")
        assert time.monotonic() - begun < 30.0  # 0.3 s where nothing else runs
        assert guest.children()["client"] != former
    assert guest.off() == 0 and guest.errors == ""
    assert not _places(guest)


def test_a_newer_version_does_not_come_to_a_guest_by_a_client_that_dies(house: House) -> None:
    guest = house.boot()
    guest.until("BOOTED 1")
    house.publish(zero="A")
    os.kill(guest.children()["client"], signal.SIGKILL)
    guest.type(b"r")
    guest.until("READ")

    def versions() -> list[int]:
        return [one["version"] for one in statuses(None) if Path(one["mountpoint"]).parent in _places(guest)]

    until(lambda: versions() == [1], versions)
    assert guest.off() == 0


def test_a_client_that_dies_again_and_again_ends_the_guest_with_a_line(house: House) -> None:
    guest = house.boot()
    guest.until("BOOTED 1")
    children = guest.children()
    while not is_gone(children["qemu"]):
        with contextlib.suppress(ProcessLookupError, KeyError):
            os.kill(guest.children()["client"], signal.SIGKILL)
    assert guest.ended() == 1
    assert "died 6 times in a minute, so the guest was ended" in guest.errors
    assert len(guest.errors.splitlines()) == 1
    assert not _places(guest)


def test_a_published_kernel_is_started_with_its_command_line(house: House) -> None:
    house.publish(kernel=small_kernel(), cmdline=b"root=/dev/vda  ro\n", initrd=bytes(5000))
    guest = house.boot()
    guest.until("KERNEL root=/dev/vda ro")
    assert guest.off() == 0
    house.urls = ["http://127.0.0.1:9"]
    guest = house.boot("--offline")
    guest.until("KERNEL root=/dev/vda ro")
    assert guest.off() == 0
    shutil.rmtree(house.folder / "state" / "boot")
    guest = house.boot("--offline")
    assert guest.ended() == 1
    assert "is not kept here: a mirror has to be reached once" in guest.errors and len(guest.errors.splitlines()) == 1


def test_a_kernel_that_one_mirror_spoiled_comes_from_another_and_from_nobody_if_all_did(
    house: House, tmp_path: Path
) -> None:
    house.publish(kernel=small_kernel(), cmdline=b"one")
    bad = world.copy_of(house.repo, tmp_path / "bad")
    kernel = next((bad / "files" / "disk" / "2").glob("*.kernel"))
    kernel.write_bytes(kernel.read_bytes()[:-1] + b"x")
    with world.mirrors(bad, 2, first=30) as liars:
        good, house.urls = house.urls, [server.url for server in liars]
        guest = house.boot()
        assert guest.ended() == 1
        assert "sent another file than was signed" in guest.errors and len(guest.errors.splitlines()) == 1
        assert all(server.name in guest.errors for server in liars)
        house.urls += good
        guest = house.boot()
        guest.until("KERNEL one")
        assert guest.off() == 0 and guest.errors == ""


def test_kernels_of_versions_that_are_gone_are_not_kept(house: House) -> None:
    house.publish(kernel=small_kernel(), cmdline=b"one")
    guest = house.boot()
    guest.until("KERNEL one")
    assert guest.off() == 0
    (folder,) = (house.folder / "state" / "boot").glob("*/disk")
    before = {path.name for path in folder.iterdir()}
    house.publish(kernel=small_kernel(), cmdline=b"two")
    retire(house.repo, house.keys, "disk", versions=[2], now=time.time())
    guest = house.boot()
    guest.until("KERNEL two")
    assert guest.off() == 0
    after = {path.name for path in folder.iterdir()}
    assert len(before) == len(after) == 2 and len(before & after) == 1  # the kernel is the same


# -- KVM: a QEMU that plays dead under it


_DEAD = """#!/bin/sh
case " $* " in
*" -accel kvm "*) echo started >>{log}; exec sleep 600;;
esac
exec {real} "$@"
"""
_RUN = """
import sys
from pathlib import Path
from mirrornet.app.client import boot
boot.KVM = Path("/dev/null")
boot.fcntl.ioctl = lambda *_: boot.os.dup(0)
old = boot.BootOptions
boot.BootOptions = lambda *a, **b: old(*a, **b, patience=1.0)
from mirrornet.cli import main
main()
"""


@pytest.fixture
def dead_kvm(house: House, tmp_path: Path) -> str:
    """A PATH whose qemu does nothing under KVM, and a machine that seems to have it."""
    tools = tmp_path / "tools"
    tools.mkdir()
    fake = tools / "qemu-system-x86_64"
    fake.write_text(_DEAD.format(log=tmp_path / "kvm", real=shutil.which("qemu-system-x86_64")))
    fake.chmod(0o755)
    return f"{tools}:{os.environ['PATH']}"


def test_a_guest_that_is_dead_under_kvm_is_started_again_without_and_that_is_remembered(
    house: House, dead_kvm: str, tmp_path: Path
) -> None:
    guest = house.boot(path=dead_kvm, accel="", program=_RUN)
    guest.until("BOOTED 1")
    assert guest.off() == 0
    assert "no byte on its console and no block read in 1 s; KVM does not work here" in guest.errors
    assert len(guest.errors.splitlines()) == 1
    guest = house.boot(path=dead_kvm, accel="", program=_RUN)
    guest.until("BOOTED 2")
    assert guest.off() == 0
    assert "KVM hung here before" in guest.errors
    assert (tmp_path / "kvm").read_text() == "started\n"


def test_who_asks_for_kvm_is_told_that_it_does_not_work(house: House, dead_kvm: str) -> None:
    guest = house.boot(path=dead_kvm, accel="kvm", program=_RUN)
    assert guest.ended() == 1
    assert guest.errors.endswith("in 1 s: try --accel tcg\n")
    assert len(guest.errors.splitlines()) == 1


def _places(guest: Boot) -> list[Path]:
    """What `guest` has in the run folder, where others boot, too."""
    found = []
    for lock in run_folder().glob("boot-*/lock"):
        with contextlib.suppress(FileNotFoundError):
            if lock.read_text().strip() == str(guest.process.pid):
                found.append(lock.parent)
    return found
