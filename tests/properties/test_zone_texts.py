"""Any bytes whatever make a Zone or a ConfigError whose every fault has a place, and soon."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mirrornet.config import tree
from mirrornet.config.load import LIMIT, load_zone
from mirrornet.model.errors import ConfigError
from mirrornet.model.zone import Zone

ZONES = Path(__file__).resolve().parents[2] / "zones"
EXAMPLE = (ZONES / "example.yaml").read_text(encoding="utf-8")
BARE = "\n".join(line for line in EXAMPLE.split("\n") if not line.strip().startswith("#"))
WORDS = ["[", "]", "{", "}", ": ", "\n", "\n  ", "- ", "&a ", "*a", "<<", "!!int ", "'", '"', "|\n", "\t", "::1", "?"]
WORDS += ["0", "NO", "999999999999999999999", "1e400", "-", "zone", "mirrors", "select", "place", "\x85", "\ufeff", "ß"]
LOADERS = [getattr(yaml, name) for name in ("CBaseLoader", "BaseLoader") if hasattr(yaml, name)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the example names, so that a harmless change leaves a sound zone."""
    path = tmp_path_factory.mktemp("texts")
    shutil.copytree(ZONES / "example", path / "example")
    return path


def judge(folder: Path, content: bytes) -> None:
    path = folder / "zone.yaml"
    path.write_bytes(content)
    for loader in LOADERS:
        tree.LOADER = loader
        try:
            zone = load_zone(path)
        except ConfigError as error:
            lines = content.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n").count("\n") + 1
            assert error.problems
            for problem in error.problems:
                assert "\n" not in str(problem)
                assert 0 <= problem.line <= lines
        else:
            assert isinstance(zone, Zone)
    tree.LOADER = LOADERS[0]


def test_the_bare_example_is_sound(folder: Path) -> None:
    (folder / "bare.yaml").write_text(BARE, encoding="utf-8")
    assert isinstance(load_zone(folder / "bare.yaml"), Zone)


@settings(max_examples=150, deadline=30_000)
@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
@example(b"zone: \xe2\x80\xa8\n x: [")
@example(b"\xef\xbb\xbf\xef\xbb\xbf")
@example(b"?")
@example(b'{"a\\nb": 1, "a\\nb": 2}')
@example("a: ﻿b\n﻿".encode())
def test_any_bytes(folder: Path, content: bytes) -> None:
    judge(folder, content)


@settings(max_examples=250, deadline=30_000)
@given(st.data())
def test_a_damaged_example(folder: Path, data: st.DataObject) -> None:
    text = BARE
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 30)))
        text = text[:start] + data.draw(st.sampled_from(WORDS) | st.text(max_size=6)) + text[end:]
    judge(folder, text.encode("utf-8", "replace"))


@pytest.mark.parametrize(
    "piece",
    ["[", "{a: ", "- ", "a: &a [*a,*a]\n", "? ", "'", "!!x ", "k%d: v\n", "k%d: [a, b]\n", "a: b\n", "::1 ", "#\n"],
)
def test_a_large_hostile_file_takes_little_time(folder: Path, piece: str) -> None:
    count = 300_000 // len(piece)
    content = "".join(piece % number for number in range(count)) if "%" in piece else piece * count
    path = folder / "large.yaml"
    path.write_text(content)
    assert path.stat().st_size < LIMIT
    began = time.process_time()
    with pytest.raises(ConfigError):
        load_zone(path)
    assert time.process_time() - began < 10
