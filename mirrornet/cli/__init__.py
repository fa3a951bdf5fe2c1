"""The verbs.  Each module here is one verb or a family of them: it reads arguments, calls app/, prints, exits.

A verb's module has `register(app)`, imports only typer and the standard library at its top, and what it needs of the
house inside its functions, so that `mirrornet --help` costs no numpy and a client needs no server packages.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback

import typer

from mirrornet import __version__
from mirrornet.model.errors import MirrornetError

_VERBS = ("import_radb", "check", "serve", "explain", "publish", "mount")
_EXTRAS = {"dnslib": "server", "pytricia": "server", "yaml": "server", "pyfuse3": "client", "dns": "client"}


def _build() -> typer.Typer:
    app = typer.Typer(
        name="mirrornet",
        help="One disk image, any number of cheap static web servers; every machine mounts it from the nearest.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    def version(show: bool) -> None:
        if show:
            print(f"mirrornet {__version__}")
            raise typer.Exit

    @app.callback()
    def root(
        version: bool = typer.Option(False, "--version", callback=version, is_eager=True, help="Print it and leave."),
    ) -> None:
        """One disk image, any number of cheap static web servers; every machine mounts it from the nearest."""

    for verb in _VERBS:
        importlib.import_module(f"mirrornet.cli.{verb}").register(app)
    return app


def main(arguments: list[str] | None = None) -> None:
    """The command `mirrornet`.  Exit codes: 0 done, 1 failed, 2 wrong input, 3 a limit was exceeded, 130 interrupted.

    A fault is one line on stderr.  With MIRRORNET_DEBUG set, a traceback follows.
    """
    try:
        _build()(args=arguments, prog_name="mirrornet")
    except MirrornetError as error:
        _leave(str(error), error.exit_code)
    except KeyboardInterrupt:
        _leave("interrupted", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").split(".")[0], "all")
        _leave(f"the package {error.name} is missing: pip install 'mirrornet[{extra}]'", 1)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _leave(f"{where}{error.strerror or error}", 1)
    except Exception as error:  # the last border: no traceback reaches a user
        _leave(f"this is a bug in mirrornet: {type(error).__name__}: {error} (MIRRORNET_DEBUG=1 shows where)", 1)


def _leave(line: str, code: int) -> None:
    print(f"mirrornet: {line}", file=sys.stderr)
    if os.environ.get("MIRRORNET_DEBUG"):
        traceback.print_exc()
    sys.exit(code)


def mount_helper() -> None:
    """The command `mount.mirrornet`, which mount(8) calls for fstab lines: SOURCE#NAME MOUNTPOINT -o OPTIONS."""
    from mirrornet.cli.mount import fstab_arguments

    try:
        arguments = fstab_arguments(sys.argv[1:])
    except MirrornetError as error:
        _leave(str(error), error.exit_code)
    main(arguments)
