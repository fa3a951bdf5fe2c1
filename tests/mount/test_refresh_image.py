"""`mirrornet refresh` on a real Debian: its own apt, in namespaces, checked, published; nothing left behind."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from debian import Debian, Missing, debian
from waiting import until

from mirrornet.image.contents.lists import read_list
from mirrornet.image.fetch import file_fetch
from mirrornet.image.publishing.boot import parse_boot
from mirrornet.image.publishing.export import export
from mirrornet.image.publishing.listing import listed
from mirrornet.image.publishing.publish import publish
from mirrornet.image.trust.keys import keygen

MIRRORNET = [sys.executable, "-c", "from mirrornet.cli import main; main()"]
SECRET = b"a password that was deleted" * 40_000


@pytest.fixture(scope="module")
def base() -> Debian:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    try:
        return debian("700M", (), ("less",))
    except Missing as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))


@dataclass
class Site:
    folder: Path

    @property
    def repo(self) -> Path:
        return self.folder / "repo"

    def command(self, *arguments: str) -> list[str]:
        where = ["--repo", self.repo, "--keys", self.folder / "keys", "--state", self.folder / "state"]
        return [*MIRRORNET, "refresh", "debian", *map(str, where), *arguments]

    def refresh(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments), capture_output=True, text=True, timeout=300, check=False, stdin=subprocess.DEVNULL
        )

    def newest(self) -> int:
        return listed(self.repo, time.time()).latest("debian").version

    def left(self) -> list[str]:
        """What a refresh may not leave behind."""
        mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if str(self.folder) in line]
        loops = subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=True).stdout
        files = [str(path) for path in (self.folder / "state" / "refresh" / "debian").glob("*")]
        return mounts + [line for line in loops.splitlines() if str(self.folder) in line] + files


@pytest.fixture(scope="module")
def published(base: Debian, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("refresh")
    keygen(folder / "keys", passphrase=None)
    publish(base.base, "debian", folder / "repo", folder / "keys", now=time.time())
    return folder


@pytest.fixture
def site(published: Path, tmp_path: Path, need) -> Site:
    need("unshare", "setpriv", "fstrim", "losetup", "debugfs")
    for part in ("keys", "repo"):
        shutil.copytree(published / part, tmp_path / part)
    return Site(tmp_path)


def test_apt_installs_and_what_was_installed_is_published(base: Debian, site: Site) -> None:
    check = 'test -s "$IMAGE" && test "$NAME" = debian'
    install = "apt-get update -qq && apt-get install -y -qq hello && apt-get clean"
    done = site.refresh("--check", check, "--", "sh", "-c", install)
    if "exit code 100" in done.stderr and not os.environ.get("CI"):
        pytest.skip("needs a Debian mirror")
    assert done.returncode == 0, done.stderr
    assert "+ hello " in done.stdout and "1 came" in done.stdout
    version = listed(site.repo, time.time()).latest("debian")
    contents = read_list(version, file_fetch(site.repo))
    assert version.version == 2 and contents is not None and "hello" in {package.name for package in contents[1]}
    image = site.folder / "out.img"
    export(site.repo, "debian", image, "raw", version=None, now=time.time())
    subprocess.run(["e2fsck", "-fn", str(image)], check=True, capture_output=True)
    assert ("policy-rc.d" in _ls(image)) == ("policy-rc.d" in _ls(base.base))  # as it was
    assert site.left() == []


def _ls(image: Path) -> str:
    return subprocess.run(
        ["debugfs", "-R", "ls -p /usr/sbin", str(image)], check=True, capture_output=True, text=True
    ).stdout


def holds(image: Path) -> bool:
    return SECRET[:4096] in image.read_bytes()  # a bool: nobody wants to read 700 MB in a failure


def test_deleted_files_are_not_published(site: Site) -> None:
    write = "i=0; while [ $i -lt 40000 ]; do printf 'a password that was deleted'; i=$((i+1)); done >/opt/secret; sync"
    first = site.refresh("--json", "--", "sh", "-c", f"{write}; cp /opt/secret /opt/kept")
    assert first.returncode == 0, first.stderr
    second = site.refresh("--json", "--", "rm", "/opt/secret", "/opt/kept")
    assert second.returncode == 0, second.stderr
    report = json.loads(second.stdout)
    assert report["trimmed"] and report["warnings"] == []
    image = site.folder / "out.img"
    export(site.repo, "debian", image, "raw", version=2, now=time.time())
    assert holds(image)
    export(site.repo, "debian", image, "raw", version=3, now=time.time())
    assert not holds(image)


def test_the_host_is_out_of_reach(site: Site) -> None:
    tries = (
        "mknod /tmp/disk b 8 0",
        "echo stolen >/proc/sys/kernel/hostname",
        "echo 1 >/sys/kernel/uevent_seqnum",
        f"test -e {site.folder}",
        "mount -t tmpfs tmpfs /mnt",
        "kill -0 $(($(ls -d /proc/[0-9]* | wc -l) + 1000))",
        "ls /dev/vda /dev/sda /dev/loop0",
    )
    for attempt in tries:
        done = site.refresh("--", "sh", "-c", f"if ({attempt}) 2>/dev/null; then exit 7; fi; exit 3")
        assert done.returncode == 1 and "exit code 3" in done.stderr, attempt
    assert site.newest() == 1 and site.left() == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--", "sh", "-c", "exit 9"), "exit code 9"),
        (("--", "no-such-program"), "exit code 127"),
        (("--check", "exit 5", "--", "true"), "the check `exit 5` ended with exit code 5"),
    ],
)
def test_what_fails_is_not_published(site: Site, arguments: tuple[str, ...], told: str) -> None:
    done = site.refresh(*arguments)
    assert done.returncode == 1 and told in done.stderr and "nothing was published" in done.stderr
    assert "Traceback" not in done.stderr and site.newest() == 1 and site.left() == []


def test_wrong_keys_are_found_out_before_the_work(site: Site) -> None:
    shutil.rmtree(site.folder / "keys")
    keygen(site.folder / "keys", passphrase=None)
    done = site.refresh("--", "sh", "-c", "echo it ran >&2")
    assert done.returncode == 2 and "it ran" not in done.stderr


def test_what_starts_it_is_taken_again_out_of_the_image(base: Debian, site: Site) -> None:
    (site.folder / "initrd").write_bytes(b"made for the kernel that was")
    publish(
        base.base,
        "debian",
        site.repo,
        site.folder / "keys",
        attached=parse_boot(f"image:/etc/debian_version,{site.folder / 'initrd'},root=/dev/vda a=b,c"),
        now=time.time(),
    )
    check = 'test "$CMDLINE" = "root=/dev/vda a=b,c" && grep -qx newer "$KERNEL" && test -z "$INITRD"'
    command = ("--", "sh", "-c", "echo newer >/etc/new; ln -sf new /etc/debian_version")
    done = site.refresh("--json", "--check", check, *command)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["warnings"] == ["version 2 has initrd beside it, and the new one has not"]
    found = {each.kind: each for each in listed(site.repo, time.time()).latest("debian").attached}
    assert set(found) == {"cmdline", "kernel", "sbom"} and found["kernel"].inside == "/etc/debian_version"
    assert (site.repo / found["kernel"].path).read_bytes() == b"newer\n"
    assert (site.repo / found["cmdline"].path).read_bytes() == b"root=/dev/vda a=b,c"


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_stays_mounted_however_it_ends(site: Site, how: signal.Signals) -> None:
    process = subprocess.Popen(
        site.command("--", "sh", "-c", "echo inside >&2; sleep 987 & sleep 987"),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line == "inside\n":
            break
    process.send_signal(how)
    process.stderr.close()
    code = process.wait(30)
    assert code == (-signal.SIGKILL if how == signal.SIGKILL else 130)
    kept = [] if how != signal.SIGKILL else ["image.raw", "resolv.conf", "root", "told"]

    def gone() -> bool:
        return sorted(Path(line).name for line in site.left()) == kept

    until(gone, site.left)
    sleeping = subprocess.run(["pgrep", "-f", "sleep 987"], capture_output=True, text=True, check=False).stdout
    assert not sleeping
    assert site.newest() == 1
    assert site.refresh("--", "true").returncode == 0 and site.left() == []  # the next one clears up


def test_two_do_not_meet(site: Site) -> None:
    first = subprocess.Popen(
        site.command("--", "sh", "-c", "echo inside >&2; sleep 30"),
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert first.stderr is not None
        assert any(line == "inside\n" for line in first.stderr)
        second = site.refresh("--", "true")
        assert second.returncode == 1 and "another refresh of debian is at work" in second.stderr
    finally:
        first.terminate()
        first.communicate()
