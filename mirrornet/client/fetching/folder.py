"""A repository in a folder of this machine, such as a USB disk: `file:` URLs, read as if a mirror had sent them.

The same limits hold as for a server's answer, and what is not there is Missing.  A disk may be as slow as a network,
so it is read piece by piece, in a thread.
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from mirrornet.client.fetching.body import Fetched, Progress, Sink, Within
from mirrornet.client.mirrors.source import Endpoint
from mirrornet.image.small import Irregular, open_regular
from mirrornet.model.errors import Missing, Unreachable, Untrusted

_PIECE: Final = 1 << 20  # bytes at once


async def read_folder(
    endpoint: Endpoint, path: str, limit: int, progress: Progress, sink: Sink | None, within: Within | None
) -> Fetched:
    """As Fetcher.fetch, with its errors."""
    begun = time.monotonic()
    file = Path(unquote(urlsplit(endpoint.url).path)) / path
    have = 0
    try:
        with open_regular(file) as stream:
            if within is not None:
                stream.seek(within.offset)
            most = limit if within is not None else limit + 1
            while part := await asyncio.to_thread(stream.read, min(_PIECE, most - have)):
                have += len(part)
                if have > limit:
                    raise Untrusted(f"{endpoint}: {path}: more than the {limit} bytes that were signed")
                progress.came(len(part), time.monotonic())
                await progress.keep(part, sink)
    except (FileNotFoundError, PermissionError, Irregular) as error:
        raise Missing(f"{endpoint}: it does not have {path} ({error.strerror})") from None
    except OSError as error:
        raise Unreachable(f"{endpoint}: {path}: {error.strerror}") from None
    return progress.fetched(begun, time.monotonic())
