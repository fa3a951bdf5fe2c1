"""The records file: what is read, and every fault with its line."""

from __future__ import annotations

import dns.rdatatype
import dns.zone
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirrornet.dns.message.rrset import RRset, name_to_wire
from mirrornet.dns.records.static import read_records

TEXT = r"""$TTL 1h
@    IN SOA ns1 hostmaster ( 1 ; serial
              3600 600 604800 60 )
     NS   ns1
     NS   ns2.example.net.
@  300 IN MX 10 mail
   IN 300 MX 20 mail.example.net.
mail    A 192.0.2.1
        A 192.0.2.2
        AAAA 2001:db8::1
text    TXT "two words" ( "and; no comment"
             bare ) "\"quoted\" \255\000"
long    TXT "grün"
_sip._tcp SRV 0 5 5060 sip.mail
caa     CAA 0 issue "ca.example.net"
sshfp   SSHFP 1 1 dd465c09cfa51fb45020cc83316fff21b9ec74ac
tlsa    TLSA 3 1 1 dd465c09cfa51fb45020cc83316fff21 b9ec74acdd465c09cfa51fb45020cc83
naptr   NAPTR 100 50 "s" "http" "" _http._tcp.foo
rp      RP admin text
loc     LOC 52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000.00m 10.00m
uri     URI 10 1 "http://www.example.org/path"
new     TYPE65400 \# 4 0A 0000 01
svc     HTTPS 1 . alpn="h2,h3" port=8443 ipv4hint=192.0.2.1
$ORIGIN sub.example.org.
www     CNAME www2
$TTL 60
www2    A 192.0.2.3
*       TXT wild
"""


def test_agrees_with_dnspython():
    found, problems = read_records(TEXT, "example.org", "records")
    assert [problem.line for problem in problems] == [2, 4, 5]
    assert all(problem.warning and "passed over" in problem.what for problem in problems)
    zone = dns.zone.from_text(TEXT, "example.org.", relativize=False, check_origin=False)
    expected = {}
    for name, node in zone.nodes.items():
        for rdataset in node.rdatasets:
            if rdataset.rdtype == dns.rdatatype.SOA or (rdataset.rdtype == dns.rdatatype.NS and len(name) == 3):
                continue
            rdatas = {rdata.to_wire() for rdata in rdataset}
            expected[name.to_wire(), int(rdataset.rdtype)] = (rdataset.ttl, rdatas)
    ours = {
        (name, rtype): (rrset.ttl, set(rrset.rdatas)) for name, sets in found.items() for rtype, rrset in sets.items()
    }
    assert ours == expected
    assert all(rrset.rtype == rtype for sets in found.values() for rtype, rrset in sets.items())


