"""One probe against real sockets: a good mirror, and every way we know of being a bad one."""

from __future__ import annotations

import asyncio
import errno
import gzip
import hashlib
import os
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from certificates import certificate

from mirrornet.health.probes import probe as module
from mirrornet.health.probes.fetch import Visit
from mirrornet.health.probes.probe import Order, addresses, probe
from mirrornet.health.rule.outcome import Kind, Outcome, Sample
from mirrornet.image.publishing.publish import publish
from mirrornet.image.trust.keys import keygen
from mirrornet.model.errors import Unreachable
from mirrornet.model.zone import Mirror

NOW = time.time()
AGENT = "mirrornet/test (health probe for example.net; hostmaster@example.net)"
HERE = ip_address("127.0.0.21")
TIMESTAMP = "/os/metadata/timestamp.json"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Repository:
    path: Path
    root: bytes
    samples: list[Sample]
    newer: bytes  # the timestamp of the next publication


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    folder = tmp_path_factory.mktemp("published")
    image, repo, keys = folder / "image", folder / "repo", folder / "keys"
    image.write_bytes(os.urandom(600_000))
    keygen(keys, passphrase=None)
    publish(image, "debian", repo, keys, now=NOW)
    files = [path for path in (repo / "blocks").rglob("*") if path.is_file()]
    samples = [Sample("debian", bytes.fromhex(path.name), path.stat().st_size) for path in files]
    timestamp = (repo / "metadata/timestamp.json").read_bytes()
    publish(image, "debian", repo, keys, now=NOW)
    newer = (repo / "metadata/timestamp.json").read_bytes()
    (repo / "metadata/timestamp.json").write_bytes(timestamp)
    return Repository(repo, (keys / "root.json").read_bytes(), samples, newer)


@dataclass
class Server:
    """Serves the repository under http://tokyo.example/os; `answers` overrides paths, `requests` remembers."""

    repository: Repository
    port: int = 0
    hosts: set[str] = field(default_factory=lambda: {"tokyo.example"})
    answers: dict[str, Handler | bytes | int] = field(default_factory=dict)
    requests: list[web.BaseRequest] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        host = request.host.split(":")[0]
        answer: Any = self.answers.get(f"{host}{request.path}", self.answers.get(request.path))
        if host not in self.hosts:
            return web.Response(status=404)
        if isinstance(answer, int):
            return web.Response(status=answer)
        if isinstance(answer, bytes):
            return web.Response(body=answer)
        if answer is not None:
            return await answer(request)  # type: ignore[no-any-return]
        path = self.repository.path / request.path.removeprefix("/os").lstrip("/")
        return web.Response(body=path.read_bytes()) if path.is_file() else web.Response(status=404)

    def order(self, **changes: Any) -> Order:
        order = Order(
            "block",
            f"http://tokyo.example:{self.port}/os",
            root=self.repository.root,
            samples=tuple(self.repository.samples[:1]),
            expect=1,
        )
        return replace(order, **changes)

    async def probe(self, timeout: float = 60.0, **changes: Any) -> Outcome:
        return await probe(self.order(**changes), HERE, timeout, AGENT, lambda: NOW + 10)


