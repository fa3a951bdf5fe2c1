"""One walk tells every file that a version needs, each verified before what it names is believed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from contents import some_bytes

from mirrornet.image.fetch import file_fetch
from mirrornet.image.inventory import needed, needed_by
from mirrornet.image.publishing.listing import listed
from mirrornet.model.errors import Untrusted

NOW = 1_800_000_000.0
SMALL = 65536


def files_of(repo: Path) -> set[str]:
    return {
        str(path.relative_to(repo))
        for part in ("blocks", "files")
        for path in (repo / part).rglob("*")
        if path.is_file()
    }


def test_it_names_every_file_of_a_repository_and_no_other(publisher) -> None:
    data = some_bytes(70 * SMALL + 5) + bytes(3 * SMALL)
    publisher.publish(data)
    publisher.publish(data[: 40 * SMALL] + some_bytes(30 * SMALL, 2))
    versions = listed(publisher.repo, NOW).images["demo"]
    told = list(needed_by(versions, file_fetch(publisher.repo)))
    assert {each.path for each in told} == files_of(publisher.repo)
    for each in told:
        content = (publisher.repo / each.path).read_bytes()
        assert hashlib.sha256(content).digest() == each.sha256 and len(content) == each.size
    alone = {each.path for each in needed(versions[0], file_fetch(publisher.repo))}
    assert alone < files_of(publisher.repo)


def test_a_shared_page_is_fetched_once(publisher, mirror) -> None:
    publisher.publish(some_bytes(70 * SMALL))
    publisher.publish(some_bytes(70 * SMALL))
    versions = listed(publisher.repo, NOW).images["demo"]
    asked = mirror(publisher.repo)
    list(needed_by(versions, asked))
    assert len([path for path in asked.asked if path.startswith("blocks/")]) == 1


@pytest.mark.parametrize("which", ["files/", "blocks/"])
def test_a_forged_piece_is_not_followed(publisher, mirror, which: str) -> None:
    publisher.publish(some_bytes(5 * SMALL))
    (version,) = listed(publisher.repo, NOW).images["demo"]
    liar = mirror(publisher.repo)
    honest = mirror(publisher.repo)
    list(needed(version, honest))
    path = next(path for path in honest.asked if path.startswith(which))
    content = (publisher.repo / path).read_bytes()
    liar.instead[path] = content[:-1] + bytes([content[-1] ^ 1])
    with pytest.raises(Untrusted):
        list(needed(version, liar))
