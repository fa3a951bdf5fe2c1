"""`publish --boot`: kernel, initrd and command line, from this machine or out of the image, signed with its version."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest
from roots import DEBIAN, ext_image

from mirrornet.image.publishing.boot import MAX_CMDLINE, Inside, parse_boot
from mirrornet.image.publishing.listing import listed
from mirrornet.image.publishing.rollback import rollback
from mirrornet.image.trust.versions import Attached
from mirrornet.model.errors import InputError, LocalError

NOW = 1_800_000_000.0
KERNEL, INITRD = b"MZ" + os.urandom(1 << 20), os.urandom(70_000)


def linked(folder: Path, **links: str) -> Path:
    """An image with a kernel, an initrd, and links: name → where it leads."""
    root = folder / "root"
    image = ext_image(folder, {"/boot/vmlinuz-6.1": KERNEL, "/boot/initrd-6.1": INITRD, "/empty": b""})
    for name, target in links.items():
        (root / name).symlink_to(target)
    image.unlink()
    program = "/usr/sbin/mkfs.ext4"
    subprocess.run([program, "-q", "-d", str(root), str(image), "8192k"], check=True, capture_output=True)
    return image


def beside(publisher, version: int = 1) -> dict[str, Attached]:
    return {each.kind: each for each in listed(publisher.repo, NOW).version("demo", version).attached}


def content(publisher, target: Attached) -> bytes:
    data: bytes = (publisher.repo / target.path).read_bytes()
    assert (len(data), hashlib.sha256(data).digest()) == (target.length, target.hash)
    return data


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("k,i,root=/dev/vda", {"kernel": Path("k"), "initrd": Path("i"), "cmdline": b"root=/dev/vda"}),
        ("k,,console=ttyS0,115200 a,b", {"kernel": Path("k"), "cmdline": b"console=ttyS0,115200 a,b"}),
        ("image:/vmlinuz", {"kernel": Inside("/vmlinuz")}),
        ("image:/a b,image:/c", {"kernel": Inside("/a b"), "initrd": Inside("/c")}),
    ],
)
def test_what_the_option_says(text: str, wanted: dict[str, object]) -> None:
    assert parse_boot(text) == wanted


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (",i,c", "names no kernel"),
        ("image:vmlinuz", "a path from the image's root"),
        ("image:/a\nb", "a path from the image's root"),
        ("k,image:", "a path from the image's root"),
        ("k,,a\nb", "one line of printable ASCII"),
        ("k,,ü", "one line of printable ASCII"),
        ("k,," + "a" * (MAX_CMDLINE + 1), "Linux takes 2047"),
    ],
)
def test_what_it_may_not_say(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        parse_boot(text)


def test_out_of_the_image_by_its_links(publisher, tmp_path: Path, need) -> None:
    need("debugfs")
    long = "boot/" + "./" * 60 + "initrd-6.1"  # not held in the inode itself
    image = linked(tmp_path, vmlinuz="old", old="/boot/../boot/vmlinuz-6.1", **{"a b \"c'": long})
    attached = parse_boot("image:/vmlinuz,image:/a b \"c',root=/dev/vda console=ttyS0,115200")
    report = publisher.publish(image.read_bytes(), attached=attached)
    assert report.attached == ("cmdline", "initrd", "kernel")
    found = beside(publisher)
    assert content(publisher, found["kernel"]) == KERNEL and found["kernel"].inside == "/vmlinuz"
    assert content(publisher, found["initrd"]) == INITRD and found["initrd"].inside == "/a b \"c'"
    assert content(publisher, found["cmdline"]) == b"root=/dev/vda console=ttyS0,115200"
    assert found["cmdline"].inside == ""


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/none", "it is not there, in "),
        ("/away", "it leads to /../../../../etc/none, which is not there"),
        ("/boot", "it is no regular file"),
        ("/dir", "it leads to /boot, which is no regular file"),
        ("/loop", "it leads through more than 40 links"),
        ("/host", "it leads to /etc/hostname, which is not there"),
        ("/empty", "image:/empty: is empty"),
    ],
)
def test_what_cannot_be_taken_out(publisher, tmp_path: Path, path: str, told: str, need) -> None:
    need("debugfs")
    image = linked(tmp_path, away="../../../../etc/none", dir="boot", loop="loop", host="/etc/hostname")
    with pytest.raises(InputError, match=told):
        publisher.publish(image.read_bytes(), attached=parse_boot(f"image:{path}"))
    assert list((publisher.repo / "blocks").iterdir()) == []  # told before the work
    assert not (publisher.repo / "metadata" / "timestamp.json").exists()


def test_an_image_without_a_file_system(publisher) -> None:
    with pytest.raises(InputError, match="has no ext2, 3 or 4 file system"):
        publisher.publish(b"x" * 100_000, attached=parse_boot("image:/vmlinuz"))


def test_a_boot_partition_is_asked_after_the_root(publisher, tmp_path: Path, need) -> None:
    need("debugfs", "sfdisk")
    lists = {"/var/lib/dpkg/status": "Package: a\nStatus: install ok installed\nVersion: 1\n\n"}
    (tmp_path / "r").mkdir()
    root = ext_image(tmp_path / "r", {**lists, "/usr/lib/os-release": DEBIAN, "/both": b"root's"})
    boot = ext_image(tmp_path, {"/vmlinuz-6.1": KERNEL, "/both": b"boot's"}, size=12 << 20)
    disk = tmp_path / "disk.img"
    with disk.open("wb") as file:
        file.truncate(32 << 20)
    script = "label: gpt\nstart=2048,size=12MiB\nsize=8MiB\n"
    subprocess.run(["/usr/sbin/sfdisk", "-q", str(disk)], input=script, text=True, check=True, capture_output=True)
    with disk.open("r+b") as file:
        file.seek(1 << 20)
        file.write(boot.read_bytes())
        file.seek(13 << 20)
        file.write(root.read_bytes())
    publisher.publish(disk.read_bytes(), attached=parse_boot("image:/vmlinuz-6.1,image:/both"))
    found = beside(publisher)
    assert content(publisher, found["kernel"]) == KERNEL and content(publisher, found["initrd"]) == b"root's"


def test_files_of_this_machine(publisher, tmp_path: Path) -> None:
    (tmp_path / "k").write_bytes(KERNEL)
    (tmp_path / "k").chmod(0o600)  # as Ubuntu has them
    publisher.publish(b"x" * 100_000, attached=parse_boot(f"{tmp_path / 'k'},,quiet"))
    found = beside(publisher)
    assert content(publisher, found["kernel"]) == KERNEL and found["kernel"].inside == ""
    assert (publisher.repo / found["kernel"].path).stat().st_mode & 0o777 == 0o644
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "nothing").touch()
    for name, told in [("pipe", "is no file"), ("none", "is no file"), ("nothing", "is empty"), ("", "is no file")]:
        with pytest.raises(InputError, match=told):
            publisher.publish(b"y" * 100_000, attached=parse_boot(f"{tmp_path / name}"))
    assert listed(publisher.repo, NOW).latest("demo").version == 1


def test_the_next_version_does_not_take_them_over_in_silence(publisher, tmp_path: Path) -> None:
    (tmp_path / "k").write_bytes(KERNEL)
    first = publisher.publish(b"x" * 100_000, attached=parse_boot(f"{tmp_path / 'k'},,quiet"))
    second = publisher.publish(b"y" * 100_000)
    assert first.lost == () and second.lost == ("cmdline", "kernel") and beside(publisher, 2) == {}


def test_a_rollback_has_them_again(publisher, tmp_path: Path, need) -> None:
    """Also one that is longer than metadata may be: it used to be refused."""
    need("debugfs")
    image = linked(tmp_path)
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(65 << 20)
    publisher.publish(image.read_bytes(), attached=parse_boot(f"image:/boot/vmlinuz-6.1,{large},quiet"))
    publisher.publish(b"y" * 100_000)
    rollback(publisher.repo, publisher.keys, "demo", 1, now=NOW)
    first, third = beside(publisher, 1), beside(publisher, 3)
    assert third["kernel"].inside == "/boot/vmlinuz-6.1"
    assert {kind: (each.hash, each.length) for kind, each in first.items()} == {
        kind: (each.hash, each.length) for kind, each in third.items()
    }
    assert content(publisher, third["kernel"]) == KERNEL
    path = publisher.repo / third["cmdline"].path
    path.write_bytes(b"loudd")
    publisher.publish(b"z" * 100_000)
    with pytest.raises(InputError, match="is damaged"):
        rollback(publisher.repo, publisher.keys, "demo", 3, now=NOW)


def test_a_disk_that_is_no_file_system_at_all_says_so(
    publisher, tmp_path: Path, need, expected_warnings: list[str]
) -> None:
    need("debugfs")
    expected_warnings.append("has no list of packages")
    image = linked(tmp_path)
    with image.open("r+b") as file:
        file.seek(1024)
        file.write(b"\xff" * 56)
    with pytest.raises(LocalError, match="debugfs cannot read"):
        publisher.publish(image.read_bytes(), attached=parse_boot("image:/vmlinuz"))
