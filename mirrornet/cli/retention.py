"""The publisher's verbs about versions: versions, rollback, retire, gc."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mirrornet.cli.arguments import parsed, root_argument
from mirrornet.cli.border import say
from mirrornet.cli.client import ResolverAddress, StateFolder
from mirrornet.cli.publisher import Keys, Repo, passphrase
from mirrornet.model.errors import InputError

if TYPE_CHECKING:
    from mirrornet.image.trust.versions import ImageVersion, Metadata

Name = Annotated[str, typer.Argument(metavar="NAME", help="The image's name, as it was published.")]
Json = Annotated[bool, typer.Option("--json", help="Print the report for programs.")]


def register(app: typer.Typer) -> None:
    """Adds the verbs to `app`."""
    app.command(name="versions")(versions)
    app.command(name="rollback")(rollback)
    app.command(name="retire")(retire)
    app.command(name="gc")(gc)


def versions(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE] [NAME]",
            help="SOURCE: a select name, repository URLs joined by commas, or a folder (not with --repo).  NAME: one "
            "image.",
        ),
    ] = None,
    repo: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A repository in a folder, instead of SOURCE.")
    ] = None,
    root: Annotated[
        str | None, typer.Option(metavar="ROOT", help="Whom to believe, for SOURCE: the pin (sha256:HEX) or root.json.")
    ] = None,
    state: StateFolder = None,
    resolver: ResolverAddress = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print a list of objects.")] = False,
) -> None:
    """List the versions in a repository: number, date, size, stored and new bytes, codec, profile.

    NEW is what a client or mirror that had the version before has to fetch.  Of a folder it also says which versions
    are complete in it; what mirrors hold is told by `mirrornet audit`.

        mirrornet versions --repo repo debian
        mirrornet versions select.example.net debian --root sha256:...
    """
    words = list(words or ())
    now = time.time()
    if repo is not None:
        from mirrornet.image.publishing.listing import lacking, listed

        if len(words) > 1:
            raise InputError(f"{words[0]}: --repo names the repository already; give NAME or nothing beside it")
        metadata = listed(repo, now)
        if metadata.expired:
            say(f"warning: {repo}: the signed metadata has expired; clients refuse it until `mirrornet resign`")
        found = _chosen(metadata, words)
        gaps = {each: lacking(repo, each) for each in found}
    else:
        if not words or len(words) > 2:
            raise InputError("versions: name a SOURCE, or a folder by --repo; and one image or none")
        if root is None:
            raise InputError(
                "versions: a SOURCE is believed by --root ROOT only (sha256:HEX, or a root.json); a folder of your own "
                "is named by --repo DIR"
            )
        from mirrornet.app.copying import newest_metadata

        metadata, warnings = newest_metadata(words[0], root_argument(root), state=state, resolver=resolver, now=now)
        for warning in warnings:
            say(f"warning: {warning}")
        found, gaps = _chosen(metadata, words[1:]), {}
    if as_json:
        print(json.dumps([_object(each, gaps.get(each)) for each in found]))
    else:
        _table(found, gaps)


def _chosen(metadata: Metadata, words: list[str]) -> list[ImageVersion]:
    """The versions of the image named, or of all.  Raises InputError where there is no such image."""
    for name in words:
        metadata.latest(name)
    return [version for name in words or metadata.names for version in metadata.images.get(name, ())]


def _object(version: ImageVersion, gap: str | None) -> dict[str, Any]:
    keep = ("name", "version", "created", "size", "stored", "new", "codec", "rollback_of")
    return {
        **{key: getattr(version, key) for key in keep},
        "targets": [each.kind for each in version.attached],
        "complete": None if gap is None else not gap,
    }


def _table(found: list[ImageVersion], gaps: dict[ImageVersion, str]) -> None:
    from mirrornet.model.units import format_size

    print(f"{'NAME':<20} {'VERSION':>7} {'CREATED':<20} {'SIZE':>10} {'STORED':>10} {'NEW':>10} {'CODEC':<6} NOTES")
    for version in found:
        kinds = [each.kind for each in version.attached]
        notes = [*(f"again version {number}" for number in (version.rollback_of,) if number), *kinds]
        if version in gaps:
            notes.append(f"NOT complete: {gaps[version]}" if gaps[version] else "complete")
        new = "-" if version.new is None else format_size(version.new)
        print(
            f"{version.name:<20} {version.version:>7} {version.created:<20} {format_size(version.size):>10} "
            f"{format_size(version.stored):>10} {new:>10} {version.codec:<6} {', '.join(notes)}".rstrip()
        )


def rollback(
    name: Name,
    version: Annotated[int, typer.Argument(metavar="VERSION", min=1, help="Whose content clients get again.")],
    repo: Repo,
    keys: Keys,
    as_json: Json = False,
) -> None:
    """Make an old version's content the newest version: clients follow it like any update.

    Nobody has to accept an older number, so nobody can be made to.  Blocks are not written again.

        mirrornet rollback debian 5 --repo repo --keys keys
    """
    import dataclasses

    from mirrornet.image.publishing.rollback import rollback as work

    report = work(repo, keys, name, version, now=time.time(), passphrase=passphrase(keys))
    if as_json:
        print(json.dumps(dataclasses.asdict(report)))
        return
    print(f"{name} version {report.version} is version {report.rollback_of} again (version {report.before} until now)")


def retire(
    name: Name,
    repo: Repo,
    keys: Keys,
    numbers: Annotated[
        list[int] | None, typer.Argument(metavar="[VERSION]", min=1, help="The versions that go.")
    ] = None,
    keep: Annotated[
        int | None, typer.Option(metavar="N", help="Instead of VERSION...: all go but the newest N.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Take versions out of the metadata: nobody finds them any more, and `gc` removes their blocks in time.

    The newest goes only with all the others: what clients get must not go back unsaid (`rollback` says it).

        mirrornet retire debian --keep 5 --repo repo --keys keys
    """
    import dataclasses

    from mirrornet.image.publishing.retire import retire as work

    report = work(repo, keys, name, versions=numbers or (), keep=keep, now=time.time(), passphrase=passphrase(keys))
    if as_json:
        print(json.dumps(dataclasses.asdict(report)))
        return
    gone, left = (", ".join(map(str, numbers)) or "none" for numbers in (report.retired, report.kept))
    print(f"{name}: retired {gone}; there are still {left}")


def gc(
    repo: Repo,
    grace: Annotated[
        str, typer.Option(metavar="TIME", help="How long ago a file must have been needed for the last time.")
    ] = "30d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Allow a grace shorter than signed metadata lives.")] = False,
    as_json: Json = False,
) -> None:
    """Remove what no version has needed for a while: blocks, indexes, old metadata.

    Which versions there are, `retire` and the metadata decide.  Needs no key, and waits for a publish at work.
    """
    import dataclasses

    from mirrornet.image.copying.garbage import gc as work
    from mirrornet.model.units import format_size, parse_duration

    seconds = parsed("--grace", parse_duration, grace)
    report = work(repo, now=time.time(), grace=seconds, dry_run=dry_run, force=force)
    if as_json:
        print(json.dumps(dataclasses.asdict(report)))
        return
    counts = ", ".join(f"{count} {kind} files" for kind, count in report.removed.items())
    print(f"{'would remove' if dry_run else 'removed'} {counts}: {format_size(report.bytes)}")
    if report.kept:
        print(f"{report.kept} files ({format_size(report.kept_bytes)}) go when they have not been needed for {grace}")
