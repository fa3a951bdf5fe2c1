"""Fetches one file of a mirror over new connections at given addresses, and says in seconds how long connecting took.

python lab_addresses.py URL BYTES PATH ADDRESS...      out: a JSON list; the first alone, eight more side by side
"""

from __future__ import annotations

import asyncio
import json
import sys

from mirrornet.client.fetching.fetch import Fetcher
from mirrornet.client.mirrors.source import Endpoint


async def main(url: str, size: str, path: str, *addresses: str) -> None:
    fetcher = Fetcher()
    # A name, so that the addresses are those of the endpoint and not the URL's own.
    endpoint = Endpoint("m", url.replace("198.18.2.1", "mirror.example"), addresses, allow_local=True)
    first = await fetcher.fetch(endpoint, path, int(size))
    others = await asyncio.gather(*(fetcher.fetch(endpoint, path, int(size)) for _ in range(8)))
    print(json.dumps([one.connecting for one in (first, *others)]))
    await fetcher.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
