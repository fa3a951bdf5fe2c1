"""The publisher's verbs about keys and signatures: keygen, resign, rotate."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from mirrornet.cli.border import say
from mirrornet.cli.publisher import Also, Keys, Repo, folders_of, new_passphrase, passphrase
from mirrornet.model.errors import InputError


def register(app: typer.Typer) -> None:
    """Adds the verbs to `app`."""
    app.command(name="keygen")(keygen)
    app.command(name="resign")(resign)
    app.command(name="rotate")(rotate)


def keygen(
    folder: Annotated[
        Path | None, typer.Argument(metavar="DIR", help="A new folder, outside of any repository.")
    ] = None,
    vantage: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Make one key for `vantage` or `serve --share` instead, and print its public half."
        ),
    ] = None,
    threshold: Annotated[
        list[str] | None,
        typer.Option(metavar="ROLE=M:N", help="N keys of ROLE, of which M have to sign, such as root=2:3."),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROLE=URI",
            help="A key that is elsewhere already: file:PATH, hsm:ID?label=TOKEN (PKCS#11), awskms:, gcpkms:, "
            "azurekms:, hv:.",
        ),
    ] = None,
) -> None:
    """Make the keys of a new repository and print the pin, which clients give as --root.

    The pin is the SHA-256 of DIR/root.json, should you lose it.  Keys are encrypted with a passphrase from
    MIRRORNET_PASSPHRASE, or asked for on a terminal; the PIN of a token comes from MIRRORNET_PIN.

    root signs which keys count, targets which key signs which image: put them away after the first publish of each
    image, each of several root keys in another place.  Daily work needs snapshot, timestamp and images/ only.
    """
    if vantage is not None:
        _keygen_vantage((folder or Path()) / vantage)
        return
    if folder is None:
        raise InputError("DIR is missing: the folder in which the keys are to lie (or --vantage FILE, for one key)")
    from mirrornet.image.trust import keys
    from mirrornet.image.trust.keyfiles import key_files

    uris: dict[str, list[str]] = {}
    for text in key or ():
        role, _, uri = text.partition("=")
        if ":" not in uri:
            raise InputError(f"--key {text}: write ROLE=URI, such as root=hsm:2")
        uris.setdefault(role, []).append(uri)
    thresholds = dict(_threshold(text) for text in threshold or ())
    secret = new_passphrase()
    pin = keys.keygen(folder, passphrase=secret, thresholds=thresholds, uris=uris)
    if not secret:
        say(f"{folder}: the keys are NOT encrypted (no terminal, no MIRRORNET_PASSPHRASE); only mode 0600 guards them")
    away = [path.name for role in ("root", "targets") for path in key_files(folder, role)]
    say(f"{folder}: {', '.join(away)} belong offline after the first publish of each image: with them alone a thief")
    say("  takes the repository; snapshot and timestamp stay here, for publish and the daily resign")
    for role, (needed, there_are) in thresholds.items():
        say(f"  {role}: {needed} of its {there_are} keys have to sign; give them to different people")
    print(pin)


def _keygen_vantage(path: Path) -> None:
    from mirrornet.image.trust.seal import make_seal

    secret = new_passphrase()
    public = make_seal(path, secret)
    if not secret:
        say(f"{path}: the key is NOT encrypted, so that a service can start with it; only mode 0600 guards it")
    say(f"  list its public half in the zone file, `server: vantages:`  NAME: {{key: {public}}}")
    print(public)


def _threshold(text: str) -> tuple[str, tuple[int, int]]:
    role, _, numbers = text.rpartition("=")
    needed, _, there_are = numbers.partition(":")
    if not (role and needed.isdecimal() and there_are.isdecimal()):
        raise InputError(f"--threshold {text}: write ROLE=M:N, such as root=2:3 for two signatures of three keys")
    return role, (int(needed), int(there_are))


def resign(
    repo: Repo,
    keys: Keys,
    offline: Annotated[
        bool, typer.Option("--offline", help="Renew root, targets and images, too, when half their year is over.")
    ] = False,
    also: Also = None,
) -> None:
    """Renew the signatures that expire: run it daily from a timer.

    The timestamp is good for 3 days and is renewed each time, the snapshot for 30 days and is renewed past half of
    them.  Copy metadata/ to the mirrors afterwards; clients warn of, or refuse, what has expired.  Root, targets and
    images live for a year: with less than a third of it left a line on stderr says which key to bring.
    """
    from mirrornet.image.publishing.resign import resign as work

    folders = folders_of(also)
    report = work(repo, keys, now=time.time(), passphrase=passphrase(keys), offline=offline, also=folders)
    for warning in report.warnings:
        say(f"warning: {warning}")
    expires = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(report.expires))
    print(f"timestamp version {report.timestamp}, snapshot version {report.snapshot}; valid until {expires}")
    if slow := [role for role in report.renewed if role not in ("snapshot", "timestamp")]:
        print(f"renewed for a year: {', '.join(slow)}")


def rotate(
    roles: Annotated[
        list[str], typer.Argument(metavar="ROLE", help="root, targets, snapshot, timestamp, or image-NAME.")
    ],
    repo: Repo,
    keys: Keys,
    also: Also = None,
    threshold: Annotated[
        str | None,
        typer.Option(metavar="M:N", help="From now on N keys, of which M have to sign.  Default: as before."),
    ] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(metavar="URI", help="The new key is there already: file:PATH, hsm:ID?label=TOKEN, awskms: …"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report for programs.")] = False,
) -> None:
    """Replace the keys of one or more roles: lost, stolen, or to be moved to a token.

    It takes the root key (for image-NAME the targets key), by --also from where it is kept.  Clients follow by
    themselves, and the pin stays.  Old keys are moved to DIR/replaced.  After a theft from the publishing machine:

        mirrornet rotate snapshot timestamp image-debian --repo repo --keys keys --also /media/stick
    """
    import dataclasses

    from mirrornet.image.publishing.rotate import rotate as work

    counts = _threshold(f"{roles[0]}={threshold}")[1] if threshold is not None else None
    folders = folders_of(also)
    report = work(
        repo,
        keys,
        roles,
        now=time.time(),
        passphrase=passphrase(keys),
        also=folders,
        threshold=counts,
        uris=key or (),
    )
    if as_json:
        print(json.dumps(dataclasses.asdict(report), default=str))
        return
    print(f"new keys for {', '.join(report.roles)}: {', '.join(map(str, report.made))}")
    if report.replaced:
        print(f"old keys, good for nothing any more: {', '.join(map(str, report.replaced))}")
    if "root" in report.roles or "targets" in report.roles:
        say("the new keys of root and targets belong offline")
    print(f"root version {report.root}, timestamp version {report.timestamp}; clients still trust it by: {report.pin}")
