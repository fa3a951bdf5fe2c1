"""From a registry's dump to who is sent where: as-sets and route-sets with the garbage that registries hold, imported,
named by a zone file, answered by both engines and explained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import dns.edns
import dns.message
import pytest
import typer
from typer.testing import CliRunner

from mirrornet.app.server.worlds.world import World, examine_all, load_world
from mirrornet.cli.explain import register as explain_verb
from mirrornet.cli.import_radb import register as import_verb
from mirrornet.dns.message import wire
from mirrornet.dns.planning.plan import Planner
from mirrornet.dns.reference import Reference
from mirrornet.dns.serving.answer import Responder
from mirrornet.model.sets import SECTION, Sets
from mirrornet.model.verdict import State, Verdict
from mirrornet.radb.compiling.tries import Tries

DUMP = """\
% This is a registry.

route:          203.0.113.0/24
descr:          a customer's customer
origin:         AS64500
mnt-by:         MAINT-LEAF
changed:        noc@leaf.example 20200101
source:         RADB

route:          198.51.100.0/24
origin:         AS64501
member-of:      RS-GUESTS, RS-SHUT, RS-NOWHERE
mnt-by:         MAINT-GUEST
source:         RADB

route:          192.0.2.0/24
origin:         AS64502
source:         RADB

route6:         2001:db8::/32
origin:         AS64500
source:         RADB

aut-num:        AS64502
as-name:        BY-ITS-OWN-WORD
member-of:      AS-EXAMPLE, AS64500:AS-CUSTOMERS
mnt-by:         MAINT-OWN
source:         RADB

as-set:         AS-EXAMPLE
descr:          the exchange's members
members:        AS64500:AS-CUSTOMERS, AS-VANISHED,
                AS-EMPTY   # joined in May
+               AS-ANY
members:        as-loop, 192.0.2.0/24, PeerAS,
mbrs-by-ref:    MAINT-OWN
source:         RADB

as-set:         AS64500:AS-CUSTOMERS
members:        AS64500
source:         RADB

as-set:         AS-LOOP
members:        AS-LOOP, AS-EXAMPLE
source:         RADB

as-set:         AS-EMPTY
source:         RADB

as-set:         AS-EXAMPLE
members:        AS64501
source:         ALTDB

route-set:      RS-GUESTS
members:        192.0.2.128/25^+, 0.0.0.0/0, RS-SHUT
mp-members:     2001:db8:1::/48
mbrs-by-ref:    ANY
source:         RADB

route-set:      RS-SHUT
source:         RADB

rtr-set:        rtrs-example
members:        rtr1.example.net
source:         RADB

peering-set:    prng-example
peering:        AS64500
source:         RADB

as-set:         no set's name
source:         RADB

# EOF
"""
ZONE = """\
zone: example.net
contact: h@example.net
serial: 1
nameservers: {ns.elsewhere.example: []}
world: world.table
select: [{name: select, answers: 1}]
health: {probe: none}
mirrors:
  tokyo:
    url: http://select.example.net/
    addresses: [198.18.0.1]
    prefer: [RADB::AS-EXAMPLE]
  paris:
    url: http://select.example.net/
    addresses: [198.18.0.2]
    weight: 200
    never: [RADB::RS-GUESTS]
  dallas:
    url: http://select.example.net/
    addresses: [198.18.0.3]
    only: [ALTDB::AS-EXAMPLE, 192.0.2.0/26]
    weight: 300
places:
  192.0.2.64/26: {mirrors: [dallas, paris, tokyo]}
  192.0.2.80/28: {mirrors: [tokyo]}
