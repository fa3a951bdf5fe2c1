"""An image's own upgrade, run in it: mounted from a copy, in namespaces of its own, its freed space punched out.

The command sees the image as its root, a /dev of six harmless devices, its own processes and mounts, the network and
the name servers of this machine, and no more: the capabilities are those that containers get, without mknod.  That
guards against accidents (a package that installs a boot loader on the first disk, a service that is started); whoever
upgrades an image trusts it.

Everything is mounted in a mount namespace whose processes die with us, also by kill -9 (PR_SET_PDEATHSIG, and unshare's
--kill-child): the kernel unmounts when the last of them is gone, and frees the loop device.  There is no clean-up that
could be missed.  At the end, and only if the command succeeded, fstrim tells the loop device what the file system's own
bitmap calls free, which becomes holes in the image: deleted files are not published.

Rejected: systemd-nspawn (one dependency more, for what unshare does), an overlay (its upper layer would have to be
merged into the image by copying files, which writes more blocks than the upgrade did), a guest (half an hour of
emulation where there is no KVM).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mirrornet.image.contents.partitions import Partition
from mirrornet.model.errors import LocalError

PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_TOOLS: Final = ("unshare", "setpriv", "mount", "umount", "fstrim", "chroot", "mknod")
_CAPABILITIES: Final = (  # of a container, without mknod
    "chown,dac_override,fowner,fsetid,kill,setgid,setuid,setpcap,net_bind_service,net_raw,sys_chroot,audit_write,setfcap"
)
_PASSED: Final = ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "TERM", "LANG")

# Process 1 of the namespace.  $1 image, $2 offset, $3 size, $4 mount point, $5 resolv.conf, $6 a file for what it has
# to say, a line each; then the command.  What the command says goes where ours does.
_SCRIPT: Final = r"""
set -eu
image=$1 offset=$2 size=$3 root=$4 resolv=$5
exec 3>"$6"
shift 6
mount -o "loop,offset=$offset,sizelimit=$size,nodev" -- "$image" "$root"
echo mounted >&3
for part in proc sys dev run tmp; do [ -d "$root/$part" ] || mkdir "$root/$part"; done
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount --bind "$root/proc/sys" "$root/proc/sys"
mount -o remount,bind,ro "$root/proc/sys"
[ ! -e "$root/proc/sysrq-trigger" ] || mount --bind /dev/null "$root/proc/sysrq-trigger"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
mount -t tmpfs -o mode=755,nosuid tmpfs "$root/dev"
for device in "null 1 3" "zero 1 5" "full 1 7" "random 1 8" "urandom 1 9" "tty 5 0"; do
    mknod -m 666 "$root/dev/${device%% *}" c ${device#* }
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$root/dev/pts"
mount -t tmpfs -o nosuid,nodev tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for stream in "stdin 0" "stdout 1" "stderr 2"; do
    ln -s "/proc/self/fd/${stream#* }" "$root/dev/${stream% *}"
done
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs "$root/run"
mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$root/tmp"
made=""
if [ -L "$root/etc/resolv.conf" ]; then  # systemd-resolved's and others' lead into /run
    chroot "$root" /bin/sh -c 'to=$(readlink -m /etc/resolv.conf)
        case $to in /run/*) mkdir -p "${to%/*}" && cat >"$to" ;; esac' <"$resolv" || true
elif [ -d "$root/etc" ]; then
    [ -e "$root/etc/resolv.conf" ] || { : >"$root/etc/resolv.conf"; made="$root/etc/resolv.conf"; }
    mount --bind "$resolv" "$root/etc/resolv.conf"
fi
policy="$root/usr/sbin/policy-rc.d"
if [ -d "$root/usr/sbin" ] && [ ! -e "$policy" ]; then  # Debian's way to say: start no services
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
else
    policy=""
fi
code=0
setpriv --bounding-set "$BOUNDING" --inh-caps -all chroot "$root" /usr/bin/env -i "$@" 3>&- || code=$?
echo "code $code" >&3
[ "$code" = 0 ] || exit 0
kill -KILL -1 2>/dev/null || true  # what it left running
[ -z "$policy" ] || rm -f "$policy"
for part in etc/resolv.conf dev/pts dev/shm dev proc/sysrq-trigger proc/sys proc sys run tmp; do
    umount "$root/$part" 2>/dev/null || true
done
[ -z "$made" ] || rm -f "$made"
sync -f "$root"  # what was deleted is free only when the journal says so
fstrim -v "$root" >&3 || echo "untrimmed" >&3
umount "$root"
echo unmounted >&3
"""


@dataclass(frozen=True, slots=True)
class Upgrade:
    """`code`: the command's exit code.  `trimmed`: whether freed space was punched out of the image."""

    code: int
    trimmed: bool


def run_inside(
    image: Path, partition: Partition, work: Path, command: Sequence[str], environment: Mapping[str, str]
) -> Upgrade:
    """Runs `command` in the file system `partition` of the file `image`, which is changed.  `work`: an empty folder.

    What the command prints goes to stderr.  After an exit code other than 0, or an exception, the image is of no use.
    Raises LocalError where it is not root, a tool is missing, or the file system cannot be mounted.
    """
    if os.geteuid() != 0:
        raise LocalError("it needs root, since it mounts the image: run it with sudo")
    for tool in _TOOLS:
        if shutil.which(tool, path=PATH) is None:
            raise LocalError(f"{tool} is missing: install util-linux, mount and coreutils")
    point, resolv, told = work / "root", work / "resolv.conf", work / "told"
    point.mkdir()
    try:
        resolv.write_bytes(Path("/etc/resolv.conf").read_bytes())
    except OSError:
        resolv.write_bytes(b"")
    inside = {"PATH": PATH, "HOME": "/root", "LC_ALL": "C.UTF-8", **_inherited(), **environment}
    bounding = "-all," + ",".join(f"+{name}" for name in _CAPABILITIES.split(","))
    arguments = [
        *("setpriv", "--pdeathsig", "KILL", "--"),
        *("unshare", "--mount", "--pid", "--fork", "--kill-child=KILL", "--uts", "--ipc"),
        *("/bin/sh", "-c", _SCRIPT, "mirrornet-refresh"),
        *(str(image), str(partition.offset), str(partition.size), str(point), str(resolv), str(told)),
        *(f"{key}={value}" for key, value in inside.items()),
        *command,
    ]
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr.fileno(),
        env={"PATH": PATH, "BOUNDING": bounding, "LC_ALL": "C.UTF-8"},
    )
    try:
        process.wait()
    finally:  # Ctrl-C, SIGTERM: the namespace dies with its process 1, and the mounts with it
        process.kill()
        process.wait()
    lines = told.read_text(errors="replace").splitlines() if told.exists() else []
    return _outcome(lines, image)


def _inherited() -> dict[str, str]:
    return {key: os.environ[key] for key in _PASSED if os.environ.get(key)}


def _outcome(lines: Sequence[str], image: Path) -> Upgrade:
    codes = [int(line.partition(" ")[2]) for line in lines if line.startswith("code ")]
    if "mounted" not in lines:
        raise LocalError(f"{image}: its file system could not be mounted (the lines above say why)")
    if not codes:
        raise LocalError(f"{image}: the command was not run, or was killed (the lines above say why)")
    if codes[0] == 0 and "unmounted" not in lines:
        raise LocalError(f"{image}: it could not be unmounted after the command (the lines above say why)")
    return Upgrade(codes[0], any(" trimmed" in line for line in lines))
