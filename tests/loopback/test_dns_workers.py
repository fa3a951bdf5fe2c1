"""The supervisor and its workers: real processes, real sockets, and what happens when one of them dies."""

from __future__ import annotations

import asyncio
import contextlib
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path

import dns.message
import dns.rcode
import pytest

from mirrornet.app.server.answers.inherit import left_behind
from mirrornet.app.server.answers.sockets import open_all
from mirrornet.app.server.answers.workers import Workers
from mirrornet.dns.message.manners import Manners
from mirrornet.dns.planning.planfile import encode
from mirrornet.model.errors import LocalError

WORLD = runpy.run_path(str(Path(__file__).parents[1] / "vectors" / "wire" / "plan.py"))
PLAN, TTLS = WORLD["PLAN"], WORLD["TTLS"]
LOOPBACK = [(ip_address("127.0.0.1"), 0), (ip_address("::1"), 0)]


def pieces(generation: int) -> list[bytes]:
    return encode(replace(PLAN, generation=generation))


def client(workers: Workers, number: int = 0) -> socket.socket:
    address, port = workers.addresses[number]
    sock = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6, socket.SOCK_DGRAM)
    sock.connect((str(address), port))
    sock.settimeout(20)  # as long as a query takes that is lost
    return sock


def ask(workers: Workers, name: str = "select.example.org", number: int = 0) -> dns.message.Message:
    with client(workers, number) as sock:
        sock.send(dns.message.make_query(name, "A").to_wire())
        return dns.message.from_wire(sock.recv(4096))


