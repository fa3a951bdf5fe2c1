"""A Debian package of our own, for a guest to be upgraded with where no network is."""

from __future__ import annotations

import base64
import os
import subprocess
from pathlib import Path

_CONTROL = """Package: lab-package
Version: {version}
Architecture: all
Maintainer: nobody <nobody@lab.example>
Description: makes the guest another version
"""
_POSTINST = "#!/bin/sh\nset -e\necho {version} >/etc/guest-version\n"


def installing(version: int, folder: Path) -> list[str]:
    """The command that installs the package in an image by its own dpkg.  /etc/guest-version is `version` then."""
    root = folder / "package"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(_CONTROL.format(version=version))
    (root / "DEBIAN/postinst").write_text(_POSTINST.format(version=version))
    (root / "DEBIAN/postinst").chmod(0o755)
    (root / "usr/share/lab-package").mkdir(parents=True)
    (root / "usr/share/lab-package/data").write_bytes(os.urandom(60_000))
    subprocess.run(["dpkg-deb", "--root-owner-group", "-b", root, folder / "lab.deb"], check=True, capture_output=True)
    encoded = base64.b64encode((folder / "lab.deb").read_bytes()).decode()
    return ["/bin/sh", "-c", f"echo {encoded} | base64 -d >/tmp/lab.deb && dpkg -i /tmp/lab.deb && rm /tmp/lab.deb"]
