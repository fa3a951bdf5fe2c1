"""Certificates for a lab's mirrors, signed by an authority that exists nowhere else.  openssl makes them."""

from __future__ import annotations

import subprocess
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from mirrornet.model.errors import LocalError

_NEW_KEY: Final = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout")


class Authority:
    """A certificate authority of the lab's own, in `folder`; programs trust it by SSL_CERT_FILE=`certificate`."""

    def __init__(self, folder: Path) -> None:
        self.certificate, self._key = folder / "authority.pem", folder / "authority.key"
        self._openssl("req", "-x509", *_NEW_KEY, self._key, "-out", self.certificate, "-subj", "/CN=lab", "-days", "30")

    def issue(self, host: str, folder: Path) -> tuple[Path, Path]:
        """(certificate, key) for `host`, as PEM files in `folder`."""
        certificate, key = folder / "certificate.pem", folder / "certificate.key"
        names = f"subjectAltName={'IP' if _is_address(host) else 'DNS'}:{host}"
        signed = ("-CA", self.certificate, "-CAkey", self._key, "-addext", names)
        self._openssl(
            "req", "-x509", *_NEW_KEY, key, "-out", certificate, "-subj", f"/CN={host}", "-days", "30", *signed
        )
        return certificate, key

    @staticmethod
    def _openssl(*arguments: str | Path) -> None:
        try:
            done = subprocess.run(["openssl", *map(str, arguments)], capture_output=True, text=True, check=False)
        except FileNotFoundError:
            raise LocalError("lab: there is no `openssl`: install Debian's openssl") from None
        if done.returncode:
            raise LocalError(f"lab: openssl: {done.stderr.strip().splitlines()[-1]}")


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