def test_order_of_records_is_kept():
    found, problems = read_records("a A 192.0.2.9\na A 192.0.2.1\n", "example.org.", "records")
    assert not problems
    assert found[name_to_wire("a.example.org")][1] == RRset(1, 3600, (bytes([192, 0, 2, 9]), bytes([192, 0, 2, 1])))


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("a A 192.0.2", "A: "),
        ("a A 192.0.2.1 192.0.2.2", "2 words of data, expected 1"),
        ("a A 192.0.2.01", "A: "),
        ("a AAAA ::ffff:1.2.3.4.5", "AAAA: "),
        ("a MX mail", "1 words of data, expected 2"),
        ("a MX ten mail", "MX: "),
        ("a MX 70000 mail", "MX: "),
        ("a SRV 0 0 99999 mail", "SRV: "),
        ("a TXT " + "x" * 256, "TXT: "),
        ("a WKS 10.0.0.1 TCP", "not a type we know"),
        ("a DNAME b", "not taken: write a CNAME"),
        ("a RRSIG b", "mirrornet does not sign"),
        ("a CH TXT x", "only IN"),
        ("a 99999999999 A 192.0.2.1", "TTL"),
        ("a 5 IN", "without a type"),
        ("a..b A 192.0.2.1", "not a domain name"),
        ("a" * 64 + " A 192.0.2.1", "1 to 63"),
        ("grün A 192.0.2.1", "xn--"),
        (r"a\.b A 192.0.2.1", "escapes in names"),
        ("a.example.com. A 192.0.2.1", "not inside example.org."),
        ("$INCLUDE other", "$INCLUDE is not taken"),
        ("$GENERATE 1-9 a A 192.0.2.$", "$GENERATE is not taken"),
        ("$TTL", "$TTL: "),
        ("$TTL soon", "not a duration"),
        ("$ODD x", "$ODD: "),
        ('a TXT "open', "does not end on its line"),
        (r"a TXT x\25", "escapes nothing"),
        ("a TXT x )", "closing parenthesis"),
        ("a TYPE65400 \\# 3 0A", "the length says 3"),
        ("a TYPE41 \\# 1 0A", "not a type that may have data"),
        ("a TYPE65400 \\# 1 zz", "TYPE65400: "),
        ("@ CNAME b", "the apex cannot be a CNAME"),
        ("a CNAME a", "points to itself"),
        ("@ DS 1 13 2 00", "a DS at the apex"),
        ("a DS 1 13 2 00", "a DS without a delegation"),
        ("*.a NS b", "a wildcard cannot be delegated"),
        ("a SOA b c 1 2 3 4 5", "a SOA below the apex"),
        ("a NS ns.a", "has no address here"),
        ("a URI 1 1 \"\"", "the target is empty"),
    ],
)  # fmt: skip
def test_every_fault_has_its_line(line, part):
    text = f"; a comment\nfirst A 192.0.2.1\n\n{line}\nlast A 192.0.2.2\n"
    found, problems = read_records(text, "example.org", "zones/records")
    assert len(problems) == 1, problems
    assert str(problems[0]).startswith("zones/records:4: ")
    assert part in str(problems[0]) and not problems[0].warning
    assert {name_to_wire("first.example.org"), name_to_wire("last.example.org")} <= set(found)


@pytest.mark.parametrize(
    ("text", "line", "part", "warning"),
    [
        ("a CNAME b\na A 192.0.2.1\n", 2, "beside the CNAME", False),
        ("a A 192.0.2.1\na CNAME b\n", 2, "a CNAME beside", False),
        ("a CNAME b\na CNAME c\n", 2, "a CNAME beside", False),
        ("a A 192.0.2.1\na A 192.0.2.1\n", 2, "the same record twice", True),
        ("a 60 A 192.0.2.1\na 30 A 192.0.2.2\n", 2, "30 s is taken for all", True),
        ("a NS b.example.net.\nx.a TXT t\n", 2, "a.example.org is delegated", True),
        ("a MX 1 b\nb CNAME c\n", 1, "b.example.org, which is a CNAME", True),
        ("  A 192.0.2.1\n", 1, "without an owner", False),
        ("a TXT (\nx\ny", 1, "never closed", False),
    ],
)
def test_faults_between_lines(text, line, part, warning):
    _, problems = read_records(text, "example.org", "records")
    assert [(p.line, p.warning) for p in problems] == [(line, warning)]
    assert part in problems[0].what


def test_a_refused_name_does_not_lend_its_owner():
    found, problems = read_records("a A 192.0.2.1\na.b.. A 192.0.2.2\n  A 192.0.2.3\n", "example.org", "records")
    assert [problem.line for problem in problems] == [2, 3]
    assert found[name_to_wire("a.example.org")][1].rdatas == (bytes([192, 0, 2, 1]),)


@given(st.text(alphabet=st.sampled_from('ab@.$"\\;() \n\t019\u00fcAINTXMCNE#'), max_size=80))
def test_any_text_gives_records_or_faults(text):
    found, problems = read_records(text, "example.org", "records")
    assert all(problem.file == "records" and problem.line >= 1 for problem in problems)
    assert all(rrset.rdatas for sets in found.values() for rrset in sets.values())
