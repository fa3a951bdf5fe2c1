"""What is installed in an image: found without mounting, in CycloneDX, signed with the version."""

from __future__ import annotations

import json
import shutil
import sqlite3
import struct
import subprocess
from pathlib import Path

import pytest
from roots import DEBIAN, SBIN, debian_image, dpkg_status, ext_image

from mirrornet.image.contents.changes import changes
from mirrornet.image.contents.cyclonedx import document, read_document
from mirrornet.image.contents.extfs import read_file
from mirrornet.image.contents.lists import read_list
from mirrornet.image.contents.packages import Package, System, parse_apk, parse_dpkg, parse_os_release, parse_rpm
from mirrornet.image.contents.partitions import ext_file_systems, partitions
from mirrornet.image.contents.sbom import contents, describe
from mirrornet.image.fetch import file_fetch
from mirrornet.image.publishing.listing import listed
from mirrornet.model.errors import LocalError, Untrusted

NOW = 1_800_000_000.0
LIBC = ("libc6", "2.36-9+deb12u10", "glibc")
SSL = ("libssl3", "3.0.11-1~deb12u1+b1", "openssl (3.0.11-1~deb12u1)")


def test_a_publish_signs_the_list_of_packages(publisher, tmp_path: Path) -> None:
    image = debian_image(tmp_path, LIBC, SSL)
    publisher.publish(image.read_bytes())
    (version,) = listed(publisher.repo, NOW).images["demo"]
    assert [target.kind for target in version.attached] == ["sbom"]
    found = read_list(version, file_fetch(publisher.repo))
    assert found is not None
    system, packages = found
    assert system == System("debian", "12", "Debian GNU/Linux 12 (bookworm)")
    assert packages == [
        Package("deb", "libc6", "2.36-9+deb12u10", "amd64", "glibc", "2.36-9+deb12u10"),
        Package("deb", "libssl3", "3.0.11-1~deb12u1+b1", "amd64", "openssl", "3.0.11-1~deb12u1"),
    ]
    path = publisher.repo / version.attached[0].path
    path.write_bytes(path.read_bytes().replace(b"libc6", b"libc7"))
    with pytest.raises(Untrusted, match="signed"):
        read_list(version, file_fetch(publisher.repo))


def test_the_document_is_cyclonedx_and_always_the_same(tmp_path: Path) -> None:
    image = debian_image(tmp_path, SSL, LIBC)
    first = describe(image, "debian", 7, NOW)
    assert first is not None and first == describe(image, "debian", 7, NOW)
    body = json.loads(first)
    assert (body["bomFormat"], body["specVersion"], body["version"]) == ("CycloneDX", "1.5", 1)
    assert body["metadata"]["timestamp"] == "2027-01-15T08:00:00Z"
    assert body["metadata"]["component"] == {
        "type": "container", "bom-ref": "debian@7", "name": "debian", "version": "7",
    }  # fmt: skip
    assert [component.get("purl") for component in body["components"]] == [
        None,
        "pkg:deb/debian/libc6@2.36-9%2Bdeb12u10?arch=amd64&distro=debian-12&upstream=glibc",
        "pkg:deb/debian/libssl3@3.0.11-1~deb12u1%2Bb1?arch=amd64&distro=debian-12&upstream=openssl%403.0.11-1~deb12u1",
    ]
    references = [component["bom-ref"] for component in body["components"]]
    assert len(set(references)) == len(references)  # the schema demands it


def test_what_is_no_list_of_ours_is_refused() -> None:
    for data in (b"", b"[]", b"{}", b'{"bomFormat": "SPDX"}', b"[" * 100_000):
        with pytest.raises(Untrusted, match="malformed"):
            read_document(data)


