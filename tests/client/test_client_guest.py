"""QEMU's command line, when a guest is stuck, and what is said of overlays."""

from __future__ import annotations

import json
from pathlib import PurePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornet.client import guest as g
from mirrornet.model.errors import InputError

KERNEL = g.Kernel(PurePath("/k/vmlinuz"), PurePath("/k/in,itrd"), "root=/dev/vda ro")


def _command(**changed: object) -> list[str]:
    fields: dict[str, object] = {
        "disk": g.NbdDisk(PurePath("/run/m,n/disk"), "debian", 600), "overlay": PurePath("/state/a,b/disk.qcow2"),
        "memory": 1 << 30, "accel": "tcg", "kernel": KERNEL, "qmp": 7, "heard": 8,
    }  # fmt: skip
    return g.command(g.Guest(**{**fields, **changed}))  # type: ignore[arg-type]


def _values(words: list[str], option: str) -> list[str]:
    return [words[at + 1] for at, word in enumerate(words) if word == option]


def test_the_image_is_read_only_and_the_overlay_is_backed_by_it_on_the_command_line() -> None:
    image, disk = (json.loads(value) for value in _values(_command(), "-blockdev"))
    assert image["read-only"] is True and image["driver"] == "raw"
    server = {"type": "unix", "path": "/run/m,n/disk"}
    assert image["file"] == {"driver": "nbd", "server": server, "export": "debian", "reconnect-delay": 600}
    assert disk["driver"] == "qcow2" and disk["backing"] == image["node-name"]
    assert disk["file"]["filename"] == "/state/a,b/disk.qcow2"  # JSON: a comma is a comma


def test_an_overlay_without_a_name_goes_by_descriptor() -> None:
    words = _command(overlay=9)
    assert any(value.startswith("fd=9,set=2") for value in _values(words, "-add-fd"))
    assert json.loads(_values(words, "-blockdev")[1])["file"]["filename"] == "/dev/fdset/2"


def test_a_kernel_is_started_with_its_line_and_the_boot_loader_without() -> None:
    words = _command()
    assert _values(words, "-kernel") == ["/k/vmlinuz"] and _values(words, "-append") == ["root=/dev/vda ro"]
    assert _values(words, "-initrd") == ["/k/in,,itrd"]
    plain = _command(kernel=None)
    assert not {"-kernel", "-append", "-initrd"} & set(plain)
    assert "graphics=off" in _values(plain, "-machine")[0] and "graphics=off" not in _values(words, "-machine")[0]


def test_kvm_has_the_hosts_cpu_and_more_arguments_come_last() -> None:
    assert _values(_command(accel="kvm"), "-cpu") == ["host"] and "-cpu" not in _command()
    assert _values(_command(memory=513 << 20), "-m") == ["513M"]
    assert _command(extra=("-smp", "2"))[-2:] == ["-smp", "2"]


def test_more_arguments_are_words_of_a_shell() -> None:
    assert g.extra_arguments(["-smp 2", "-name 'a b'"]) == ("-smp", "2", "-name", "a b")
    with pytest.raises(InputError, match="no closing quotation: quote it"):
        g.extra_arguments(["-name 'a"])


def test_memory_is_whole_mebibytes_and_some_at_least() -> None:
    assert g.check_memory((64 << 20) + 5) == 64 << 20
    for slip in (0, 1, (16 << 20) - 1, 1 << 45):
        with pytest.raises(InputError, match="--memory"):
            g.check_memory(slip)


def test_a_published_command_line_is_one_line() -> None:
    assert g.cmdline_of(None) == g.DEFAULT_CMDLINE
    assert g.cmdline_of(b"root=/dev/vda\n  ro \n") == "root=/dev/vda ro"
    for bad in (b"\xff", b"a" * 2048, b"a\x1bb", b"a\0b"):
        with pytest.raises(InputError, match="tell the publisher"):
            g.cmdline_of(bad)


def test_silence_under_kvm_is_a_guest_that_is_stuck_until_it_is_up() -> None:
    watch = g.Watch("kvm", 100.0, 15.0)
    watch.seen(0, 0, 114.9)
    assert not watch.stuck(114.9) and watch.left(110.0) == pytest.approx(5.0)
    watch.seen(0, 512, 114.9)  # the firmware looks at a sector
    assert not watch.stuck(115.1) and not watch.stuck(129.8)
    watch.seen(0, 512, 129.8)
    assert watch.stuck(129.9)
    watch.seen(g.UP[0], 512, 129.9)
    assert not watch.stuck(129.9) and not watch.stuck(1e6) and watch.left(1e6) is None


def test_blocks_alone_show_that_it_is_up_and_an_emulated_guest_is_never_stuck() -> None:
    watch = g.Watch("kvm", 0.0, 15.0)
    watch.seen(0, g.UP[1], 1.0)
    assert not watch.stuck(1e6)
    assert not g.Watch("tcg", 0.0, 15.0).stuck(1e6)


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 9000), st.floats(0, 5)), max_size=40))
def test_it_is_stuck_only_after_so_much_silence(steps: list[tuple[int, int, float]]) -> None:
    watch, now, silent, console, read = g.Watch("kvm", 0.0, 15.0), 0.0, 0.0, 0, 0
    for more_console, more_read, passed in steps:
        now += passed
        silent = 0.0 if more_console or more_read else silent + passed
        console, read = console + more_console, read + more_read
        watch.seen(console, read, now)
        up = console >= g.UP[0] or read >= g.UP[1]
        if abs(silent - 15.0) > 1e-6:
            assert watch.stuck(now) == (not up and silent > 15.0)


def test_bytes_read_are_added_up_and_strange_answers_are_nothing() -> None:
    assert g.bytes_read([{"stats": {"rd_bytes": 512}}, {"stats": {"rd_bytes": 4096}}, {}, {"stats": 3}, 5]) == 4608
    for strange in ({}, None, "x", {"status": "running"}):
        assert g.bytes_read(strange) == 0


def test_an_overlay_belongs_to_one_version_of_one_image_of_one_repository() -> None:
    folder = g.overlay_folder(PurePath("/s"), "ab12", "debian", 3)
    assert folder == PurePath("/s/overlays/ab12/debian@3")
    folders = ["debian@3", "debian@1", "debian@10", "debian-live@2", "debian@0", "debian@x", ".tmp", "lock"]
    assert g.other_overlays(folders, "debian", 3) == [1, 10]
    assert g.other_overlays(["debian@3"], "debian", 3) == []


def test_a_fresh_overlay_warns_only_where_others_hold_something() -> None:
    assert g.fresh_overlay_warning([], "debian", 4) == ""
    one = g.fresh_overlay_warning([3], "debian", 4)
    assert "belongs to version 3;" in one and one.endswith("--version 3")
    many = g.fresh_overlay_warning([1, 2, 3], "debian", 4)
    assert "belongs to version 3 (and versions 1, 2)" in many


def test_a_disk_has_whole_sectors() -> None:
    assert [g.disk_size(size) for size in (0, 1, 512, 513)] == [0, 512, 512, 1024]