async def until(true: Callable[[], bool], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 (other processes set no event)
            await asyncio.sleep(0.005)


@pytest.fixture
async def start(tmp_path):
    started = []

    async def begin(count: int = 1, listen=LOOPBACK) -> Workers:
        workers = Workers(listen, tmp_path, count, Manners("test"))
        started.append(workers)
        await workers.start()
        return workers

    yield begin
    for workers in started:
        await workers.stop()


async def test_from_no_plan_to_the_third(start, tmp_path):
    workers = await start(2)
    assert (await asyncio.to_thread(ask, workers)).rcode() == dns.rcode.SERVFAIL
    workers.publish(pieces(1), 1, TTLS)
    await until(lambda: workers.counters()["generation"] == 1)
    for number in (0, 1):
        reply = await asyncio.to_thread(ask, workers, "select.example.org", number)
        assert reply.answer[0].ttl == 20
    workers.set_ttls([3, 4, 5])
    await until(lambda: ask(workers).answer[0].ttl == 3)
    for generation in (2, 3):
        workers.publish(pieces(generation), generation, [generation] * 3)
    await until(lambda: workers.counters()["generation"] == 3)
    assert ask(workers).answer[0].ttl == 3
    assert sorted(path.name for path in tmp_path.glob("plan.*")) == ["plan.2", "plan.3"]
    with pytest.raises(ValueError, match="does not follow"):
        workers.publish(pieces(3), 3, TTLS)
    await until(lambda: workers.counters()["udp"] >= 5)
    counters = workers.counters()
    assert (counters["workers"], counters["restarts"], counters["plan_faults"]) == (2, 0, 0)


async def test_a_plan_that_cannot_be_read_leaves_the_old_one(start, capfd):
    workers = await start()
    workers.publish(pieces(1), 1, TTLS)
    await until(lambda: workers.counters()["generation"] == 1)
    damaged = pieces(2)
    damaged[-1] = bytes(len(damaged[-1]))
    workers.publish(damaged, 2, TTLS)
    await until(lambda: workers.counters()["plan_faults"] >= 1)
    assert ask(workers).rcode() == dns.rcode.NOERROR
    assert "plan.2: the plan file is damaged" in capfd.readouterr().err
    workers.publish(pieces(3), 3, TTLS)
    await until(lambda: workers.counters()["generation"] == 3)


async def test_what_queued_for_a_killed_worker_is_answered(start, expected_warnings):
    expected_warnings.append("and is replaced")
    workers = await start()
    workers.publish(pieces(1), 1, TTLS)
    await until(lambda: workers.counters()["generation"] == 1)
    (victim,) = workers.pids
    address = (str(workers.addresses[0][0]), workers.addresses[0][1])
    query = dns.message.make_query("mail.example.org", "A", id=99).to_wire()
    framed = len(query).to_bytes(2, "big") + query
    with client(workers) as udp, socket.create_connection(address, 5) as early:
        early.sendall(framed)
        assert early.recv(4096)[2:4] == b"\0\x63"
        os.kill(victim, signal.SIGSTOP)
        for number in range(50):
            udp.send(dns.message.make_query("mail.example.org", "A", id=number).to_wire())
        with socket.create_connection(address, 5) as late:
            late.sendall(framed)
            began = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            answers = {dns.message.from_wire(await asyncio.to_thread(udp.recv, 4096)).id for _ in range(50)}
            assert answers == set(range(50))
            assert time.monotonic() - began < 30, "nobody's timeout was waited for"
            assert (await asyncio.to_thread(late.recv, 4096))[2:4] == b"\0\x63"  # it waited in the backlog
        with contextlib.suppress(ConnectionResetError):
            assert early.recv(1) == b""  # what the dead one had accepted ends and does not hang
    await until(lambda: workers.pids != [0])
    assert workers.pids != [victim] and workers.restarts == 1


async def test_queries_that_arrive_while_workers_are_killed(start, expected_warnings):
    expected_warnings.append("and is replaced")
    workers = await start(2)
    workers.publish(pieces(1), 1, TTLS)
    await until(lambda: workers.counters()["generation"] == 1)
    lost = 0
    for round_ in range(3):
        victim = workers.pids[round_ % 2]
        for number in range(60):
            if number == 20:
                os.kill(victim, signal.SIGKILL)
            try:
                reply = await asyncio.to_thread(ask, workers)
                assert reply.rcode() == dns.rcode.NOERROR
            except TimeoutError:
                lost += 1
        await until(lambda: victim not in workers.pids and 0 not in workers.pids)  # noqa: B023
    assert lost <= 3, "only a query that the killed worker had already read may be lost"
    assert workers.restarts == 3


async def test_a_worker_that_cannot_start_is_tried_again(start, tmp_path, expected_warnings, capfd):
    expected_warnings.append("and is replaced")
    workers = await start()
    workers.publish(pieces(1), 1, TTLS)
    await until(lambda: workers.counters()["generation"] == 1)
    (tmp_path / "control").rename(tmp_path / "elsewhere")
    os.kill(workers.pids[0], signal.SIGKILL)
    await until(lambda: workers.restarts >= 3)
    (tmp_path / "elsewhere").rename(tmp_path / "control")
    with client(workers) as sock:
        sock.send(dns.message.make_query("mail.example.org", "A").to_wire())
        reply = dns.message.from_wire(await asyncio.to_thread(sock.recv, 4096))
    assert reply.rcode() == dns.rcode.NOERROR
    assert "No such file" in capfd.readouterr().err


KILLED = """
import asyncio, runpy, sys
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from mirrornet.app.server.answers.workers import Workers
from mirrornet.dns.planning.planfile import encode

async def main():
    world = runpy.run_path(sys.argv[2])
    workers = Workers([(ip_address("127.0.0.1"), 0)], Path(sys.argv[1]), 2, grace=float(sys.argv[3]))
    await workers.start()
    workers.publish(encode(world["PLAN"]), 1, world["TTLS"])
    while workers.counters()["generation"] != 1:
        await asyncio.sleep(0.005)
    print(*workers.pids, workers.addresses[0][1], flush=True)
    await asyncio.sleep(60)

asyncio.run(main())
"""


async def supervisor_to_kill(state: Path, grace: float) -> tuple[asyncio.subprocess.Process, list[int], int]:
    plan = Path(__file__).parents[1] / "vectors" / "wire" / "plan.py"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", KILLED, str(state), str(plan), str(grace), stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    *pids, port = [int(word) for word in (await process.stdout.readline()).split()]
    assert len(pids) == 2
    return process, pids, port


async def test_answers_outlive_a_killed_supervisor_until_the_next_takes_over(start, tmp_path, expected_warnings):
    """Under load: a query every few milliseconds, before the kill, after it, and through the change."""
    expected_warnings.append("a supervisor was killed; its workers")
    supervisor, pids, port = await supervisor_to_kill(tmp_path, 60)
    query = dns.message.make_query("select.example.org", "A").to_wire()
    answered: list[float] = []
    lost, patience, over = 0, 60.0, False

    def stream() -> None:
        nonlocal lost
        while not over:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:  # either worker may get it
                sock.settimeout(patience)
                sock.connect(("127.0.0.1", port))
                try:
                    sock.send(query)
                    if dns.message.from_wire(sock.recv(4096)).rcode() == dns.rcode.NOERROR:
                        answered.append(time.monotonic())
                except OSError:
                    lost += 1

    streaming = asyncio.create_task(asyncio.to_thread(stream))
    try:
        await until(lambda: len(answered) > 50)
        supervisor.kill()
        await supervisor.wait()
        killed, before = time.monotonic(), len(answered)
        await until(lambda: len(answered) > before + 500)
        assert lost == 0
        patience = 0.3  # while nobody listens
        assert all(running(pid) for pid in pids)
        workers = await start(2, [(ip_address("127.0.0.1"), port)])
        assert not any(running(pid) for pid in pids)
        workers.publish(pieces(1), 1, TTLS)
        taken = time.monotonic()
        await until(lambda: answered[-1] > taken)
        assert taken > killed
    finally:
        over = True
        await streaming


async def test_workers_without_a_supervisor_end_after_their_grace(tmp_path):
    supervisor, pids, _ = await supervisor_to_kill(tmp_path, 0.3)
    supervisor.kill()
    await supervisor.wait()
    await until(lambda: not any(running(pid) for pid in pids))


async def test_only_workers_of_this_folder_are_ended(tmp_path):
    supervisor, pids, _ = await supervisor_to_kill(tmp_path, 1)
    assert sorted(left_behind(tmp_path)) == sorted(pids)
    shutil.copy(tmp_path / "control", tmp_path / "other")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "other").rename(tmp_path / "elsewhere" / "control")
    assert left_behind(tmp_path / "elsewhere") == []
    supervisor.terminate()
    await supervisor.wait()
    await until(lambda: not any(running(pid) for pid in pids))


