"""Redirects of mirrors, as the probe and the client both read them."""

from __future__ import annotations

import pytest

from mirrornet.model.url import default_port, redirected, wait_asked

HERE = "http://tokyo.example:8080/os/x"


@pytest.mark.parametrize(
    ("location", "leads_to"),
    [
        ("/other/x", "http://tokyo.example:8080/other/x"),
        ("y?z=1#part", "http://tokyo.example:8080/os/y?z=1"),
        ("https://TOKYO.example/x", "https://TOKYO.example/x"),
        ("//tokyo.example:81/x", "http://tokyo.example:81/x"),
        ("http://me:secret@tokyo.example/x", "http://tokyo.example/x"),
    ],
)
def test_a_redirect_may_go_anywhere_on_the_host(location: str, leads_to: str) -> None:
    assert redirected(HERE, location) == leads_to


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("http://paris.example/x", "another host, paris.example"),
        ("//169.254.169.254/latest", "another host"),
        ("http://tokyo.example@evil.example/", "another host, evil.example"),
        ("file:///etc/passwd", "not an http or https URL"),
        ("http://[::1/", "not a URL"),
        ("http://tokyo.example:99999/", "not a URL"),
        ("", "not an http or https URL"),
    ],
)
def test_and_nowhere_else(location: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        redirected(HERE, location)


def test_who_had_tls_keeps_it() -> None:
    with pytest.raises(ValueError, match="https to http"):
        redirected("https://tokyo.example/x", "http://tokyo.example/x")
    assert default_port("https") == 443 and default_port("http") == 80


def test_retry_after() -> None:
    assert wait_asked("7", 0.0) == 7.0
    assert wait_asked("0", 0.0) == 1.0
    assert wait_asked("99999999999999999999", 0.0) == 600.0
    assert wait_asked("Fri, 31 Dec 1999 23:59:59 GMT", 946684799.0 - 30) == 30.0
    assert wait_asked("Fri, 31 Dec 1999 23:59:59 GMT", 946684799.0 + 30) == 1.0
    for nonsense in ("", "soon", "-5", "１２", "Fri, 99 Dec 1999 23:59:59 GMT"):
        assert wait_asked(nonsense, 0.0) == 5.0
