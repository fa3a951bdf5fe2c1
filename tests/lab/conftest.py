"""A lab's programs: small ones in Python, run at its sites."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from waiting import until

from mirrornet.lab.namespaces import missing
from mirrornet.lab.network import Network

Python = Callable[..., str]


@pytest.fixture(scope="session", autouse=True)
def machine() -> None:
    if why := missing():
        pytest.skip(why)


@pytest.fixture
def python() -> Python:
    """python(network, site, program, NAME=value, ...): what the program prints, started with these names set."""

    def run(network: Network, site: str, program: str, **names: object) -> str:
        done = network.run(site, [sys.executable, "-c", _with(names, program)])
        assert done.returncode == 0, done.stderr
        return str(done.stdout)

    return run


@pytest.fixture
def serve() -> Callable[..., None]:
    """serve(network, site, ECHO or SOURCE, address): the program runs at the site and is ready."""

    def start(network: Network, site: str, program: str, address: str) -> None:
        log = network.folder / f"{site}-{address.replace(':', '-')}"
        with log.open("wb") as out:
            process = network.start(site, [sys.executable, "-c", _with({"HERE": address}, program)], stdout=out)
        until(lambda: log.read_text().startswith("ready"), process.poll)

    return start


def _with(names: dict[str, object], program: str) -> str:
    return "\n".join(f"{name} = {value!r}" for name, value in names.items()) + program
