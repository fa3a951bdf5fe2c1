"""Real prefixes by longest match: a trie fed by nobody but this test, the table, and the table's own tries agree."""

from __future__ import annotations

import csv
import gzip
import random
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address, ip_network
from itertools import islice
from pathlib import Path

from pytricia import PyTricia

from mirrornet.model.address import Address, fold, parse_prefix
from mirrornet.model.table import WorldTable
from mirrornet.radb.bogons import bogon_asn, bogon_prefix
from mirrornet.radb.compiling.tries import Tries
from mirrornet.radb.importer import import_radb

EVERY = 37  # of the rows of the data: about 31,000
LOOKUPS = 4000


def test_real_prefixes(data: Callable[[str], Path], tmp_path: Path) -> None:
    with gzip.open(data("prefix-origin.csv.gz"), "rt") as file:
        rows = list(islice(csv.reader(file), 1, None, EVERY))
    rows = [row for row in rows if usable(row[0], int(row[1]))]
    assert len(rows) > 30_000
    text = "".join(f"route{'6' * (':' in p)}: {p}\norigin: AS{asn}\nsource: RADB\n\n" for p, asn, _ in rows)
    dump, out = tmp_path / "radb.db", tmp_path / "world.table"
    dump.write_text(text + "# EOF\n")
    report = import_radb([str(dump)], out, now=1.0)
    assert report.rejected == {}

    own = {4: PyTricia(32), 6: PyTricia(128)}
    for prefix, asn, _ in rows:
        own[6 if ":" in prefix else 4].insert(prefix, int(asn))
    table = WorldTable(out.read_bytes())
    tries = Tries.of_table(table)
    dice = random.Random(1)
    hits = 0
    for _ in range(LOOKUPS):
        address = pick(dice, rows)
        match = table.match(address)
        assert tries.match(address) == match
        if fold(address) == address:
            trie = own[address.version]
            key = trie.get_key(str(address))
            assert match.place.asn == (trie.get(str(address)) or 0)
            assert match.prefix == (parse_prefix(key) if key else None)
            hits += key is not None
    assert hits > LOOKUPS / 2


def usable(text: str, asn: int) -> bool:
    prefix = parse_prefix(text)
    return not bogon_asn(asn) and not bogon_prefix(prefix.family, prefix.value, prefix.length)


def pick(dice: random.Random, rows: list[list[str]]) -> Address:
    """Anywhere, or in a known prefix, or just outside one."""
    if dice.random() < 0.1:
        return IPv4Address(dice.getrandbits(32))
    network = ip_network(dice.choice(rows)[0])
    where = dice.choice(
        [0, -1, network.num_addresses - 1, network.num_addresses, dice.randrange(network.num_addresses)]
    )
    value = int(network.network_address) + where
    return IPv4Address(value % 2**32) if network.version == 4 else IPv6Address(value % 2**128)