"""
ADDRESSES = {"198.18.0.1": "tokyo", "198.18.0.2": "paris", "198.18.0.3": "dallas"}

Run = Callable[..., str]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a verb in a folder with the dump and the zone file."""
    monkeypatch.chdir(tmp_path)
    Path("radb.db").write_text(DUMP)
    Path("z.yaml").write_text(ZONE)
    app = typer.Typer()
    import_verb(app)
    explain_verb(app)

    def verb(*arguments: str) -> str:
        result = CliRunner().invoke(app, list(arguments), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.stdout

    return verb


def imported(run: Run, *more: str) -> str:
    return run("import-radb", "radb.db", "--bogons", "--out", "world.table", *more)


def explained(run: Run, address: str) -> str:
    """The lines about policy, one blank between words."""
    said = run("explain", "z.yaml", address, "--state", "nowhere")
    return " ".join(said.partition("  policy ")[2].partition("  mirrors\n")[0].split())


def engines(world: World) -> tuple[Responder, Reference]:
    verdicts = {z.name: {m.name: Verdict(State.UP, 60.0) for m in z.mirrors} for z in world.zones}
    assert world.table is not None
    planner = Planner(world.zones, world.table, {})
    plan = planner.plan(verdicts, 1)
    fast = Responder(plan, planner.ttls(plan, verdicts))
    return fast, Reference(world.zones, world.table, Tries.of_table(world.table).match, {}, verdicts)


def answered(world: World, subnet: str) -> tuple[str, int]:
    """(the mirror in A, the scope), by both engines alike."""
    address, _, length = subnet.partition("/")
    query = dns.message.make_query("select.example.net", "A", use_edns=0)
    query.use_edns(0, options=[dns.edns.ECSOption(address, int(length))])
    replies = [e.respond(query.to_wire(), b"\x7f\0\0\1", wire.UDP) for e in engines(world)]
    told = []
    for reply in replies:
        assert reply is not None
        message = dns.message.from_wire(reply)
        (scope,) = [o.scopelen for o in message.options if isinstance(o, dns.edns.ECSOption)]
        told.append((ADDRESSES[str(message.answer[0][0])], scope))
    assert told[0] == told[1]
    return told[0]


def test_the_dump_becomes_sets_with_its_garbage_counted(run: Run) -> None:
    said = imported(run)
    assert "5 as-sets and 2 route-sets, 2 of them empty" in said
    assert "they name 1 that no source has, and 4 members that are none" in said
    assert "2 members by their own word (mbrs-by-ref); 3 claims refused" in said
    assert "not the name of an as-set or route-set, such as radb.db" in said
    assert "1 rtr-set" in said and "1 peering-set" in said


@pytest.mark.parametrize(
    ("subnet", "mirror", "scope"),
    [
        ("203.0.113.7/32", "tokyo", 24),  # AS64500: a member of a member
        ("192.0.2.1/32", "tokyo", 26),  # AS64502: by its own word
        ("192.0.2.70/32", "paris", 28),  # pinned; dallas may not, so the next
        ("192.0.2.85/32", "tokyo", 28),  # a pin within a pin
        ("192.0.2.97/32", "paris", 27),
        ("192.0.2.200/32", "tokyo", 25),
        ("198.51.100.1/32", "dallas", 24),  # ALTDB's set of that name; paris never: the route claims to be a guest
        ("8.8.8.8/32", "paris", 1),  # nobody's: the heavier of the two that are open
        ("2001:db8::1/64", "tokyo", 32),  # a guest's /48 is in it, but paris is second anyway
    ],
)
def test_both_engines_send_members_where_they_belong(run: Run, subnet: str, mirror: str, scope: int) -> None:
    imported(run)
    found, told = answered(load_world([Path("z.yaml")]), subnet)
    assert found == mirror
    # The scope is exact: as wide as can be without reaching somebody who is answered otherwise.
    assert told == scope


@pytest.mark.parametrize(
    ("address", "sentence"),
    [
        (
            "203.0.113.7",
            "tokyo first: 203.0.113.0/24 is originated by AS64500, a member of AS64500:AS-CUSTOMERS (RADB), "
            "which is in AS-EXAMPLE (RADB)",
        ),
        ("192.0.2.1", "tokyo first: 192.0.2.0/24 is originated by AS64502, a member of AS-EXAMPLE (RADB)"),
        ("192.0.2.1", "dallas allowed: 192.0.2.1 is in 192.0.2.0/26"),
        ("198.51.100.9", "paris never: 198.51.100.9 is in 198.51.100.0/24, a member of RS-GUESTS (RADB)"),
        ("198.51.100.9", "dallas allowed: 198.51.100.0/24 is originated by AS64501, a member of AS-EXAMPLE (ALTDB)"),
        ("192.0.2.200", "paris never: 192.0.2.200 is in 192.0.2.128/25^+, a member of RS-GUESTS (RADB)"),
        ("192.0.2.85", "tokyo first: 192.0.2.85 is in 192.0.2.80/28, which gets tokyo first (`places`)"),
        ("192.0.2.70", "paris first: 192.0.2.70 is in 192.0.2.64/26, which gets dallas, paris, tokyo first (`places`)"),
        ("203.0.113.7", "dallas only for others: 203.0.113.7 is none of ALTDB::AS-EXAMPLE, 192.0.2.0/26"),
        ("2001:db8:1::5", "paris never: 2001:db8:1::5 is in 2001:db8:1::/48, a member of RS-GUESTS (RADB)"),
    ],
)
def test_explain_says_by_which_origin_and_which_sets(run: Run, address: str, sentence: str) -> None:
    imported(run)
    assert sentence in explained(run, address)


def test_a_jump_is_held_back_and_confirmed(run: Run, expected_warnings: list[str]) -> None:
    expected_warnings.append("is held back")
    imported(run)
    Path("radb.db").write_text(DUMP.replace("members:        AS64500\n", "members:        AS64500, AS64501, AS64503\n"))
    said = imported(run)
    assert "held back: RADB::AS64500:AS-CUSTOMERS (members kept 1, now 3): import again with --confirm RADB::" in said
    world = load_world([Path("z.yaml")])
    assert answered(world, "198.51.100.1/32")[0] == "dallas"
    warnings = [str(problem) for problem in examine_all([Path("z.yaml")])[2]]
    held = "RADB::AS-EXAMPLE holds RADB::AS64500:AS-CUSTOMERS, which is held back (members kept 1, now 3)"
    assert any(f"prefer[1]: {held}" in warning for warning in warnings)
    assert "a member of AS64500:AS-CUSTOMERS (RADB), held back at its former content" in explained(run, "203.0.113.7")
    said = imported(run, "--confirm", "RADB::AS64500:AS-CUSTOMERS")
    assert "confirmed: 1 sets, such as RADB::AS64500:AS-CUSTOMERS" in said
    assert "held back" not in said
    assert "tokyo first: 198.51.100.0/24 is originated by AS64501" in explained(run, "198.51.100.9")
    assert answered(load_world([Path("z.yaml")]), "198.51.100.1/32")[0] == "tokyo"


def test_a_dump_that_was_left_out_takes_nobodys_mirror(run: Run, expected_warnings: list[str]) -> None:
    expected_warnings += ["is held back", "which has no sets at all"]
    imported(run)
    Path("radb.db").write_text(DUMP.partition("as-set:")[0] + "# EOF\n")
    assert "is in no dump any more" in imported(run)
    assert answered(load_world([Path("z.yaml")]), "203.0.113.7/32")[0] == "tokyo"
    assert "held back" not in imported(run, "--confirm", "all")
    assert answered(load_world([Path("z.yaml")]), "203.0.113.7/32")[0] == "paris"


def test_a_set_that_the_table_lacks_is_told_with_its_line_and_means_nobody(
    run: Run, expected_warnings: list[str]
) -> None:
    text = ZONE.replace("ALTDB::AS-EXAMPLE", "RADB::AS-EXAMPEL").replace("RADB::RS-GUESTS", "RIPE::RS-GUESTS")
    Path("z.yaml").write_text(text.replace("prefer: [RADB::AS-EXAMPLE]", "prefer: [RADB::AS-EMPTY, LACNIC::AS-Q]"))
    imported(run)
    problems = {problem.what: problem for problem in examine_all([Path("z.yaml")])[2]}
    lacking = problems[
        "mirrors.dallas.only[1]: RADB::AS-EXAMPEL is not in world.table, so this mirror serves nobody by it"
    ]
    assert lacking.warning and lacking.hint == "did you mean RADB::AS-EXAMPLE?"
    assert lacking.line == 1 + text.split("\n").index("    only: [RADB::AS-EXAMPEL, 192.0.2.0/26]")
    guests = problems["mirrors.paris.never[1]: RIPE::RS-GUESTS is not in world.table, so nobody is kept out by it"]
    assert guests.hint == "did you mean RADB::RS-GUESTS?"
    assert "mirrors.tokyo.prefer[1]: RADB::AS-EMPTY has no members, so it prefers nobody by it" in problems
    other = problems["mirrors.tokyo.prefer[2]: LACNIC::AS-Q is not in world.table, so it prefers nobody by it"]
    assert other.hint == "no dump of LACNIC was imported; there are sets of ALTDB, RADB"
    expected_warnings.append("mirrors.")
    world = load_world([Path("z.yaml")])
    assert answered(world, "198.51.100.1/32")[0] == "paris"  # neither dallas' members nor paris' guests are known
    assert "world.table has no RADB::AS-EXAMPEL" in explained(run, "198.51.100.9")


def test_without_a_table_sets_mean_nobody(run: Run, expected_warnings: list[str]) -> None:
    expected_warnings += ["no such file", "not known without a world.table"]
    world = load_world([Path("z.yaml")])
    assert world.table is None
    plan = Planner(world.zones, None, {}).plan({"example.net": {}}, 1)
    assert plan.nodes
    said = [problem.what for problem in examine_all([Path("z.yaml")])[2]]
    assert sum("is not known without a world.table" in what for what in said) == 3


def test_the_order_of_dumps_and_objects_does_not_matter(run: Run) -> None:
    objects = DUMP.replace("# EOF\n", "").split("\n\n")
    sections = []
    for part in (objects, objects[::-1]):
        Path("world.table").unlink(missing_ok=True)
        Path("radb.db").write_text("\n\n".join(one.strip("\n") for one in part) + "\n\n# EOF\n")
        imported(run)
        table = load_world([Path("z.yaml")]).table
        assert table is not None
        sections.append(bytes(table.section(SECTION)))
    assert sections[0] == sections[1] and Sets(sections[0]).find("ALTDB::AS-EXAMPLE") is not None
