"""A static HTTP server for a demo without nginx: static_server.py FOLDER ADDRESS PORT.  GET, HEAD and ranges."""

from __future__ import annotations

import sys

from aiohttp import web


def main(folder: str, address: str, port: str) -> None:
    application = web.Application()
    application.router.add_static("/", folder)
    web.run_app(application, host=address, port=int(port), print=None, access_log=None, handle_signals=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