@pytest.mark.parametrize("label", ["gpt", "dos", "logical"])
def test_the_root_is_found_in_a_partitioned_disk(tmp_path: Path, label: str, need) -> None:
    need("sfdisk")
    sfdisk = str(shutil.which("sfdisk", path=SBIN))
    root = debian_image(tmp_path, LIBC)
    disk = tmp_path / "disk.img"
    with disk.open("wb") as file:
        file.truncate(24 << 20)
    script = {
        "gpt": "label: gpt\nsize=2MiB\nsize=10MiB\n",
        "dos": "label: dos\nsize=2MiB\nsize=10MiB\n",
        "logical": "label: dos\nsize=2MiB\ntype=5\nsize=3MiB\nsize=10MiB\n",
    }[label]
    subprocess.run([sfdisk, "-q", str(disk)], input=script, text=True, check=True, capture_output=True)
    listing = json.loads(subprocess.run([sfdisk, "-J", str(disk)], check=True, capture_output=True).stdout)
    rows = [
        (row["start"] * 512, row["size"] * 512) for row in listing["partitiontable"]["partitions"] if row["type"] != "5"
    ]
    data = disk.read_bytes()
    assert [(p.offset, p.size) for p in partitions(lambda at, n: data[at : at + n], len(data))] == rows
    with disk.open("r+b") as file:
        file.seek(rows[-1][0])
        file.write(root.read_bytes())
    found = contents(disk)
    assert found is not None and found[1][0].name == "libc6"


def test_hostile_tables_end() -> None:
    noise = bytes(range(256)) * 8192
    for spoil in (b"EFI PART" + b"\xff" * 84, b"EFI PART" + bytes(84)):
        data = bytearray(noise)
        data[512:604] = spoil
        partitions(lambda at, n, data=data: bytes(data[at : at + n]), len(data))
    loop = bytearray(1 << 20)
    loop[446 + 4], loop[510:512] = 5, b"\x55\xaa"
    struct.pack_into("<II", loop, 446 + 8, 1, 100)
    loop[512 + 446 + 4], loop[512 + 510 : 1024] = 5, b"\x55\xaa"
    struct.pack_into("<II", loop, 512 + 446 + 8, 0, 100)  # the chain leads to itself
    assert partitions(lambda at, n: bytes(loop[at : at + n]), len(loop)) == []
    assert ext_file_systems(lambda at, n: b"", 0) == []


def test_images_without_a_list_are_published_without(publisher, tmp_path: Path, expected_warnings: list[str]) -> None:
    assert describe(ext_image(tmp_path, {"/etc/motd": "hello"}), "demo", 1, NOW) is None
    other = tmp_path / "noise"
    other.write_bytes(bytes(range(256)) * 4096)
    assert describe(other, "demo", 1, NOW) is None
    assert describe(Path("/dev/null"), "demo", 1, NOW) is None
    broken = debian_image(tmp_path, LIBC)
    with broken.open("r+b") as file:  # a superblock that says nonsense behind its magic
        file.seek(1024)
        file.write(b"\xff" * 56)
    expected_warnings.append("has no list of packages")
    assert describe(broken, "demo", 1, NOW) is None
    publisher.publish(broken.read_bytes())
    assert listed(publisher.repo, NOW).images["demo"][0].attached == ()


def test_one_file_out_of_a_file_system(tmp_path: Path) -> None:
    image = ext_image(tmp_path, {"/etc/long": b"x" * 100_000, "/etc/empty": b""}, kind="ext2")
    strange = image.rename(tmp_path / "a?offset=7 'b\".img")
    assert read_file(strange, 0, "/etc/long", 100_000) == b"x" * 100_000
    assert read_file(strange, 0, "/etc/long", 99_999) is None
    assert read_file(strange, 0, "/etc/empty", 10) == b"" and read_file(strange, 0, "/etc/none", 10) is None
    with pytest.raises(LocalError, match="debugfs cannot read"):
        read_file(strange, 4096, "/etc/long", 10)


def test_dpkg_counts_what_is_installed() -> None:
    text = (
        dpkg_status(LIBC)
        + "\n"
        + dpkg_status(("gone", "1", "")).replace("install ok installed", "deinstall ok config-files")
    )
    assert [package.name for package in parse_dpkg(text + "\n\n\nPackage: x\n\ngarbage\n Package: y")] == ["libc6"]
    assert parse_dpkg("") == []


