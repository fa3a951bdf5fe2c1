"""Whose word counts, and for how long: sequences, ages, clocks, keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from mirrornet.health.eyes.ledger import SKEW, Ledger, beat, life
from mirrornet.health.eyes.observation import CONTEXT, HEAD_LIMIT, Statement, encode
from mirrornet.image.trust.seal import Seal, genuine, make_seal, public_text
from mirrornet.model.errors import InputError
from mirrornet.model.verdict import State, Verdict
from mirrornet.model.zone import HealthSettings

LIFE = 33.0
NOW = 1000.5


@pytest.fixture(scope="module")
def seals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Seal]:
    folder = tmp_path_factory.mktemp("seals")
    for name in ("fra1", "tok1"):
        make_seal(folder / name, None)
    return {name: Seal(folder / name) for name in ("fra1", "tok1")}


@pytest.fixture
def ledger(seals: dict[str, Seal]) -> Ledger:
    return Ledger("zone.test", {name: seal.public for name, seal in seals.items()}, LIFE, ["tokyo"])


def said(seal: Seal, at: float, sequence: int = 1, vantage: str = "fra1", zone: str = "zone.test") -> bytes:
    statement = Statement(zone, vantage, sequence, at, {"tokyo": Verdict(State.UP, 20.0)})
    return encode(statement, lambda message: seal.sign(CONTEXT, message))


def test_a_statement_counts_for_its_life_and_ends_with_a_second(ledger: Ledger, seals: dict[str, Seal]) -> None:
    data = said(seals["fra1"], 1000.0)
    assert ledger.wants("fra1", data[:HEAD_LIMIT])
    assert ledger.take("fra1", data, NOW)
    assert list(ledger.fresh(NOW)) == ["fra1"]
    assert list(ledger.fresh(1032.999)) == ["fra1"]
    assert list(ledger.fresh(1033.0)) == []
    assert ledger.heard("fra1").refused == ""


def test_what_is_known_or_older_is_not_taken(ledger: Ledger, seals: dict[str, Seal]) -> None:
    new, old = said(seals["fra1"], 1000.0, 7), said(seals["fra1"], 999.0, 6)
    assert ledger.take("fra1", new, NOW)
    assert not ledger.wants("fra1", new[:HEAD_LIMIT])
    assert ledger.heard("fra1").refused == ""
    assert not ledger.wants("fra1", old[:HEAD_LIMIT])
    assert "older statement" in ledger.heard("fra1").refused
    assert not ledger.take("fra1", old, NOW)
    assert not ledger.take("fra1", new, NOW)
    assert ledger.fresh(NOW)["fra1"].sequence == 7
    assert not ledger.wants("fra1", new[:HEAD_LIMIT])  # the new one stands there again
    assert ledger.heard("fra1").refused == ""


def test_a_first_line_alone_moves_nothing(ledger: Ledger, seals: dict[str, Seal]) -> None:
    """Whoever can write to the board can write any sequence; it is believed with its signature only."""
    assert ledger.take("fra1", said(seals["fra1"], 1000.0, 7), NOW)
    lie = said(seals["fra1"], 1001.0, 8).replace(b" 8 ", b" 9 ")
    assert ledger.wants("fra1", lie[:HEAD_LIMIT])
    assert not ledger.take("fra1", lie, NOW)
    assert "signature" in ledger.heard("fra1").refused
    assert ledger.fresh(NOW)["fra1"].sequence == 7
    assert ledger.take("fra1", said(seals["fra1"], 1001.0, 8), NOW)
    assert ledger.heard("fra1").refused == ""


@pytest.mark.parametrize(
    ("at", "why"),
    [(NOW + SKEW + 1, "its clock is 6.0 s ahead"), (NOW - LIFE - 10, "its clock is behind"), (1e9, "ahead")],
)
def test_clocks_have_to_agree(ledger: Ledger, seals: dict[str, Seal], at: float, why: str) -> None:
    assert not ledger.take("fra1", said(seals["fra1"], at, 9), NOW)
    assert why in ledger.heard("fra1").refused
    assert ledger.take("fra1", said(seals["fra1"], NOW, 1), NOW)  # what was refused has left no sequence behind


def test_a_clock_that_goes_back_takes_along_what_was_said_in_the_future(ledger: Ledger, seals: dict[str, Seal]) -> None:
    """Else a vantage that is started anew is not heard, and one that is gone counts, until that day comes."""
    days = 5 * 86400.0
    assert ledger.take("fra1", said(seals["fra1"], NOW + days, 9), NOW + days)
    ledger.doubt(NOW + days - SKEW)  # clocks differ
    assert list(ledger.fresh(NOW + days)) == ["fra1"]
    ledger.doubt(NOW)
    assert ledger.fresh(NOW) == {}
    late = said(seals["fra1"], NOW, 3)
    assert ledger.wants("fra1", late[:HEAD_LIMIT]) and ledger.take("fra1", late, NOW)


def test_one_vantages_key_says_nothing_for_another(ledger: Ledger, seals: dict[str, Seal]) -> None:
    assert not ledger.take("tok1", said(seals["fra1"], 1000.0), NOW)
    assert not ledger.take("tok1", said(seals["fra1"], 1000.0, vantage="tok1"), NOW)
    assert "signature" in ledger.heard("tok1").refused
    assert not ledger.take("fra1", said(seals["fra1"], 1000.0, zone="other.test"), NOW)
    for garbage in (b"\0", b"x" * 600, said(seals["tok1"], 1000.0, vantage="tok1")):
        assert not ledger.wants("fra1", garbage[:HEAD_LIMIT])
        assert ledger.heard("fra1").refused
    assert not ledger.wants("fra1", b"")
    assert ledger.fresh(NOW) == {}


def test_a_reload_keeps_what_the_same_key_has_said(ledger: Ledger, seals: dict[str, Seal]) -> None:
    assert ledger.take("fra1", said(seals["fra1"], 1000.0, 5), NOW)
    same = Ledger("zone.test", {"fra1": seals["fra1"].public}, LIFE, ["tokyo"], ledger)
    assert list(same.fresh(NOW)) == ["fra1"]
    assert not same.take("fra1", said(seals["fra1"], 1000.2, 4), NOW)
    another = Ledger("zone.test", {"fra1": seals["tok1"].public}, LIFE, ["tokyo"], ledger)
    assert another.fresh(NOW) == {}
    assert Ledger("other.test", {"fra1": seals["fra1"].public}, LIFE, ["tokyo"], ledger).fresh(NOW) == {}


def test_what_is_said_of_mirrors_that_there_are_not_is_forgotten(ledger: Ledger, seals: dict[str, Seal]) -> None:
    """Who may speak may not fill our memory with mirrors that there are not."""
    verdict = Verdict(State.UP, 20.0)
    many = Statement(
        "zone.test", "fra1", 1, 1000.0, {f"m{number}": verdict for number in range(999)} | {"tokyo": verdict}
    )
    assert ledger.take("fra1", encode(many, lambda message: seals["fra1"].sign(CONTEXT, message)), NOW)
    assert ledger.fresh(NOW)["fra1"].verdicts == {"tokyo": verdict}


def test_three_turns_may_be_missed() -> None:
    assert (beat(HealthSettings(interval=10)), life(HealthSettings(interval=10, timeout=3))) == (10, 33)
    assert (beat(HealthSettings(interval=0.2)), life(HealthSettings(interval=0.2, timeout=0.1))) == (1, 3.1)


def test_a_seal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = make_seal(tmp_path / "new" / "a.pem", b"secret")
    path = tmp_path / "new" / "a.pem"
    assert path.stat().st_mode & 0o777 == 0o600
    seal = Seal(path, b"secret")
    assert text == public_text(seal.public)
    signature = seal.sign(b"one", b"message")
    assert genuine(seal.public, b"one", b"message", signature)
    assert not genuine(seal.public, b"two", b"message", signature)
    assert not genuine(seal.public, b"one", b"message", signature[:-1])
    assert not genuine(bytes(32), b"one", b"message", signature)
    with pytest.raises(InputError, match="is there already"):
        make_seal(path, None)
    with pytest.raises(InputError, match=r"gone\.pem: is not here; `mirrornet keygen --vantage FILE` makes such a key"):
        Seal(tmp_path / "gone.pem")
    with pytest.raises(InputError, match="passphrase"):
        Seal(path, b"wrong")
    (tmp_path / "text").write_text("no key")
    with pytest.raises(InputError, match="PEM"):
        Seal(tmp_path / "text")
