"""Keys that are elsewhere: a PEM file by URI, a PKCS#11 token (SoftHSM), and services that are not there."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mirrornet.image.publishing.publish import publish
from mirrornet.image.publishing.resign import resign
from mirrornet.image.publishing.rotate import rotate
from mirrornet.image.trust.keyfiles import key_files, new_key, wants_pin
from mirrornet.image.trust.keys import first_root, keygen
from mirrornet.model.errors import InputError, LocalError

NOW = 1_800_000_000.0
MODULES = ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/pkcs11/libsofthsm2.so")


@pytest.fixture
def token(need: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A token of SoftHSM with keys 2 and 3; its label."""
    need("softhsm2-util")
    pkcs11 = pytest.importorskip("pkcs11")
    module = next((each for each in MODULES if Path(each).exists()), "")
    (tmp_path / "tokens").mkdir()
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path / 'tokens'}\n")
    monkeypatch.setenv("SOFTHSM2_CONF", str(tmp_path / "softhsm2.conf"))
    monkeypatch.setenv("PYKCS11LIB", module)
    monkeypatch.setenv("MIRRORNET_PIN", "1234")
    label = f"mirrornet {tmp_path.name}"
    subprocess.run(
        ["softhsm2-util", "--init-token", "--free", "--label", label, "--pin", "1234", "--so-pin", "5678"],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip
    library = pkcs11.lib(module)
    library.reinitialize()  # it may have been loaded by another test, with other tokens
    curve = pkcs11.util.ec.encode_named_curve_parameters("secp256r1")
    with library.get_token(token_label=label).open(user_pin="1234", rw=True) as session:
        for number in (2, 3):
            parameters = session.create_domain_parameters(
                pkcs11.KeyType.EC, {pkcs11.Attribute.EC_PARAMS: curve}, local=True
            )
            parameters.generate_keypair(store=True, id=bytes([number]), label=f"key {number}")
    return label


def test_keys_in_a_token(token: str, tmp_path: Path, client: Any, mirror: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, repo, image = tmp_path / "keys", tmp_path / "repo", tmp_path / "image"
    image.write_bytes(b"one")
    uri = f"hsm:{{}}?label={token.replace(' ', '+')}"
    keygen(keys, passphrase=None, now=NOW, uris={"root": [uri.format(2)]})
    assert [path.name for path in key_files(keys, "root")] == ["root.uri"] and wants_pin(keys)
    publish(image, "demo", repo, keys, now=NOW)
    here = client(first_root(keys))
    assert here.refresh(mirror(repo)).latest("demo").version == 1
    report = rotate(repo, keys, ["snapshot"], now=NOW, uris=[uri.format(3)])
    assert [path.name for path in report.made] == ["snapshot.uri"]
    assert report.replaced[0].suffix == ".pem"
    publish(image, "demo", repo, keys, now=NOW)
    assert here.refresh(mirror(repo)).latest("demo").version == 2
    stamp = (repo / "metadata/timestamp.json").read_bytes()
    monkeypatch.delenv("MIRRORNET_PIN")
    with pytest.raises(InputError, match="set MIRRORNET_PIN"):
        publish(image, "demo", repo, keys, now=NOW)
    monkeypatch.setenv("MIRRORNET_PIN", "4321")
    with pytest.raises(LocalError, match=r"snapshot\.uri: hsm:3\?.* does not sign .*PIN in MIRRORNET_PIN"):
        publish(image, "demo", repo, keys, now=NOW)
    assert (repo / "metadata/timestamp.json").read_bytes() == stamp
    with pytest.raises(LocalError, match=r"timestamp\+2\.uri: hsm:9"):
        rotate(repo, keys, ["timestamp"], now=NOW, uris=[uri.format(9).replace("mirrornet", "nowhere")])
    assert resign(repo, keys, now=NOW).timestamp == 4  # by the old key, which is there still


def test_a_file_elsewhere(publisher: Any, client: Any, mirror: Any, tmp_path: Path) -> None:
    publisher.publish(b"one")
    vault = tmp_path / "vault.pem"
    new_key(vault, b"secret")
    with pytest.raises(InputError, match=r"vault\.pem: is encrypted"):
        rotate(publisher.repo, publisher.keys, ["timestamp"], now=NOW, uris=[f"file:{vault}"])
    rotate(publisher.repo, publisher.keys, ["timestamp"], now=NOW, uris=[f"file:{vault}"], passphrase=b"secret")
    (path,) = key_files(publisher.keys, "timestamp")
    assert path.name == "timestamp.uri" and b"PRIVATE" not in path.read_bytes()
    resign(publisher.repo, publisher.keys, now=NOW, passphrase=b"secret")
    assert client(publisher.root).refresh(mirror(publisher.repo)).root_version == 2
    vault.unlink()
    new_key(vault, b"secret")
    with pytest.raises(InputError, match="holds another key now"):
        resign(publisher.repo, publisher.keys, now=NOW, passphrase=b"secret")
    vault.unlink()
    with pytest.raises(InputError, match=r"vault\.pem: the key of the role timestamp is not here"):
        resign(publisher.repo, publisher.keys, now=NOW)


@pytest.mark.parametrize("uri", ["ftp:key", "awskms:alias/none", "gcpkms:projects/x", "azurekms:vault/keys/x", "hv:x"])
def test_services_that_are_not_there(tmp_path: Path, uri: str) -> None:
    """What lacks is named, in one line; no half a set of keys stays."""
    with pytest.raises(
        (InputError, LocalError), match=r"there are no keys of the kind|pip install|does not sign"
    ) as told:
        keygen(tmp_path / "keys", passphrase=None, uris={"root": [uri]})
    assert "\n" not in str(told.value) and not (tmp_path / "keys").exists()


@pytest.mark.parametrize("text", ["", "{}", "[]", json.dumps({"uri": "hsm:", "keyid": "x", "public": {}})])
def test_a_line_that_is_none(publisher: Any, text: str) -> None:
    publisher.publish(b"one")
    (publisher.keys / "timestamp.pem").unlink()
    (publisher.keys / "timestamp.uri").write_text(text)
    with pytest.raises(InputError, match=r"timestamp\.uri: is no line about a key"):
        publisher.resign()
