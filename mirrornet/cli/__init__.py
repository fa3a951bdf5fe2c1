"""The verbs.  Each module here is one verb or a family of them: it reads arguments, calls app/, prints, exits.

A verb's module has `register(app)`, imports only typer and the standard library at its top, and what it needs of the
house inside its functions, so that `mirrornet --help` costs no numpy and a client needs no server packages.  What a
verb raises, and every signal, is `border`'s affair; what a size or a duration means, `arguments`'.

Help is plain text that the terminal's width shapes: no boxes, no colours, the same in a log, a pager and a mail.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from typing import TYPE_CHECKING, Any

from mirrornet.cli.border import leave, refuse_empty

if TYPE_CHECKING:
    import typer

_VERBS = (
    "import_radb", "check", "serve", "vantage", "explain", "simulate", "override", "lab", "doctor",
    "publish", "export", "signing", "retention", "refresh", "sync", "audit", "vulnerabilities",
    "mount", "nbd", "boot", "profile", "pull", "pin",
)  # fmt: skip


def _build(first: str = "") -> typer.Typer:
    """All verbs; or those of the module `first` alone, where one is called so: the others take 0.1 s to make."""
    import typer
    from typer.core import TyperCommand

    from mirrornet import __version__

    class Verb(TyperCommand):
        """A verb whose usage line can be typed as it stands: what must be given first, and by which name."""

        def collect_usage_pieces(self, ctx: Any) -> list[str]:
            given, named = [], []
            for param in self.get_params(ctx):
                if param.param_type_name == "argument":
                    name = param.metavar or ""
                    if name.startswith("["):  # it says itself that it may be left out, and click would say it again
                        given.append(name if "..." in name or " " in name or param.nargs == 1 else f"{name}...")
                    else:
                        given += [piece.replace("{", "").replace("}", "") for piece in param.get_usage_pieces(ctx)]
                elif param.required:
                    named.append(f"{param.opts[0]} {param.metavar}")
            return [*given, *named, "[OPTIONS]"]

    app = typer.Typer(
        name="mirrornet",
        help="One disk image, any number of cheap static web servers; every machine mounts it from the nearest.",
        epilog="`mirrornet VERB --help` explains each.  Exit codes: 0 done, 1 failed (one line says why), 2 the input "
        "is wrong, 3 a limit you set was exceeded, 130 interrupted.",
        options_metavar="",
        subcommand_metavar="VERB ...",
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
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
        pass

    for verb in (first,) if first in _VERBS else _VERBS:
        importlib.import_module(f"mirrornet.cli.{verb}").register(app)
    for command in app.registered_commands:
        # The list of verbs shows the first paragraph of each, whole: click would cut it at 45 characters.
        command.cls = Verb
        told = inspect.cleandoc(command.callback.__doc__ or "") if command.callback else ""
        command.short_help = " ".join(told.partition("\n\n")[0].split())
        command.help = _with_commands(told)
    return app


def _with_commands(told: str) -> str:
    """A help text whose indented paragraphs, which are commands, stay as they are: click would flow them into one."""
    return "\n\n".join(f"\b\n{part}" if part.startswith("    ") else part for part in told.split("\n\n"))


def main(arguments: list[str] | None = None) -> None:
    """The command `mirrornet`.  Exit codes: 0 done, 1 failed, 2 wrong input, 3 a limit was exceeded, 130 interrupted.

    A fault is one line on stderr.  With MIRRORNET_DEBUG set, a traceback follows.
    """
    leave(lambda: _run(sys.argv[1:] if arguments is None else arguments))


def _run(arguments: list[str]) -> int | None:
    refuse_empty(arguments)
    code = _build(*arguments[:1])(args=arguments or ["--help"], prog_name="mirrornet", standalone_mode=False)
    if not arguments:  # the help is shown, and still nothing was asked for
        return 2
    return code if isinstance(code, int) else None


def mount_helper() -> None:
    """The command `mount.mirrornet`, which mount(8) calls for fstab lines: SOURCE#NAME MOUNTPOINT -o OPTIONS."""

    def work() -> int | None:
        from mirrornet.cli.mount import fstab_arguments

        return _run(fstab_arguments(sys.argv[1:]))

    leave(work)
