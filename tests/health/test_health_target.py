"""Where a probe may go, and where not."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from mirrornet.health.probes.target import follow, named, target, under
from mirrornet.model.errors import Unreachable
from mirrornet.model.zone import Mirror

HERE = ip_address("192.0.2.7")


def test_the_connection_goes_to_the_address_and_the_question_to_the_name() -> None:
    there = target("http://Tokyo.example:8080/os/metadata/timestamp.json", HERE)
    assert there.literal_url == "http://192.0.2.7:8080/os/metadata/timestamp.json"
    assert there.host_header == "tokyo.example:8080"
    six = target("https://tokyo.example/os?x=1", ip_address("2001:db8::7"))
    assert (six.literal_url, six.host_header, six.tls) == (
        "https://[2001:db8::7]:443/os?x=1",
        "tokyo.example",
        True,
    )
    assert target("http://[2001:db8::7]/", HERE).host_header == "[2001:db8::7]"


@pytest.mark.parametrize("url", ["ftp://tokyo.example/", "file:///etc/passwd", "http://", "http://a:99999/", "x"])
def test_what_is_no_http_url_is_refused(url: str) -> None:
    with pytest.raises(Unreachable):
        target(url, HERE)


def test_under() -> None:
    assert under("http://a.example/", "metadata/timestamp.json") == "http://a.example/metadata/timestamp.json"
    assert under("http://a.example/os", "x") == "http://a.example/os/x"


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        ("/other/x", "http://192.0.2.7:8080/other/x"),
        ("y", "http://192.0.2.7:8080/os/y"),
        ("http://tokyo.example/x", "http://192.0.2.7:80/x"),
        ("https://TOKYO.example/x", "https://192.0.2.7:443/x"),
        ("//tokyo.example:81/x", "http://192.0.2.7:81/x"),
    ],
)
def test_redirects_stay_on_the_host(location: str, leads_to: str) -> None:
    assert follow(target("http://tokyo.example:8080/os/x", HERE), location).literal_url == leads_to


@pytest.mark.parametrize(
    "location",
    ["http://paris.example/x", "//169.254.169.254/latest", "file:///etc/passwd", "http://tokyo.example.evil/", "ftp:x"],
)
def test_redirects_elsewhere_are_refused(location: str) -> None:
    with pytest.raises(Unreachable):
        follow(target("http://tokyo.example/os/x", HERE), location)


def test_no_redirect_from_https_to_http() -> None:
    with pytest.raises(Unreachable, match="https to http"):
        follow(target("https://tokyo.example/x", HERE), "http://tokyo.example/x")


def test_what_the_zone_names_is_named() -> None:
    listed = Mirror("a", "http://a.example/", (ip_address("127.0.0.1"),))
    assert named(listed) == (ip_address("127.0.0.1"),)
    assert named(Mirror("a", "http://[::1]:80/")) == (ip_address("::1"),)
    assert named(Mirror("a", "http://a.example/")) == ()