@pytest.fixture
async def server(repository: Repository) -> AsyncIterator[Server]:
    it = Server(repository)
    runner = web.ServerRunner(web.Server(it.handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, str(HERE), 0).start()
    it.port = runner.addresses[0][1]
    yield it
    await runner.cleanup()


def path_of(sample: Sample) -> str:
    return f"/os/blocks/{sample.hash.hex()[:2]}/{sample.hash.hex()}"


async def test_a_good_mirror_proves_content_and_freshness(server: Server) -> None:
    outcome = await server.probe()
    assert (outcome.kind, outcome.reason, outcome.version) == (Kind.OK, "", 1)
    assert outcome.at == NOW + 10
    assert outcome.rtt_ms is not None and 0 < outcome.rtt_ms < 60000
    assert outcome.expires is not None and outcome.expires > NOW
    assert outcome.images == {"debian": True}
    assert [request.path for request in server.requests] == [TIMESTAMP, path_of(server.repository.samples[0])]


async def test_the_mirror_is_told_who_asks_and_under_which_name(server: Server) -> None:
    await server.probe()
    for request in server.requests:
        assert request.headers["Host"] == f"tokyo.example:{server.port}"
        assert request.headers["User-Agent"] == AGENT
        assert request.headers["Accept-Encoding"] == "identity"
        assert "Cookie" not in request.headers


async def test_an_http_probe_believes_nothing_it_reads(server: Server) -> None:
    server.answers[TIMESTAMP] = b"anything"
    outcome = await server.probe(kind="http")
    assert (outcome.kind, outcome.version) == (Kind.OK, None)
    assert len(server.requests) == 1


async def test_a_tcp_probe_only_connects(server: Server) -> None:
    outcome = await server.probe(kind="tcp")
    assert outcome.kind is Kind.OK and outcome.rtt_ms is not None
    assert server.requests == []


@pytest.mark.parametrize("kind", ["tcp", "block"])
async def test_ipv6(server: Server, kind: str) -> None:
    runner = web.ServerRunner(web.Server(server.handle), shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "::1", 0).start()
    except OSError:
        await runner.cleanup()
        pytest.skip("needs ::1")
    order = server.order(kind=kind, url=f"http://tokyo.example:{runner.addresses[0][1]}/os")
    outcome = await probe(order, ip_address("::1"), 5.0, AGENT, lambda: NOW + 10)
    await runner.cleanup()
    assert (outcome.kind, outcome.reason) == (Kind.OK, "")


async def test_a_family_this_machine_cannot_route_is_not_the_mirrors_fault(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def no_route(*_: object, **__: object) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", no_route)
    monkeypatch.setattr("aiohttp.connector.aiohappyeyeballs.start_connection", no_route)
    for kind in ("tcp", "http", "block"):
        outcome = await server.probe(kind=kind)
        assert (outcome.kind, outcome.reason) == (Kind.BLIND, "this machine has no route there")


@pytest.mark.parametrize("kind", ["tcp", "http", "block"])
async def test_nobody_listens(server: Server, free_port: Callable[[], int], kind: str) -> None:
    outcome = await server.probe(kind=kind, url=f"http://tokyo.example:{free_port()}/os")
    assert (outcome.kind, outcome.reason) == (Kind.FAILED, "connection refused")


@pytest.mark.parametrize("status", [403, 404, 410, 500, 503, 204, 206])
async def test_a_wrong_status_is_a_failure(server: Server, status: int) -> None:
    server.answers[TIMESTAMP] = status
    outcome = await server.probe()
    assert outcome.kind is Kind.FAILED
    assert str(status) in outcome.reason


async def test_retry_after_is_passed_on(server: Server) -> None:
    async def busy(request: web.Request) -> web.Response:
        return web.Response(status=503, headers={"Retry-After": "120"})

    server.answers[TIMESTAMP] = busy
    assert (await server.probe()).retry_after == 120


async def test_retry_after_may_be_a_date(server: Server) -> None:
    async def busy(request: web.Request) -> web.Response:
        return web.Response(status=503, headers={"Retry-After": formatdate(time.time() + 300, usegmt=True)})

    server.answers[TIMESTAMP] = busy
    asked = (await server.probe()).retry_after
    assert asked is not None and 200 < asked <= 300


@pytest.mark.parametrize("text", ["-1", "1e9", "soon", "Wed, 21 Oct 2015 07:28:00 GMT", "9" * 40])
async def test_a_strange_retry_after_is_nothing(server: Server, text: str) -> None:
    async def busy(request: web.Request) -> web.Response:
        return web.Response(status=429, headers={"Retry-After": text})

    server.answers[TIMESTAMP] = busy
    assert (await server.probe()).retry_after is None


async def test_the_deadline_is_for_the_whole_probe(server: Server) -> None:
    async def drip(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = 5000
        await response.prepare(request)
        for _ in range(2000):  # 40 s
            await response.write(b"x")
            await asyncio.sleep(0.02)
        return response

    server.answers[TIMESTAMP] = drip
    begun = time.monotonic()
    outcome = await server.probe(timeout=0.3)
    assert time.monotonic() - begun < 20
    assert (outcome.kind, outcome.reason) == (Kind.FAILED, "no answer within 300 ms")


async def test_a_body_that_breaks_off_is_no_proof_of_corruption(server: Server) -> None:
    async def half(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.content_length = 5000
        await response.prepare(request)
        await response.write(b"x" * 100)
        assert request.transport is not None
        request.transport.abort()
        return response

    server.answers[TIMESTAMP] = half
    outcome = await server.probe()
    assert (outcome.kind, outcome.reason) == (Kind.FAILED, "the connection broke off")


async def test_a_mirror_that_compresses_on_the_fly_is_told_so(server: Server) -> None:
    async def squeeze(request: web.Request) -> web.Response:
        return web.Response(body=gzip.compress(b"{}"), headers={"Content-Encoding": "gzip"})

    server.answers[TIMESTAMP] = squeeze
    outcome = await server.probe()
    assert outcome.kind is Kind.FAILED and "Content-Encoding" in outcome.reason


@pytest.mark.parametrize("body", [b"", b"<html>please log in</html>", b"{}", b"[" * 60000, b"x" * 70000])
async def test_what_was_not_signed_is_corrupt(server: Server, body: bytes) -> None:
    server.answers[TIMESTAMP] = body
    outcome = await server.probe()
    assert (outcome.kind, outcome.suspects) == (Kind.CORRUPT, ())
    assert outcome.reason and "\n" not in outcome.reason


async def test_an_endless_body_is_cut_off_at_the_limit(server: Server) -> None:
    sent = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        while sent < 100_000_000:
            await response.write(b"x" * 65536)
            sent += 65536
        return response

    server.answers[TIMESTAMP] = flood
    outcome = await server.probe()
    assert outcome.kind is Kind.CORRUPT and "more than the 65536 bytes" in outcome.reason
    assert sent < 20_000_000  # what fits into the sockets' buffers


async def test_one_flipped_bit_in_the_timestamp_is_corrupt(server: Server) -> None:
    signed = (server.repository.path / "metadata/timestamp.json").read_bytes()
    server.answers[TIMESTAMP] = signed.replace(b'"version":1', b'"version":9')
    assert server.answers[TIMESTAMP] != signed
    assert (await server.probe()).kind is Kind.CORRUPT


async def test_an_expired_timestamp_is_stale(server: Server) -> None:
    outcome = await probe(server.order(), HERE, 5.0, AGENT, lambda: NOW + 10 * 365 * 86400)
    assert outcome.kind is Kind.STALE
    assert "expired" in outcome.reason


async def test_a_corrupt_block_is_named(server: Server) -> None:
    sample = server.repository.samples[0]
    server.answers[path_of(sample)] = b"x" * sample.stored
    outcome = await server.probe()
    assert (outcome.kind, outcome.suspects) == (Kind.CORRUPT, (sample,))
    assert sample.hash.hex()[:16] in outcome.reason


@pytest.mark.parametrize("length", [0, 1, -1])
async def test_a_block_of_another_length_is_corrupt(server: Server, length: int) -> None:
    sample = server.repository.samples[0]
    server.answers[path_of(sample)] = b"x" * (sample.stored + length)
    assert (await server.probe()).kind is Kind.CORRUPT


async def test_a_missing_block_counts_only_where_it_must_be_there(server: Server) -> None:
    server.answers[path_of(server.repository.samples[0])] = 403
    outcome = await server.probe()
    assert outcome.kind is Kind.FAILED and "is not there" in outcome.reason
    assert (await server.probe(expect=2)).kind is Kind.OK  # the mirror is behind the set this block is of
    other = await server.probe(sole_image=False)
    assert (other.kind, other.images) == (Kind.OK, {"debian": False})


async def test_a_suspect_is_asked_for_again_and_forgotten_once_it_is_gone(server: Server) -> None:
    suspect = Sample("debian", hashlib.sha256(b"was here").digest(), 8)
    assert (await server.probe(suspects=(suspect,))).kind is Kind.OK
    server.answers[path_of(suspect)] = b"was HERE"
    outcome = await server.probe(suspects=(suspect,))
    assert (outcome.kind, outcome.suspects) == (Kind.CORRUPT, (suspect,))
    server.answers[path_of(suspect)] = b"was here"
    assert (await server.probe(suspects=(suspect,))).kind is Kind.OK


async def test_what_was_shown_before_the_deadline_counts(server: Server) -> None:
    async def hang(request: web.Request) -> web.Response:
        await asyncio.sleep(60)
        return web.Response()

    first, second, third = server.repository.samples[:3]
    server.answers[path_of(third)] = hang
    outcome = await server.probe(timeout=2.0, samples=(first, second, third))
    assert (outcome.kind, outcome.whole, outcome.reason) == (Kind.OK, 2, "")
    server.answers[path_of(first)] = hang
    assert (await server.probe(timeout=0.3, samples=(first, second))).kind is Kind.FAILED
    del server.answers[path_of(first)]
    server.answers[path_of(third)] = b"x" * third.stored
    assert (await server.probe(samples=(first, second, third))).kind is Kind.CORRUPT


async def test_redirects_on_the_same_host_are_followed(server: Server) -> None:
    async def moved(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": "/new/t.json"})

    server.answers[TIMESTAMP] = moved
    server.answers["/new/t.json"] = (server.repository.path / "metadata/timestamp.json").read_bytes()
    assert (await server.probe()).kind is Kind.OK


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        (TIMESTAMP, "more than 3 redirects"),
        ("http://paris.example/os", "another host"),
        ("http://169.254.169.254/latest/meta-data", "another host"),
        ("", "redirects"),
        ("http://[", "not a URL"),
    ],
)
async def test_other_redirects_are_not(server: Server, location: str, reason: str) -> None:
    async def moved(request: web.Request) -> web.Response:
        return web.Response(status=301, headers={"Location": location})

    server.answers[TIMESTAMP] = moved
    outcome = await server.probe()
    assert outcome.kind is Kind.FAILED
    assert reason in outcome.reason


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 50000,
        b"\x00" * 9999,
    ],
    ids=["nothing", "ssh", "status", "headers", "zeroes"],
)
async def test_what_does_not_speak_http_is_a_failure(server: Server, answer: bytes) -> None:
    async def speak(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(answer)
        writer.close()

    stranger = await asyncio.start_server(speak, str(HERE), 0)
    async with stranger:
        port = stranger.sockets[0].getsockname()[1]
        outcome = await server.probe(url=f"http://tokyo.example:{port}/os")
    assert outcome.kind is Kind.FAILED
    assert outcome.reason and "\n" not in outcome.reason and "Error(" not in outcome.reason


class TestTheSelectUrl:
    """Whether the mirror may stand in A and AAAA."""

    def urls(self, server: Server) -> tuple[str, ...]:
        return (f"http://select.example.net:{server.port}/os",)

    async def test_served_under_both_names(self, server: Server) -> None:
        server.hosts.add("select.example.net")
        outcome = await server.probe(select_urls=self.urls(server))
        assert (outcome.kind, outcome.serves_select) == (Kind.OK, True)

    async def test_not_served_there_says_nothing_against_the_mirror(self, server: Server) -> None:
        outcome = await server.probe(select_urls=self.urls(server))
        assert (outcome.kind, outcome.serves_select) == (Kind.OK, False)

    async def test_another_site_under_that_name(self, server: Server) -> None:
        server.hosts.add("select.example.net")
        server.answers[f"select.example.net{TIMESTAMP}"] = b"<html>welcome to nginx</html>"
        for kind in ("block", "http"):
            assert (await server.probe(select_urls=self.urls(server), kind=kind)).serves_select is False

    async def test_published_in_between(self, server: Server) -> None:
        server.hosts.add("select.example.net")
        server.answers[f"select.example.net{TIMESTAMP}"] = server.repository.newer
        assert (await server.probe(select_urls=self.urls(server))).serves_select is True

    async def test_it_hangs(self, server: Server) -> None:
        async def hang(request: web.Request) -> web.Response:
            await asyncio.sleep(60)
            return web.Response()

        server.hosts.add("select.example.net")
        server.answers[f"select.example.net{TIMESTAMP}"] = hang
        outcome = await server.probe(timeout=2.0, select_urls=self.urls(server))
        assert (outcome.kind, outcome.serves_select) == (Kind.OK, False)

    @pytest.mark.parametrize(("proven", "serves"), [(100.4, False), (100.6, None)])
    def test_a_deadline_that_strikes_when_little_time_was_left_says_nothing_of_it(
        self, proven: float, serves: bool | None
    ) -> None:
        findings = module._Findings(Order("block", "http://tokyo.example/os"), lambda: NOW)
        findings.outcome = Outcome(Kind.OK, NOW)
        findings._begun, findings._proven = 100.0, proven
        findings.late(timeout=1.0)
        assert (findings.outcome.kind, findings.outcome.serves_select) == (Kind.OK, serves)

    async def test_nobody_listens_on_its_port(self, server: Server, free_port: Callable[[], int]) -> None:
        outcome = await server.probe(select_urls=(f"http://select.example.net:{free_port()}/os",))
        assert (outcome.kind, outcome.serves_select) == (Kind.OK, False)

    async def test_a_mirror_that_is_down_was_not_asked(self, server: Server) -> None:
        server.answers[TIMESTAMP] = 500
        assert (await server.probe(select_urls=self.urls(server))).serves_select is None


async def test_a_bug_of_ours_is_a_failure_and_a_line(
    server: Server, monkeypatch: pytest.MonkeyPatch, expected_warnings: list[str]
) -> None:
    expected_warnings.append("broke")

    def bug(*_: object) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(module, "check_timestamp", bug)
    outcome = await server.probe()
    assert (outcome.kind, outcome.reason) == (Kind.FAILED, "the probe itself broke: ZeroDivisionError")


async def test_an_unnamed_mirror_must_not_lead_into_our_own_network() -> None:
    with pytest.raises(Unreachable, match="not public"):
        await addresses(Mirror("a", "http://localhost/"), 2.0)
    with pytest.raises(Unreachable, match="does not resolve"):
        await addresses(Mirror("a", "http://no-such-name.invalid/"), 2.0)
    assert await addresses(Mirror("a", "http://127.0.0.1:80/"), 2.0) == (ip_address("127.0.0.1"),)


async def test_tls_asks_for_the_name_and_verifies_it(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = certificate(tmp_path / "tokyo.pem", "tokyo.example")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    runner = web.ServerRunner(web.Server(server.handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, str(HERE), 0, ssl_context=context).start()
    port = runner.addresses[0][1]
    server.hosts.add("paris.example")
    try:
        plain = await server.probe(url=f"https://tokyo.example:{server.port}/os")
        assert (plain.kind, plain.reason) == (Kind.FAILED, "no TLS is spoken there: is it http:// ?")
        outcome = await server.probe(url=f"https://tokyo.example:{port}/os")
        assert outcome.kind is Kind.FAILED and "certificate is not good" in outcome.reason
        trusting = ssl.create_default_context(cafile=str(pem))
        async with Visit(HERE, AGENT, trusting) as visit:
            assert await visit.get(f"https://tokyo.example:{port}{TIMESTAMP}", 65536)
            assert visit.certificate_until is not None
            assert 28 * 86400 < visit.certificate_until - NOW < 30 * 86400
            with pytest.raises(Unreachable, match="certificate is not good"):
                await visit.get(f"https://paris.example:{port}{TIMESTAMP}", 65536)
        monkeypatch.setattr(module, "Visit", lambda address, agent: Visit(address, agent, trusting))
        outcome = await server.probe(url=f"https://tokyo.example:{port}/os")
        assert outcome.kind is Kind.OK and outcome.certificate_until == visit.certificate_until
    finally:
        await runner.cleanup()