def running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def test_sigterm_ends_a_worker_cleanly(start, expected_warnings):
    expected_warnings.append("(exit code 0) and is replaced")
    workers = await start()
    assert ask(workers).rcode() == dns.rcode.SERVFAIL  # it is up
    os.kill(workers.pids[0], signal.SIGTERM)
    await until(lambda: workers.restarts == 1)


async def test_stop_may_be_called_twice_and_leaves_nothing(start):
    workers = await start(2)
    pids = workers.pids
    await workers.stop()
    await workers.stop()
    assert not any(running(pid) for pid in pids)
    again = await start(2, workers.addresses)  # the state folder and the ports are free again
    assert 0 not in again.pids


async def test_a_port_in_use_is_one_clear_line(tmp_path):
    address = ip_address("127.0.0.1")
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as taken:
            taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # as a second mirrornet would
            taken.bind(("127.0.0.1", 0))
            if kind == socket.SOCK_STREAM:
                taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(LocalError, match=f"^cannot listen on 127.0.0.1 port {port} .*another program has it"):
                await Workers([(address, port)], tmp_path, 1).start()
    with pytest.raises(LocalError, match="no such address"):
        open_all([(address, 0), (ip_address("192.0.2.1"), 0)])


async def test_a_state_folder_that_is_a_file(tmp_path):
    (tmp_path / "state").write_text("")
    with pytest.raises(LocalError, match="state folder"):
        await Workers(LOOPBACK, tmp_path / "state", 1).start()


async def test_dig_agrees(start, need):
    need("dig")
    workers = await start(1, [*LOOPBACK, (ip_address("0.0.0.0"), 0)])
    workers.publish(pieces(1), 1, TTLS)
    await until(lambda: workers.counters()["generation"] == 1)

    async def dig(*arguments: str, number: int = 0) -> str:
        address, port = workers.addresses[number]
        host = "127.0.0.6" if number == 2 else str(address)
        process = await asyncio.create_subprocess_exec(
            "dig", f"@{host}", "-p", str(port), "+time=2", "+tries=1", "+norecurse", *arguments, stdout=subprocess.PIPE
        )
        output, _ = await process.communicate()
        assert process.returncode == 0, output
        return output.decode()

    for number in (0, 1, 2):
        for transport in ("+notcp", "+tcp"):
            text = await dig("select.example.org", "A", "+subnet=10.1.0.0/24", "+nsid", transport, number=number)
            assert "status: NOERROR" in text and "flags: qr aa;" in text
            assert "CLIENT-SUBNET: 10.1.0.0/24/16" in text and '("test")' in text
            assert "192.0.2.2\n" in text
    assert "TCP" in await dig("huge.example.org", "TXT")  # truncated, so dig came back by TCP
    assert "URI\t1 1 \"http://m0.example/os#m0\"" in await dig("_http._tcp.select.example.org", "URI")  # fmt: skip
    assert "CLIENT-SUBNET: 0.0.0.0/0/0" in await dig("select.example.org", "A", "+subnet=0")
    assert "status: REFUSED" in await dig("version.bind", "CH", "TXT")
    assert "status: NOTIMP" in await dig("example.org", "SOA", "+opcode=15", "+noedns")
    assert "status: BADVERS" in await dig("example.org", "SOA", "+edns=1", "+noednsneg")
