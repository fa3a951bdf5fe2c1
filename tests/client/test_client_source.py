"""SOURCE, --resolver and what may be dialled."""

from __future__ import annotations

import pytest

from mirrornet.client.mirrors.source import (
    SelectName,
    Urls,
    endpoints_of,
    parse_resolver,
    parse_source,
    parse_url,
    permitted,
    split_target,
)
from mirrornet.model.errors import InputError


def test_a_name_and_urls_are_told_apart() -> None:
    assert parse_source("Select.InetBoot.net.") == SelectName("select.inetboot.net")
    assert parse_source("http://a/os/,https://b:8443,file:///srv/os") == Urls(
        ("http://a/os", "https://b:8443", "file:///srv/os")
    )
    assert parse_source("http://a/,http://a") == Urls(("http://a",))


@pytest.mark.parametrize(
    "text",
    ["", "a/b", "a,b", "-a.b", "a..b", "ftp://a/", "http://", "http://u:p@a/", "http://a/?x=1", "file://host/x",
     "file:relative", "http://a:99999/", "http://[::1/", "x" * 64, ".".join(["a" * 60] * 4)],
)  # fmt: skip
def test_what_is_neither(text: str) -> None:
    with pytest.raises(InputError):
        parse_source(text)


def test_targets_name_their_mirror() -> None:
    assert split_target("http://a.example/os/#Tokyo") == ("http://a.example/os", "tokyo")
    assert split_target("http://a.example:81/os") == ("http://a.example:81/os", "a.example:81")
    for bad in ("file:///etc#a", "http://a/#x y", "a#b"):
        with pytest.raises(InputError):
            split_target(bad)


def test_endpoints_of_urls_have_names_of_their_own_and_may_be_local() -> None:
    found = endpoints_of(Urls(("http://a/1", "http://a/2", "http://b", "file:///srv")))
    assert [endpoint.name for endpoint in found] == ["http://a/1", "http://a/2", "b", "file:///srv"]
    assert all(endpoint.allow_local for endpoint in found)


def test_only_global_addresses_unless_named() -> None:
    mixed = ("127.0.0.1", "::1", "10.1.2.3", "169.254.169.254", "fe80::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1",
             "224.0.0.1", "0.0.0.0", "nonsense", "8.8.8.8", "2606:4700::1")  # fmt: skip
    assert permitted(mixed, allow_local=False) == ("8.8.8.8", "2606:4700::1")
    never = {"169.254.169.254", "fe80::1", "nonsense"}  # link-local, or no address
    assert permitted(mixed, allow_local=True) == tuple(text for text in mixed if text not in never)


def test_resolver_addresses() -> None:
    assert parse_resolver("127.0.0.1:5300") == ("127.0.0.1", 5300)
    assert parse_resolver("192.0.2.1") == ("192.0.2.1", 53)
    assert parse_resolver("[2001:db8::1]:54") == ("2001:db8::1", 54)
    assert parse_resolver("2001:db8::1") == ("2001:db8::1", 53)
    for bad in ("localhost:53", "127.0.0.1:0", "127.0.0.1:x", "", "[::1", "1.2.3.4:70000"):
        with pytest.raises(InputError):
            parse_resolver(bad)


def test_a_url_keeps_what_matters() -> None:
    assert parse_url(" http://Host:8080/a/b/#frag ") == "http://Host:8080/a/b"


def test_a_password_is_not_told_again() -> None:
    with pytest.raises(InputError) as error:
        parse_source("http://user:secret@a.example/os?token=hidden")
    assert "secret" not in str(error.value) and "hidden" not in str(error.value) and "a.example" in str(error.value)
