"""mount(8)'s arguments become those of `mirrornet mount`."""

from __future__ import annotations

import pytest

from mirrornet.cli.mount import fstab_arguments
from mirrornet.model.errors import InputError


def test_a_line_of_fstab() -> None:
    assert fstab_arguments(
        ["select.example.net#debian", "/mnt", "-n", "-o", "ro,_netdev,root=sha256:ab,x-systemd.automount,offline"]
    ) == ["mount", "select.example.net", "debian", "/mnt", "--root", "sha256:ab", "--offline"]
    assert fstab_arguments(["http://a/,http://b/#x", "/mnt", "-oroot=/r.json,version=3", "-t", "mirrornet"]) == [
        "mount", "http://a/,http://b/", "x", "/mnt", "--root", "/r.json", "--version", "3",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["select.example.net", "/mnt"], "SOURCE#NAME"),
        (["a#b"], "expected"),
        (["a#b", "/mnt", "-o", "rw"], "read-only"),
        (["a#b", "/mnt", "-o", "resolvr=1.2.3.4"], "did you mean resolver"),
        (["a#b", "/mnt", "-o", "root"], "takes a value"),
        (["a#b", "/mnt", "-o", "offline=1"], "takes no value"),
        (["a#b", "/mnt", "-o"], "needs a value"),
    ],
)
def test_faults_have_a_hint(words: list[str], hint: str) -> None:
    with pytest.raises(InputError, match=hint):
        fstab_arguments(words)


def test_a_line_without_root_says_how_fstab_writes_it() -> None:
    with pytest.raises(InputError, match="-o root=sha256"):
        fstab_arguments(["select.example.net#debian", "/mnt", "-o", "ro"])
