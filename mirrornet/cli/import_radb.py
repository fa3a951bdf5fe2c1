"""`mirrornet import-radb`: dumps of routing registries → world.table."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from mirrornet.cli.import_progress import progress


def register(app: typer.Typer) -> None:
    """Adds the verb to `app`."""

    @app.command("import-radb")
    def import_radb(
        out: Annotated[
            Path,
            typer.Option(
                metavar="FILE", help="The table to make, such as world.table.", show_default=False, dir_okay=False
            ),
        ],
        dumps: Annotated[
            list[str] | None,
            typer.Argument(
                metavar="DUMP",
                help="RPSL dumps (route, route6, aut-num, as-set, route-set, inetnum, inet6num): paths or http, https, "
                "ftp URLs, plain or .gz.",
                show_default=False,
            ),
        ] = None,
        delegated: Annotated[
            list[str] | None,
            typer.Option(
                metavar="FILE",
                help="Delegated statistics of a RIR (registry|country|type|...), path or URL; may be given again.",
                show_default=False,
            ),
        ] = None,
        anycast: Annotated[
            Path | None,
            typer.Option(
                metavar="FILE",
                help="Anycast prefixes, one a line, # comments.",
                show_default=False,
            ),
        ] = None,
        sources: Annotated[
            Path | None,
            typer.Option(
                metavar="FILE",
                help="Your own ranks of sources, one a line, such as RADB 2 or BELL never; 0 is believed first.",
                show_default=False,
            ),
        ] = None,
        vrps: Annotated[
            str | None,
            typer.Option(
                metavar="FILE",
                help="VRPs as routinator or rpki-client export them (JSON), path or URL; routes they contradict go.",
                show_default=False,
            ),
        ] = None,
        geofeed: Annotated[
            list[str] | None,
            typer.Option(
                metavar="FILE",
                help="Where a network says its users are (RFC 8805), path or URL; may be given again.",
                show_default=False,
            ),
        ] = None,
        mmdb: Annotated[
            list[str] | None,
            typer.Option(
                metavar="FILE",
                help="A geolocation database (DB-IP, GeoLite2: countries or cities); may be given again.",
                show_default=False,
            ),
        ] = None,
        as_rel: Annotated[
            str | None,
            typer.Option(
                metavar="FILE",
                help="AS relationships in CAIDA's form (1|2|-1), path or URL, plain, .gz or .bz2.",
                show_default=False,
            ),
        ] = None,
        force: Annotated[
            bool,
            typer.Option(
                "--force", help="Replace the old table even if it shrank by 30 %, and whatever else is in FILE."
            ),
        ] = False,
        bogons: Annotated[
            bool, typer.Option("--bogons", help="Let reserved addresses and private AS numbers in, for a laboratory.")
        ] = False,
        confirm: Annotated[
            list[str] | None,
            typer.Option(
                metavar="SET",
                help="Accept what is new in an as-set or route-set that is held back (RADB::AS-EXAMPLE), or all; may "
                "be given again.",
                show_default=False,
            ),
        ] = None,
        fetch: Annotated[
            str | None,
            typer.Option(
                metavar="URL",
                help="Take a finished table that another server of yours made, path or URL; no dump is read.",
                show_default=False,
            ),
        ] = None,
        checksum: Annotated[
            str | None,
            typer.Option(
                metavar="URL",
                help="Where its SHA-256 is, path or URL.  Default: the table's, with .sha256 behind it.",
                show_default=False,
            ),
        ] = None,
        rollback: Annotated[
            bool, typer.Option("--rollback", help="Bring the table before this one back; three are kept.")
        ] = False,
        report: Annotated[
            Path | None,
            typer.Option(metavar="FILE", help="Write the whole report there, as JSON.", show_default=False),
        ] = None,
    ) -> None:
        """Make world.table, the map from an address to its AS, country and place.

        RADB and other routing registries say who originates an address; the delegated statistics of the RIRs say in
        which country it is.  The old table stays until the new one is whole, and a table that lost 30 % of its ranges
        is refused (exit code 3).  The last three are kept beside it (world.table.1 is the youngest).

        Zones may name as-sets and route-sets, and others write those: one whose members changed by more than 30 %
        keeps its former ones until you --confirm it.

            mirrornet import-radb radb.db.gz --delegated delegated-extended --out world.table
            mirrornet import-radb --fetch https://ns1.example/world.table --out world.table
            mirrornet import-radb --rollback --out world.table
        """
        from mirrornet.model.errors import InputError
        from mirrornet.radb import importer

        if rollback:
            if dumps:
                raise InputError("--rollback brings the last table back and reads no dump: name no dump with it")
            _roll_back(out)
            return
        if fetch or checksum:
            others = (delegated, anycast, sources, vrps, geofeed, mmdb, as_rel, report, confirm, bogons)
            if not fetch or dumps or any(others):
                raise InputError(
                    "--fetch takes a finished table and reads nothing else: give it only --checksum, --force"
                )
            _fetch(fetch, out, checksum or "", force)
            return
        if not dumps:
            raise InputError("no dump is named, so there is nothing to import: name one, such as radb.db.gz")

        if report is not None:
            if not report.absolute().parent.is_dir():
                raise InputError(f"{report}: there is no folder {report.absolute().parent}: make it first")
            if report.is_dir() or report.is_fifo():
                raise InputError(f"{report}: the report is written to a file, and that is none")
            if report.absolute() == out.absolute() or (report.exists() and out.exists() and report.samefile(out)):
                raise InputError(f"{report}: is the table itself: give the report another name")
        with progress() as tell:
            done = importer.import_radb(
                dumps,
                out,
                delegated=delegated or (),
                anycast=anycast,
                sources=sources,
                vrps=vrps,
                geofeeds=geofeed or (),
                mmdbs=mmdb or (),
                relations=as_rel,
                force=force,
                now=time.time(),
                progress=tell,
                bogons=bogons,
                confirmed=confirm or (),
            )
        if report is not None:
            report.write_text(json.dumps(done.as_dict(), indent=2, ensure_ascii=False) + "\n", "utf-8")
        for line in done.summary():
            typer.echo(line)
        typer.echo(f"{out} stays as it is" if done.nothing_new else f"{out} is ready")


def _fetch(name: str, out: Path, checksum: str, force: bool) -> None:
    from mirrornet.radb.ready import fetch_table

    with progress() as tell:
        done = fetch_table(name, out, checksum=checksum, force=force, progress=tell)
    for warning in done.warnings:
        typer.echo(f"warning: {warning}")
    made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(done.created))
    if done.nothing_new:
        typer.echo(f"nothing new since {made}: {out} stays as it is")
    else:
        typer.echo(f"{out} is the table made {made} ({done.bytes_written / 1e6:.1f} MB)")


def _roll_back(out: Path) -> None:
    from mirrornet.radb.generations import roll_back

    done = roll_back(out)
    for passed in done.passed:
        typer.echo(f"warning: passed over: {passed}")
    made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(done.created))
    typer.echo(f"{out} is the table made {made} again (it was {done.was.name}); the one before is {out.name}.undone")
