"""A systemd of its own for a test: PID 1 in new namespaces, over the host's files, which it cannot change.

The root is an overlay of the host's with a tmpfs on top; network, processes and mounts are its own.  No unit of the
host is started.  In it, `mirrornet` in /usr/local/bin is this tree's, at paths that ProtectHome= does not hide.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

TREE = Path(__file__).resolve().parents[2]
PACKAGES = sysconfig.get_path("purelib")
SYSTEMD = Path("/lib/systemd/systemd")

_STAGE = r"""
set -e
base=$1 python=$2 packages=$3 tree=$4
mount --make-rprivate / 2>/dev/null || :  # in a chroot / may be no mount
mount --bind "$base" "$base"
mount --make-private "$base"
mount -t tmpfs -o size=512M,mode=755 tmpfs "$base"
mkdir "$base/upper" "$base/work" "$base/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$base/upper,workdir=$base/work" "$base/root"
cd "$base/root"
mkdir -p opt/python opt/packages opt/tree
mount --bind "$python" opt/python
mount --bind "$packages" opt/packages
mount --bind "$tree" opt/tree
mount -t proc proc proc
mount -t sysfs sysfs sys
mkdir -p sys/fs/cgroup
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs -o mode=755 tmpfs dev
for node in null zero full random urandom tty fuse; do
    [ ! -e /dev/$node ] || { touch dev/$node; mount --bind /dev/$node dev/$node; }
done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
mount -t tmpfs tmpfs dev/shm
mount -t tmpfs -o mode=755 tmpfs run
mount -t tmpfs tmpfs tmp
ip link set lo up
rm -rf etc/systemd/system etc/mirrornet var/lib/mirrornet* var/lib/private var/cache/mirrornet var/cache/private
mkdir -p etc/systemd/system etc/mirrornet usr/local/bin var/lib/private
chmod 700 var/lib/private
echo '[Unit]' >etc/systemd/system/little.target
cat >usr/local/bin/mirrornet <<'END'
#!/bin/sh
export PYTHONPATH=/opt/tree:/opt/packages LD_LIBRARY_PATH=/opt/python/lib
exec /opt/python/bin/python3 -P -c "import sys; from mirrornet.cli import main; sys.exit(main())" "$@"
END
chmod 755 usr/local/bin/mirrornet
mkdir .host
if pivot_root . .host 2>/dev/null; then
    umount -l /.host
    into=
else  # in a chroot
    mount --move . /
    into="chroot ."
fi
$into mount --make-rshared /  # PID 1 of a machine does it; in a container it is left to who makes the container
exec $into env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb \
    /lib/systemd/systemd --unit=little.target --log-target=console --log-level=warning --show-status=no
"""


class Unable(Exception):
    """This machine cannot; the reason is for `missing`."""


class LittleSystemd:
    """One instance.  Raises Unable where namespaces, overlays or control groups are not to be had."""

    def __init__(self, folder: Path) -> None:
        if os.geteuid() != 0:
            raise Unable("needs root")
        if not SYSTEMD.exists() or shutil.which("nsenter") is None:
            raise Unable("needs systemd and util-linux")
        self._log = folder / "systemd.log"
        base = folder / "stage"
        base.mkdir()
        self._groups = folder / "groups"
        self._group = _own_group(self._groups, f"mirrornet-test-{os.getpid()}")
        enter = f'echo $$ >"{self._group}/cgroup.procs"; exec "$@"'
        unshare = [
            "unshare",
            "--mount",
            "--propagation=unchanged",
            "--pid",
            "--fork",
            "--kill-child",
            "--net",
            "--uts",
            "--ipc",
            "--cgroup",
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    "sh",
                    "-c",
                    enter,
                    "sh",
                    *unshare,
                    "sh",
                    "-c",
                    _STAGE,
                    "sh",
                    *map(str, (base, sys.base_prefix, PACKAGES, TREE)),
                ],
                stdout=log,
                stderr=log,
            )
        self.pid = 0
        try:
            deadline = time.monotonic() + 60
            while not self._is_up():
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise Unable(f"no systemd of its own here: {self._log.read_text(errors='replace')[-500:]}")
                time.sleep(0.05)
        except BaseException:
            self.close()
            raise

    def _is_up(self) -> bool:
        if not self.pid:
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
            if not children or Path(f"/proc/{children[0]}/comm").read_text().strip() != "systemd":
                return False
            self.pid = int(children[0])
        return self.run("systemctl", "is-active", "-q", "little.target", code=None).returncode == 0

    def command(self, *words: str) -> list[str]:
        """A command line that runs `words` inside."""
        spaces = ("--mount", "--pid", "--net", "--ipc", "--uts", "--cgroup", "--root", "--wd")
        return ["nsenter", f"--target={self.pid}", *spaces, *words]

    def run(self, *words: str, code: int | None = 0, **more: object) -> subprocess.CompletedProcess[str]:
        """Runs `words` inside; its exit code must be `code` unless that is None."""
        done = subprocess.run(
            self.command(*words),
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            **more,  # type: ignore[call-overload]
        )
        assert code is None or done.returncode == code, f"{words}: {done.stdout}{done.stderr}\n{self.journal()}"
        return done  # type: ignore[no-any-return]

    def write(self, path: str, text: str | bytes) -> None:
        """A file inside, with the folders above it."""
        data = text.encode() if isinstance(text, str) else text
        words = self.command("sh", "-c", 'mkdir -p "$(dirname "$1")" && cat >"$1"', "sh", path)
        subprocess.run(words, input=data, check=True, timeout=60)

    def journal(self, *words: str) -> str:
        """What the units have said."""
        done = subprocess.run(
            self.command("journalctl", "--no-pager", "-o", "cat", *words), capture_output=True, text=True, check=False
        )
        return done.stdout

    def close(self) -> None:
        """Ends it, and with it, as PID 1 of its namespace, all that it has started."""
        self._process.kill()  # --kill-child
        self._process.wait()
        if self.pid:
            deadline = time.monotonic() + 10
            while Path(f"/proc/{self.pid}").exists() and time.monotonic() < deadline:
                time.sleep(0.02)
        _remove_group(self._group)
        subprocess.run(["umount", str(self._groups)], capture_output=True, timeout=60, check=False)


def _own_group(hierarchy: Path, name: str) -> Path:
    """A control group of the unified hierarchy for it: systemd wants to be at the root of one."""
    hierarchy.mkdir()
    mounting = ["mount", "-t", "cgroup2", "cgroup2", str(hierarchy)]
    done = subprocess.run(mounting, capture_output=True, text=True, timeout=60, check=False)
    group = hierarchy / name
    try:
        group.mkdir()
        (group / "cgroup.procs").read_text()
    except OSError as error:
        subprocess.run(["umount", str(hierarchy)], capture_output=True, timeout=60, check=False)
        raise Unable(f"no control group of its own: {done.stderr.strip() or error}") from None
    return group


def _remove_group(group: Path) -> None:
    for folder, _, _ in os.walk(group, topdown=False):
        for _ in range(50):
            try:
                Path(folder).rmdir()
            except OSError:  # its processes are on their way out
                time.sleep(0.02)
            else:
                break
