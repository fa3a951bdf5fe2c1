"""Bad zone files: each fault is found on its exact line, alone, and in words that help.

A case replaces one part of a sound file; the line that must be blamed ends in the comment #!.  Every case runs with
libyaml's parser and with PyYAML's own, since which one is there depends on the machine.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import yaml

from mirrornet.config import tree
from mirrornet.config.load import check_zones, load_zone
from mirrornet.model.errors import ConfigError

SOUND = """\
zone: example.net
contact: hostmaster@example.net
serial: 2026112301
nameservers:
  ns1.example.net: [192.0.2.53]
repository: {root: root.json, images: [debian, rescue]}
select:
  - name: select
    answers: 3
health:
  interval: 10s
  timeout: 3s
mirrors:
  tokyo:
    url: http://tokyo.example/os
    addresses: [203.0.113.10]
    place: {country: JP}
  paris:
    url: http://paris.example/os
    place: {latitude: 48.86, longitude: 2.35}
places:
  198.51.100.0/24: {country: NO}
server:
  listen: ["127.0.0.1:53"]
"""

ZONE, SELECT, HEALTH = "zone: example.net", "    answers: 3", "  interval: 10s\n  timeout: 3s"
PLACE, LISTEN, URL = "{country: JP}", '  listen: ["127.0.0.1:53"]', "    url: http://tokyo.example/os"
ADDRESSES, PREFIX, NAME = "[203.0.113.10]", "  198.51.100.0/24: {country: NO}", "  - name: select"
SERIAL, CONTACT, SERVER = "serial: 2026112301", "contact: hostmaster@example.net", "  ns1.example.net: [192.0.2.53]"

CASES = [
    # keys
    (ZONE, "zone: example.net\nserail: 3 #!", "did you mean serial?"),
    (HEALTH, "  intervall: 10s #!", "did you mean interval?"),
    (HEALTH, "  damping: 2d #!", "from 0 s to 86400 s"),
    (HEALTH, "  ramp: fast #!", "is not a duration"),
    (HEALTH, "  spill: twice #!", "is not a number"),
    (HEALTH, "  spill: 0.5 #!", "out of range"),
    (ZONE, "zone: example.net\ninterval: 10s #!", "it belongs under health"),
    (ZONE, "zone: example.net\nurl: http://x/ #!", "it belongs under a select"),
    (ZONE, "zone: example.net\nzzzz: 1 #!", "known here: contact, health"),
    (ZONE, "zone: example.net\nzone: example.org #!", "already on line 1"),
    (PLACE, "{country: JP, country: NO} #!", "the key country is already on line 17"),
    (SERIAL + "\n", "", "the key serial is missing"),
    (URL + "\n", "", "the key url is missing"),
    (LISTEN, "  token_file: gone #!", "openssl rand -hex 32"),
    (LISTEN, "  share: {} #!", "url"),
    (LISTEN, "  share: {url: redis://:secret@host} #!", "password: FILE"),
    (LISTEN, "  share: {url: http://host} #!", "redis://HOST:PORT"),
    (LISTEN, "  share: {url: redis://host/db} #!", "redis://HOST:PORT"),
    (LISTEN, "  share: {url: unix://run/redis.sock} #!", "three slashes"),
    (LISTEN, "  share: {url: redis://host, key: gone.pem} #!", "keygen --vantage"),
    (LISTEN, "  share: {url: redis://host, quorum: 2} #!", "a quorum of 2, and there are 1 votes"),
    (LISTEN, "  share: {url: redis://host, limit: 0.3} #!", "is not a share in percent"),
    (LISTEN, "  share: {url: redis://host, limit: 130%} #!", "is more than all"),
    (LISTEN, "  vantages: {fra1: {key: ed25519:12}} #!", "this is not the public key of a vantage"),
    (LISTEN, "  vantages: {fra1: {asn: 64500}} #!", "key"),
    (LISTEN, f"  vantages: {{Fra_1: {{key: 'ed25519:{64 * '0'}'}}}} #!", "cannot name a vantage"),
    (LISTEN, f"  vantages: {{a: {{key: 'ed25519:{64 * '0'}'}}, b: {{key: 'ed25519:{64 * '0'}'}}}} #!", "the same key"),
    (ZONE, "zone: example.net\n<<: {a: b} #!", "merge keys are not read"),
    (ZONE, "zone: &name example.net #!", "anchor"),
    (CONTACT, "contact: *x #!", "alias"),
    (SERIAL, "serial: !!int 3 #!", "tag"),
    (ZONE, "zone: example.net\n? [a, b] #!\n: c", "where a key should"),
    (ZONE, 'zone: example.net\n"a\\nb": 1 #!', "'a\\nb': unknown key"),
    (ZONE, 'zone: example.net\n"": 1 #!', "'': unknown key"),
    # kinds of things
    (SELECT, "    answers: [3] #!", "takes a single value, and this is a list"),
    (SELECT, "    answers: #!", "has no value"),
    (SELECT, "    images: debian #!", "write [debian]"),
    (SELECT, "    images: [] #!", "the list is empty"),
    (SELECT, "    images: [debian, debian] #!", "twice"),
    (PLACE, "Japan #!", "place takes keys and values, and this is a single value"),
    ("health:\n" + HEALTH, "health: #!\n  - interval", "health takes keys and values, and this is a list"),
    (SERVER, "  ns1.example.net: 192.0.2.53 #!", "write [192.0.2.53]"),
    # YAML takes IPv6 apart
    (LISTEN, "  listen: [::1]:53 #!", "must be in quotes"),
    (LISTEN, "  listen: [[::1]:53] #!", "must be in quotes"),
    (ADDRESSES, "[2001:db8::] #!", "must be in quotes"),
    (ADDRESSES, "[::1] #!", "must be in quotes"),
    (LISTEN, "  http: 2001:db8:: #!", "must be in quotes"),
    # numbers
    (SERIAL, "serial: 010 #!", "begins with a zero"),
    (SERIAL, "serial: 0 #!", "from 1 to 4294967295"),
    (SERIAL, "serial: 4294967296 #!", "from 1 to 4294967295"),
    (SERIAL, "serial: 1_000 #!", "not a whole number"),
    (SERIAL, "serial: 0x10 #!", "not a whole number"),
    (SERIAL, "serial: -1 #!", "not a whole number"),
    (SERIAL, "serial: ٣ #!", "not a whole number"),
    (SELECT, "    answers: 9 #!", "from 1 to 8"),
    (SELECT, "    ttl: 1.5s #!", "whole number of seconds"),
    (SELECT, "    ttl: 0 #!", "out of range"),
    (SELECT, "    ttl: 20 parsecs #!", "such as 10s"),
    (HEALTH, "  interval: 10 years #!", "not a duration"),
    (PLACE, "{latitude: 95, longitude: 2} #!", "degrees from -90 to 90"),
    (PLACE, "{latitude: 35, longitude: -181} #!", "degrees from -180 to 180"),
    (PLACE, "{latitude: 35.68N, longitude: 2} #!", "south and west are negative"),
    (PLACE, "{latitude: nan, longitude: 2} #!", "not a number of degrees"),
    (PLACE, "{latitude: 35.68} #!", "go together"),
    (PLACE, "{} #!", "says nothing of the place"),
    (PLACE, "{anycast: yes} #!", "did you mean true?"),
    (PLACE, "{asn: 0} #!", "not an AS number"),
    (PLACE, "{asn: 1.10} #!", "asplain"),
    (URL, URL + "\n    weight: 0 #!", "from 1 to 10000"),
    # countries
    (PLACE, "{country: jp} #!", "did you mean JP?"),
    (PLACE, "{country: UK} #!", "did you mean GB?"),
    (PLACE, "{country: Norway} #!", "did you mean NO?"),
    (PLACE, "{country: ZZ} #!", "ISO 3166-1"),
    # health
    (HEALTH, "  interval: 3s\n  timeout: 3s #!", "not shorter than the interval"),
    (HEALTH, "  interval: 2s #!", "not shorter than the interval"),
    (HEALTH, "  up: 2\n  ok: 3 #!", "sooner than be forgiven"),
    (HEALTH, "  down: 0 #!", "from 1 to 100"),
    (HEALTH, "  probe: htpp #!", "did you mean http?"),
    # names
    (ZONE, "zone: ex_ample.net #!", "labels hold letters"),
    (ZONE, "zone: 192.0.2.1 #!", "reads like an address"),
    (ZONE, "zone: exämple.net #!", "xn--exmple-cua.net"),
    (ZONE, f"zone: {'a' * 64}.net #!", "63 at most"),
    (ZONE, f"zone: {'a.' * 130}net #!", "longer than 253"),
    (ZONE, "zone: . #!", "empty label"),
    (CONTACT, "contact: hostmaster.example.net #!", "did you mean hostmaster@example.net?"),
    (CONTACT, "contact: nobody #!", "not a mail address"),
    (NAME, "  - name: select.example.net #!", "did you mean select?"),
    (NAME, "  - name: example.net #!", "did you mean @?"),
    (NAME, "  - name: _tcp #!", "not a host name"),
    (NAME, f"  - name: {'a' * 63}.{'b' * 63}.{'c' * 63}.{'d' * 40} #!", "253"),
    (NAME, "  - name: ns1 #!x", "ns1.example.net"),
    ("  tokyo:", "  Tokyo: #!", "did you mean tokyo?"),
    ("  tokyo:", "  to_kyo: #!", "did you mean to-kyo?"),
    ("  tokyo:", "  tokyo-: #!", "small letters, digits and inner hyphens"),
    ("  tokyo:", "  paris: #!x", "already on line"),
    (SELECT, "  - name: select #!", "taken by the select select (line 8)"),
    (SELECT, "  - name: tokyo.select #!", "taken by the mirror tokyo of the select select (line 8)"),
    (SELECT, "    images: [debain] #!", "did you mean debian?"),
    (SELECT, "    images: [Debian] #!", "cannot be the name of an image"),
    # urls
    (URL, "    url: tokyo.example/os #!", "did you mean http://tokyo.example/os?"),
    (URL, "    url: ftp://tokyo.example/os #!", "http or https"),
    (URL, "    url: http:///os #!", "has no host"),
    (URL, "    url: http://tokyo.example:99999/ #!", "not a URL"),
    (URL, "    url: http://tokyo.example:0/ #!", "port 0"),
    (URL, "    url: http://u:p@tokyo.example/ #!", "user name or password"),
    (URL, "    url: http://tokyo.example/?a=b #!", "? or #"),
    (URL, "    url: http://tokyo.example/a b #!", "%XX"),
    (URL, "    url: http://tokyo.example/../os #!", ". or .."),
    (URL, f"    url: http://tokyo.example/{'a' * 200} #!", "180 at most"),
    (URL, "    url: 'http://[::1/' #!", "not a URL"),
    ("http://paris.example/os", "http://tokyo.example:80/os/ #!", "the mirror tokyo on line 15 has this url"),
    # addresses
    (ADDRESSES, "[203.0.113.256] #!", "from 0 to 255"),
    (ADDRESSES, "[203.0.113.010] #!", "leading zeros"),
    (ADDRESSES, "[203.0.113.0/24] #!", "not a prefix"),
    (ADDRESSES, '["fe80::1%eth0"] #!', "%"),
    (ADDRESSES, "[fe80::1] #!", "link-local"),
    (ADDRESSES, "[224.0.0.1] #!", "multicast"),
    (ADDRESSES, "[ff02::1] #!", "multicast"),
    (ADDRESSES, "[0.0.0.0] #!", "stands for no host"),
    (ADDRESSES, "[255.255.255.255] #!", "reserved"),
    (ADDRESSES, '["::ffff:1.2.3.4"] #!', "write 1.2.3.4"),
    (ADDRESSES, "[tokyo.example] #!", "not a name"),
    (ADDRESSES, "[203.0.113.10, 203.0.113.10] #!", "twice"),
    (SERVER, "  ns1.example.net: [] #!", "needs addresses"),
    (SERVER, SERVER + "\n  NS1.example.net: [192.0.2.54] #!", "listed twice"),
    (LISTEN, "  listen: [localhost:53] #!", "not a name"),
    (LISTEN, "  listen: [127.0.0.1] #!", "the port is missing: 127.0.0.1:53"),
    (LISTEN, '  listen: ["::1:53"] #!', "did you mean"),
    (LISTEN, "  listen: [127.0.0.1:99999] #!", "from 0 to 65535"),
    (LISTEN, '  listen: ["[127.0.0.1]:53"] #!', "brackets are for IPv6"),
    (LISTEN, "  listen: ['*:53'] #!", "0.0.0.0 or [::]"),
    (LISTEN, "  nsid: ns1-tökyo #!", "printable ASCII"),
    (LISTEN, "  workers: 0 #!", "from 1 to 256"),
    (LISTEN, "  rate_limit: -1 #!", "not a whole number"),
    (LISTEN, "  cookies: gone #!", "there is no such file"),
    (LISTEN, "  tls: {certificate: root.json, key: gone, listen: ['127.0.0.1:0']} #!", "there is no such file"),
    (LISTEN, "  tls: {certificate: root.json, key: root.json} #!", "listen"),
    # places
    (PREFIX, "  198.51.100.1/24: {country: NO} #!", "did you mean 198.51.100.0/24?"),
    (PREFIX, "  198.51.100.0/33: {country: NO} #!", "not a prefix"),
    (PREFIX, PREFIX + "\n  198.51.100.0/255.255.255.0: {country: JP} #!", "has a place on line 22 already"),
    (PREFIX, "  2001:db8::/65: {country: NO} #!", "did you mean 2001:db8::/64?"),
    (PREFIX, "  2002:c000::/24: {country: NO} #!", "carries IPv4"),
    # policy
    (URL, URL + "\n    only: [AS-EXAMPLE] #!", "such as RADB::AS-EXAMPLE"),
    (URL, URL + "\n    prefer: [AS2500:RS-EXAMPLE] #!", "such as RADB::AS2500:RS-EXAMPLE"),
    (URL, URL + "\n    only: ['radb::as-example'] #!", "did you mean RADB::AS-EXAMPLE?"),
    (URL, URL + "\n    only: ['RADB::AS-EX AMPLE'] #!", "not the name of a set"),
    (URL, URL + "\n    only: ['::AS-EXAMPLE'] #!", "not the name of a set"),
    (URL, URL + "\n    only: ['RADB::AS-ANY'] #!", "means everybody"),
    (URL, URL + "\n    never: [198.51.100.1/24] #!", "did you mean 198.51.100.0/24?"),
    (URL, URL + "\n    never: [198.51.100.1] #!", "did you mean 198.51.100.1/32?"),
    (URL, URL + "\n    never: ['2001:DB8::/32'] #!", "did you mean 2001:db8::/32?"),
    (URL, URL + "\n    never: ['2001:db8::/65'] #!", "did you mean 2001:db8::/64?"),
    (URL, URL + "\n    only: [0.0.0.0/0] #!", "is everybody"),
    (PREFIX, "  198.51.100.0/24: {mirrors: [tokio]} #!", "did you mean tokyo?"),
    (PREFIX, "  198.51.100.0/24: {mirrors: [tokyo, tokyo]} #!", "twice"),
    (PREFIX, "  198.51.100.0/24: {mirrors: tokyo} #!", "write [tokyo]"),
    (PREFIX, "  198.51.100.0/24: {mirrors: []} #!", "the list is empty"),
    (PREFIX, "  0.0.0.0/0: {mirrors: [tokyo]} #!", "pins everybody"),
    (PREFIX, PREFIX + "\n  198.51.100.0/255.255.255.0: {mirrors: [tokyo]} #!", "has a place on line 22 already"),
    (URL, URL + "\n    only: [EU] #!", "did you mean continent:EU?"),
    (URL, URL + "\n    only: [Europe] #!", "did you mean continent:EU?"),
    (URL, URL + "\n    only: [continent:XX] #!", "not a continent"),
    (URL, URL + "\n    only: [AS02500] #!", "not an AS number"),
    (URL, URL + "\n    only: [as2500] #!", "did you mean AS2500?"),
    (URL, URL + "\n    only: [somewhere] #!", "not understood"),
    (URL, URL + "\n    only: [JP]\n    never: [JP] #!", "under only as well"),
    # files
    ("root: root.json, images: [debian, rescue]}", "root: gone.json} #!", "there is no such file"),
    ("root: root.json, images: [debian, rescue]}", "root: '.'} #!", "this is a folder"),
    ("root: root.json, images: [debian, rescue]}", "root: 'sha256:ab'} #!", "a pin is for clients"),
    (ZONE, "zone: example.net\nrecords: gone.zone #!", "there is no such file"),
    # syntax
    (HEALTH, "  interval: 10s\n\ttimeout: 3s #!", "a tab"),
    (HEALTH, "  interval: 10s\n    timeout: 3s #!", "indented wrongly"),
    (NAME, "  - name: @ #!", "may not begin with @"),
    (PLACE, "{country: JP, #!", "never closed"),
    (CONTACT, "contact: 'host #!", "never closed"),
    (CONTACT, 'contact: "a\\qb" #!', "escape"),
    (ZONE, "zone: example.net\n--- #!\nzone: b", "second document"),
]


@pytest.fixture(params=["CBaseLoader", "BaseLoader"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    if not hasattr(yaml, request.param):
        pytest.skip("PyYAML was built without libyaml")
    monkeypatch.setattr(tree, "LOADER", getattr(yaml, request.param))
    (tmp_path / "root.json").write_text("{}")
    return tmp_path


def write(folder: Path, text: str, name: str = "a.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("old", "new", "part"), CASES, ids=[f"{new.strip()[:40]}-{part[:30]}" for _, new, part in CASES]
)
def test_fault(folder: Path, old: str, new: str, part: str) -> None:
    assert SOUND.count(old) == 1, "the case does not say which part it replaces"
    text = SOUND.replace(old, new)
    problems = [problem for problem in check_zones([write(folder, text)]) if not problem.warning]
    assert any(part in str(problem) for problem in problems), problems
    if "#!x" in new or "the key" in part:
        return  # blamed elsewhere: the tests below say where
    line = next(number for number, line in enumerate(text.split("\n"), 1) if "#!" in line)
    assert [problem.line for problem in problems] == [line], problems


def test_the_sound_file_is_sound(folder: Path) -> None:
    assert check_zones([write(folder, SOUND)]) == []


def test_missing_keys_are_blamed_on_their_section(folder: Path) -> None:
    path = write(folder, SOUND.replace(URL + "\n", ""))
    assert [str(problem) for problem in check_zones([path])] == [f"{path}:14: mirrors.tokyo: the key url is missing"]


def test_a_name_server_may_not_sit_on_a_balanced_name(folder: Path) -> None:
    problems = check_zones([write(folder, SOUND.replace(NAME, "  - name: ns1"))])
    assert [(p.line, "taken by the select ns1 (line 8)" in p.what) for p in problems] == [(5, True)]


def test_two_mirrors_with_one_name(folder: Path) -> None:
    (problem,) = check_zones([write(folder, SOUND.replace("  tokyo:", "  paris:"))])
    assert problem.line == 18
    assert "already on line 14" in problem.what


def test_a_misspelt_key_is_one_fault(folder: Path) -> None:
    (problem,) = check_zones([write(folder, SOUND.replace("contact:", "contct:"))])
    assert (problem.line, problem.hint) == (2, "did you mean contact?")


def test_more_than_a_zone_can_hold(folder: Path) -> None:
    text = SOUND.replace(NAME, "\n".join(f"  - name: s{number}" for number in range(101)))
    (problem,) = check_zones([write(folder, text)])
    assert (problem.line, problem.what, problem.hint) == (7, "select: 101 entries", "100 at most in one zone")


def test_block_probes_need_a_repository(folder: Path) -> None:
    text = SOUND.replace("repository: {root: root.json, images: [debian, rescue]}\n", "").replace(
        HEALTH, "  probe: block"
    )
    (problem,) = check_zones([write(folder, text)])
    assert (problem.line, "add repository" in problem.hint) == (10, True)


def test_every_fault_of_all_files_in_one_run(folder: Path) -> None:
    first = write(folder, SOUND.replace(SERIAL, "serial: x").replace(PLACE, "{country: XX}").replace("3s", "30s"))
    second = write(folder, "zone: [\n", "b.yaml")
    third = write(folder, SOUND.replace(CONTACT, "contact: x"), "c.yaml")
    with pytest.raises(ConfigError) as caught:
        load_zone(first)
    assert [problem.line for problem in caught.value.problems] == [3, 12, 17]
    problems = check_zones([first, second, third])
    assert [(Path(problem.file).name, problem.line) for problem in problems] == [
        ("a.yaml", 3),
        ("a.yaml", 12),
        ("a.yaml", 17),
        ("b.yaml", 1),
        ("c.yaml", 1),  # the zone is in a.yaml already
        ("c.yaml", 2),
        ("c.yaml", 23),  # server, too
    ]
    assert caught.value.exit_code == 2
    assert str(caught.value).count("\n") == 2


def test_one_world_for_a_process(folder: Path) -> None:
    for name in ("one.table", "two.table"):
        (folder / name).write_text("x")
    text = SOUND.split("server:")[0]
    first = write(folder, text + "world: one.table\n")
    second = write(folder, text.replace(ZONE, "zone: example.org\nworld: two.table"), "b.yaml")
    third = write(folder, text.replace(ZONE, "zone: example.com\nworld: one.table"), "c.yaml")
    (problem,) = [p for p in check_zones([first, second, third]) if not p.warning]
    assert (problem.file, problem.line) == (str(second), 2)
    assert "names another world.table" in problem.what


def test_a_select_that_is_closed_to_some_is_a_warning(folder: Path) -> None:
    def told(text: str) -> list[bool]:
        return [p.warning for p in check_zones([write(folder, text)]) if "some askers may get none" in p.what]

    one = SOUND.replace(URL, f"    only: [JP]\n{URL}")
    assert told(one) == []
    assert told(one.replace("    url: http://paris", "    only: [FR]\n    url: http://paris")) == [True]


def test_warnings_do_not_refuse(folder: Path) -> None:
    text = SOUND.replace(ZONE, "zone: example.net\nworld: gone.table").replace(
        SELECT, "    url: http://elsewhere.example/"
    )
    text = text.replace(SERVER, SERVER + "\n  ns.other.example: [192.0.2.1]")
    path = write(folder, text.replace(PLACE, "{country: JP, latitude: 1, longitude: 2, anycast: true}"))
    problems = check_zones([path])
    assert [(p.line, p.warning) for p in problems] == [(2, True), (7, True), (11, True), (19, True)]
    assert load_zone(path).name == "example.net"


def test_records_may_not_take_balanced_names(folder: Path) -> None:
    (folder / "r.zone").write_text(
        "$ORIGIN example.net.\n"
        "@ 300 IN MX 10 mail ; select A 192.0.2.1\n"
        'select IN CAA 0 issue "ca; select A"\n'
        "select 60 IN CNAME www\n"
        "  A 192.0.2.1\n"
        "tokyo.select.example.net. AAAA 2001:db8::1\n"
        "$ORIGIN select\n"
        'x TXT ( "a"\n'
        "tokyo A 192.0.2.1 )\n"
        "_tcp NS ns1\n"
    )
    path = write(folder, SOUND.replace(ZONE, "zone: example.net\nrecords: r.zone"))
    problems = check_zones([path])
    assert [(Path(p.file).name, p.line) for p in problems] == [("r.zone", n) for n in (4, 5, 6, 10)]
    assert "taken by the mirror tokyo of the select select" in problems[2].what


def test_a_delegation_above_a_select(folder: Path) -> None:
    (folder / "r.zone").write_text("lab NS ns1.lab\n")
    text = SOUND.replace(ZONE, "zone: example.net\nrecords: r.zone").replace(NAME, "  - name: select.lab")
    (problem,) = check_zones([write(folder, text)])
    assert (problem.line, "gives away a name above" in problem.what) == (1, True)


@pytest.mark.parametrize(
    ("content", "line", "part"),
    [
        (b"", 0, "the file is empty"),
        (b"# only a comment\n", 0, "the file is empty"),
        (b"\xef\xbb\xbf", 0, "the file is empty"),
        (b"zone: a\ncontact: \xff\n", 2, "0xff is not UTF-8"),
        (b"\xff\xfez\x00o\x00", 1, "not UTF-8"),
        (b"zone: a\n\n\x00", 3, "U+0000"),
        (b"zone: a\r\nserial: 1\r\ncontact: \x07\r\n", 3, "U+0007"),
        (b"just words\n", 1, "takes keys and values"),
        (b"- a\n- b\n", 1, "takes keys and values"),
        (b"%YAML 9.9\n---\nzone: a\n", 1, "not YAML"),
        (b"a: " + b"[" * 200, 1, "nested deeper"),
        (b"a: &a [x,x]\nb: &b [*a,*a]\nc: &c [*b,*b]\n", 1, "anchor"),
    ],
)
def test_files_that_are_no_zone_files(folder: Path, content: bytes, line: int, part: str) -> None:
    path = folder / "a.yaml"
    path.write_bytes(content)
    problems = check_zones([path])
    assert problems
    assert problems[0].line == line, problems
    assert part in str(problems[0])


def test_paths_that_are_no_files(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "big").write_bytes(b"#" * (5 << 20))
    (folder / "loop").symlink_to("loop")
    wanted = {
        "gone": "no such file",
        ".": "a folder",
        "pipe": "not a regular file",
        "big": "larger than",
        "loop": "read",
    }
    for name, part in wanted.items():
        (problem,) = check_zones([folder / name])
        assert (problem.line, part in problem.what) == (0, True), problem
    twice = write(folder, SOUND)
    assert "given twice" in check_zones([twice, twice])[0].what
