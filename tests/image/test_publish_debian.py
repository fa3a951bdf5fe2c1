"""The real case: a Debian is published, apt installs a package in it, and it is published again."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from debian import Debian, Missing, debian

from mirrornet.image.format.block import Codec
from mirrornet.image.publishing.export import export
from mirrornet.image.publishing.publish import publish
from mirrornet.image.trust.keys import keygen

NOW = 1_800_000_000.0


@pytest.fixture(scope="module")
def images() -> Debian:
    try:
        return debian("700M", (), ("less",))
    except Missing as error:
        if os.environ.get("CI"):
            pytest.fail(f"CI must have this: {error}")
        pytest.skip(str(error))


@pytest.mark.parametrize("packs", [False, True])
def test_an_update_sends_what_changed(images: Debian, tmp_path: Path, packs: bool) -> None:
    repo, keys = tmp_path / "repo", tmp_path / "keys"
    keygen(keys, passphrase=None, now=NOW)
    first = publish(images.base, "debian", repo, keys, codec=Codec.ZSTD, packs=packs, now=NOW)
    second = publish(images.updated, "debian", repo, keys, codec=Codec.ZSTD, packs=packs, now=NOW)
    assert first.size == second.size == 700 << 20
    assert first.new_bytes == first.stored > 50_000_000
    # dpkg's lists, the package, bitmaps, the journal: some blocks of many
    assert 0 < second.new_blocks < 150 and second.new_bytes < first.stored / 8
    assert second.new_file_bytes < second.new_bytes + 500_000
    assert second.repository_files == first.repository_files + second.new_files - 1  # the timestamp is one file
    for version, image in ((1, images.base), (2, images.updated)):
        out = tmp_path / "out"
        export(repo, "debian", out, "raw", version=version, now=NOW)
        with out.open("rb") as ours, image.open("rb") as theirs:
            while piece := theirs.read(1 << 24):
                assert ours.read(1 << 24) == piece
    print(f"update: {second.new_blocks} blocks, {second.new_bytes} bytes, {second.new_files} files")