def test_apk_with_its_origins(tmp_path: Path) -> None:
    installed = "C:Q1x\nP:libssl3\nV:3.1.3-r0\nA:x86_64\no:openssl\nF:lib\n\nP:musl\nV:1.2.4-r2\nA:x86_64\no:musl\n\n"
    assert parse_apk(installed)[0] == Package("apk", "libssl3", "3.1.3-r0", "x86_64", "openssl", "3.1.3-r0")
    alpine = 'NAME="Alpine Linux"\nID=alpine\nVERSION_ID=3.18.4\n'
    found = contents(ext_image(tmp_path, {"/lib/apk/db/installed": installed, "/etc/os-release": alpine}))
    assert found is not None and found[0].version == "3.18.4" and len(found[1]) == 2
    assert read_document(document("x", 1, *found, NOW, "0")) == (found[0], found[1])


def rpm_header(**fields: str | int) -> bytes:
    tags = {"name": 1000, "version": 1001, "release": 1002, "epoch": 1003, "arch": 1022, "source": 1044}
    entries, data = b"", b""
    for key, value in fields.items():
        data += bytes(-len(data) % 4) if isinstance(value, int) else b""
        entries += struct.pack(">IIII", tags[key], 4 if isinstance(value, int) else 6, len(data), 1)
        data += struct.pack(">I", value) if isinstance(value, int) else value.encode() + b"\0"
    return struct.pack(">II", len(fields), len(data)) + entries + data


def test_rpm_out_of_its_database(tmp_path: Path) -> None:
    bash = rpm_header(
        name="bash", version="5.2.15", release="3.fc38", arch="x86_64", source="bash-5.2.15-3.fc38.src.rpm"
    )
    ssl = rpm_header(name="openssl-libs", version="3.0.7", release="24.el9", epoch=1, arch="x86_64",
                     source="openssl-3.0.7-24.el9.src.rpm")  # fmt: skip
    assert (
        parse_rpm([b"", b"\xff" * 64, rpm_header(name="gpg-pubkey", version="1"), bash])[0].version == "5.2.15-3.fc38"
    )
    path = tmp_path / "rpmdb.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY, blob BLOB NOT NULL)")
        connection.executemany("INSERT INTO Packages(blob) VALUES (?)", [(bash,), (ssl,)])
    connection.close()
    rocky = 'NAME="Rocky Linux"\nID="rocky"\nVERSION_ID="9.3"\n'
    image = ext_image(tmp_path, {"/var/lib/rpm/rpmdb.sqlite": path.read_bytes(), "/usr/lib/os-release": rocky})
    found = contents(image)
    assert found is not None
    assert found[1][1] == Package("rpm", "openssl-libs", "1:3.0.7-24.el9", "x86_64", "openssl", "1:3.0.7-24.el9")
    assert read_document(document("x", 1, *found, NOW, "0"))[1] == found[1]


def test_os_release_as_its_manual_says() -> None:
    assert parse_os_release(DEBIAN).id == "debian"
    assert parse_os_release("# ID=no\nID='a\\'b'\nVERSION_ID=\n") == System("a'b", "", "")
    assert parse_os_release("") == System("linux", "", "")


def test_what_came_went_and_changed() -> None:
    def of(*rows: tuple[str, str, str]) -> list[Package]:
        return [Package("deb", name, version, arch, name, version) for name, version, arch in rows]

    before = of(("a", "1", "amd64"), ("b", "1", "amd64"), ("c", "1", "amd64"), ("c", "1", "i386"))
    after = of(("a", "2", "amd64"), ("c", "1", "amd64"), ("c", "2", "i386"), ("d", "1", "all"))
    found = changes(before, after)
    assert found.added == (("d", "1"),) and found.removed == (("b", "1"),)
    assert found.changed == (("a", "1", "2"), ("c:i386", "1", "2"))
    assert found and not changes(after, after) and not changes([], [])
