"""A finished table from another server: taken once, proven, and never in the place of a better one."""

from __future__ import annotations

import gzip
import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from mirrornet.cli import import_radb as import_radb_verb
from mirrornet.model.errors import InputError, LimitError, Missing, PeerError
from mirrornet.model.table import WorldTable
from mirrornet.radb.generations import generation
from mirrornet.radb.importer import import_radb
from mirrornet.radb.ready import fetch_table


class Quiet(SimpleHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.asked.append(self.path)
        super().do_GET()

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "web").mkdir()
    Quiet.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "web"))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def build(folder: Path, count: int, now: float) -> bytes:
    """What the one server that builds puts on its web server."""
    dump = folder / "radb.db"
    dump.write_text("".join(f"route: 8.{i}.0.0/24\norigin: AS{i + 1}\nsource: RADB\n\n" for i in range(count)))
    import_radb([str(dump)], folder / "built", now=now, force=True)
    data = (folder / "built").read_bytes()
    (folder / "web" / "world.table").write_bytes(data)
    (folder / "web" / "world.table.sha256").write_text(f"{hashlib.sha256(data).hexdigest()}  world.table\n")
    return data


def test_it_is_taken_once_and_the_former_ones_are_kept(web: str, tmp_path: Path) -> None:
    out = tmp_path / "world.table"
    first = build(tmp_path, 100, 1000)
    done = fetch_table(f"{web}/world.table", out)
    assert out.read_bytes() == first and (done.created, done.nothing_new) == (1000, False)
    Quiet.asked.clear()
    assert fetch_table(f"{web}/world.table", out).nothing_new
    assert Quiet.asked == ["/world.table.sha256"]
    second = build(tmp_path, 90, 2000)
    fetch_table(f"{web}/world.table", out)
    assert out.read_bytes() == second and generation(out, 1).read_bytes() == first


def test_packed_and_by_path(web: str, tmp_path: Path) -> None:
    data = build(tmp_path, 10, 1000)
    (tmp_path / "web" / "world.table.gz").write_bytes(gzip.compress(data))
    fetch_table(f"{web}/world.table.gz", tmp_path / "a")
    fetch_table(str(tmp_path / "web" / "world.table"), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == data


@pytest.mark.parametrize(
    ("spoil", "kind", "words"),
    [
        ("other", PeerError, "is not the table whose SHA-256 was given"),
        ("cut", PeerError, "is not the table whose SHA-256 was given"),
        ("page", PeerError, "does not begin with a SHA-256"),
        ("endless", PeerError, "does not begin with a SHA-256"),
        ("no sum", Missing, "world.table.sha256"),
        ("no table", PeerError, "is no table that this version reads"),
        ("older", LimitError, "made 500 s before"),
        ("smaller", LimitError, "% lost"),
    ],
)
def test_what_is_wrong_leaves_the_old_one(
    web: str, tmp_path: Path, spoil: str, kind: type[Exception], words: str
) -> None:
    out = tmp_path / "world.table"
    before = build(tmp_path, 100, 1000)
    fetch_table(f"{web}/world.table", out)
    table, total = tmp_path / "web" / "world.table", tmp_path / "web" / "world.table.sha256"
    build(tmp_path, 10 if spoil == "smaller" else 101, 500 if spoil == "older" else 2000)
    match spoil:
        case "other":
            table.write_bytes(before)
        case "cut":
            table.write_bytes(table.read_bytes()[:-1])
        case "page":
            total.write_text("<html>log in</html>")
        case "endless":
            total.write_bytes(b"x" * 1_000_000)
        case "no sum":
            total.unlink()
        case "no table":
            table.write_bytes(b"hello")
            total.write_text(hashlib.sha256(b"hello").hexdigest())
    with pytest.raises(kind, match=words):
        fetch_table(f"{web}/world.table", out)
    assert out.read_bytes() == before and not generation(out, 1).exists()
    if spoil in ("older", "smaller"):
        assert fetch_table(f"{web}/world.table", out, force=True).created == (500 if spoil == "older" else 2000)


def test_a_damaged_table_of_ours_is_replaced_and_a_stranger_is_not(web: str, tmp_path: Path) -> None:
    data = build(tmp_path, 100, 1000)
    out = tmp_path / "world.table"
    out.write_bytes(data[:-1] + b"?")
    fetch_table(f"{web}/world.table", out)
    assert WorldTable(out.read_bytes(), str(out)).created == 1000
    (tmp_path / "zone.yaml").write_text("zone: example.org\n")
    with pytest.raises(InputError, match="is no table"):
        fetch_table(f"{web}/world.table", tmp_path / "zone.yaml")


def test_the_verb(web: str, tmp_path: Path) -> None:
    build(tmp_path, 100, 1000)
    app, run, out = typer.Typer(), CliRunner(), str(tmp_path / "world.table")
    import_radb_verb.register(app)
    words = ["--fetch", f"{web}/world.table", "--out", out]
    assert "made 1970-01-01 00:16 UTC" in run.invoke(app, words).stdout
    assert "nothing new" in run.invoke(app, words).stdout
    fault = run.invoke(app, [*words, "radb.db"])
    assert isinstance(fault.exception, InputError) and "--fetch takes a finished table" in str(fault.exception)
