"""Static records by the letter of RFC 1034 4.3.2, 2308, 4592, 6604, 8020 and 9471: the same files on Knot and on us.

One zone is written by hand, with a case for every paragraph; others are thrown by dice from four labels and a star, so
that wildcards, empty non-terminals, delegations and aliases meet in ways nobody thought of.  Every name of these labels
is asked for, with every type.  Rcode, flags, answer and authority have to agree, glue too, but for what is ours on
purpose and is allowed by name in `allowed`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype

BY_HAND = """
@               MX   10 mail
@               TXT  "apex"
mail            A    192.0.2.1
mail            AAAA 2001:db8::1
a.b.c           A    192.0.2.2                 ; b.c and c are empty non-terminals
*.wild          A    192.0.2.3
*.wild          MX   10 mail
x.wild          TXT  "hides the star for A"
y.x.wild        A    192.0.2.4
deep.ent.wild   TXT  "ent.wild exists, so the star is not for it"
*.alias         CNAME mail
*               TXT  "at the apex"
one             CNAME mail
two             CNAME one
three           CNAME two
gone            CNAME nothing.c
loop            CNAME pool
pool            CNAME loop
out             CNAME www.elsewhere.example.
star            CNAME anything.wild
into            CNAME host.cut
sub             NS   ns.sub
sub             NS   ns.elsewhere.example.
sub             NS   mail
sub             DS   60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118
ns.sub          A    192.0.2.5
ns.sub          AAAA 2001:db8::5
deep.sub        NS   ns.elsewhere.example.    ; a cut below a cut: the upper one counts
hidden.sub      A    192.0.2.6                 ; occluded
cut             NS   ns.sub                    ; glue below another cut
*.under.cut     A    192.0.2.7                 ; occluded star
srv             SRV  0 0 80 mail
ns              A    192.0.2.9
*.*             A    192.0.2.10                ; a star below a star
a.*.odd         A    192.0.2.11                ; a star that is no leaf
"""
LABELS = ("a", "b", "c", "*")
TYPES = ("A", "AAAA", "TXT", "MX", "CNAME", "NS", "DS", "SOA", "TYPE65400")
ZONE = """
zone: {name}
contact: hostmaster@{name}
serial: 1
nameservers: {{ns.elsewhere.example: []}}
records: {name}.records
select: [{{name: balanced}}]
health: {{probe: none}}
mirrors: {{m: {{url: "http://balanced.{name}/", addresses: [192.0.2.200], place: {{country: JP}}}}}}
"""


def throw(seed: int) -> str:
    """A zone by dice, sound by the rules that no server may bend."""
    dice = random.Random(seed)
    lines: list[str] = []
    names = {".".join(dice.choices(LABELS, k=dice.randint(1, 3))) for _ in range(14)}
    for number, name in enumerate(sorted(names)):
        kind = dice.choice(["A", "A", "TXT", "CNAME", "NS", "both"])
        if kind == "NS" and name.startswith("*"):
            kind = "A"
        if kind in ("A", "both"):
            lines.append(f"{name} A 192.0.2.{number}")
        if kind in ("TXT", "both"):
            lines.append(f'{name} TXT "{number}"')
        if kind == "CNAME":
            target = ".".join(dice.choices(LABELS[:3], k=dice.randint(1, 3)))
            lines.append(f"{name} CNAME {target if target != name else 'c.c.c.c'}")
        if kind == "NS":
            server = dice.choice(["ns.elsewhere.example.", f"d.{name}"])
            lines.append(f"{name} NS {server}")
            if not server.endswith("."):
                lines.append(f"{server} A 192.0.2.{100 + number}")
            if dice.random() < 0.5:
                lines.append(f"{name} DS 60485 5 1 2BB183AF5F22588179A53B0A98631FAD1A292118")
    return "\n".join(lines) + "\n"


def rrsets(section: Any) -> Counter[str]:
    return Counter(f"{rrset.name} {rrset.ttl} {rrset.rdtype} {record}".lower() for rrset in section for record in rrset)


def allowed(ours: dns.message.Message, knot: dns.message.Message) -> str:
    """Which decision of mirrornet/dns/__init__.py explains a difference; "" where none does."""
    chain = [rrset for rrset in knot.answer if rrset.rdtype == dns.rdatatype.CNAME]
    asked_alias = ours.question[0].rdtype == dns.rdatatype.CNAME
    followed = ours.answer == knot.answer[: len(ours.answer)]
    if chain and not asked_alias and ours.answer and followed and ours.rcode() == dns.rcode.NOERROR:
        if len(ours.answer) < len(knot.answer) or len(chain) > 1:
            return "an alias is followed one step"
        if knot.authority and knot.authority[0].rdtype == dns.rdatatype.NS and not ours.authority:
            return "an alias into a delegation is left to the resolver"
    return ""


def test_the_same_master_files_on_knot_and_on_us(
    peers: Any, need: Callable[..., None], record_property: Callable[[str, object], None]
) -> None:
    need("knotd")
    zones = {"hand.example": BY_HAND} | {f"dice{seed}.example": throw(seed) for seed in range(12)}
    folder = peers.folder("ours")
    for name, text in zones.items():
        (folder / f"{name}.records").write_text("$TTL 300\n" + text)
        (folder / f"{name}.yaml").write_text(ZONE.format(name=name))
    others = [f"{name}.yaml" for name in zones]
    peers.mirrornet(
        "ours", ZONE.format(name="first.example").replace("records: first.example.records\n", ""), options=(*others,)
    )
    masters = {}
    for name, text in zones.items():
        (soa,) = peers.ask("ours", name, "SOA").answer
        (servers,) = peers.ask("ours", name, "NS").answer
        apex = f"@ {soa.ttl} SOA {soa[0]}\n@ {servers.ttl} NS {servers[0]}\n"
        masters[name] = "$TTL 300\n" + apex + text
    peers.knot("knot", masters)

    asked = 0
    explained: Counter[str] = Counter()
    different: list[str] = []
    for zone in zones:
        if zone == "hand.example":
            owners = {line.split()[0] for line in BY_HAND.splitlines() if line.strip()} - {"@"}
            names = owners | {f"new.{owner}" for owner in owners} | {f"y.new.{owner}" for owner in owners}
            names |= {"c", "b.c", "new.c", "new.b.c", "wild", "ent.wild", "x.ent.wild", "alias", "under.cut", "odd"}
        else:
            dice = random.Random(zone)
            names = {".".join(dice.choices((*LABELS, "d"), k=dice.randint(1, 4))) for _ in range(40)}
        for name in ("", *sorted(names)):
            for rdtype in TYPES:
                asked += 1
                qname = f"{name}.{zone}" if name else zone
                ours, knot = (peers.ask(server, qname, rdtype) for server in ("ours", "knot"))
                if _alike(ours, knot):
                    continue
                why = allowed(ours, knot)
                explained[why] += 1
                if not why:
                    different.append(f"{qname} {rdtype}\n  ours: {_told(ours)}\n  knot: {_told(knot)}")
    record_property("asked", f"{asked}, explained {dict(explained)}")
    print(f"{asked} queries, differences that are ours on purpose: {dict(explained)}")
    assert not different, f"{len(different)} of {asked}:\n" + "\n".join(different[:40])
    assert sum(explained.values()) < asked / 4


def _alike(ours: dns.message.Message, knot: dns.message.Message) -> bool:
    referral = not ours.answer and not ours.flags & dns.flags.AA
    return (
        ours.rcode() == knot.rcode()
        and ours.flags == knot.flags
        and rrsets(ours.answer) == rrsets(knot.answer)
        and rrsets(ours.authority) == rrsets(knot.authority)
        and (not referral or rrsets(ours.additional) == rrsets(knot.additional))
    )


def _told(message: dns.message.Message) -> str:
    parts = [dns.rcode.to_text(message.rcode()), dns.flags.to_text(message.flags)]
    parts += [str(sorted(rrsets(section))) for section in (message.answer, message.authority, message.additional)]
    return " ".join(parts)
