"""Puts the CA and the trust bundle where mitmproxy reads them: a tmpfs, owner only, as short as possible."""

from __future__ import annotations

import os
from pathlib import Path

import certifi

from bottle_addon.settings import Settings

CA_FILE = "mitmproxy-ca.pem"
TRUST_FILE = "upstream-trust.pem"


def _write(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)


def lay_out(settings: Settings) -> str | None:
    """Writes the files; returns the path of the trust bundle when the policy adds a CA."""
    confdir = Path(settings.confdir)
    confdir.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(confdir / CA_FILE, settings.ca_private_key_pem.rstrip() + "\n" + settings.ca_certificate_pem)
    if not settings.extra_ca_pem:
        return None
    bundle = confdir / TRUST_FILE
    _write(bundle, Path(certifi.where()).read_text() + "\n" + settings.extra_ca_pem)
    return str(bundle)


def forget_key(settings: Settings) -> None:
    """Removes the key file once mitmproxy holds the key in memory."""
    (Path(settings.confdir) / CA_FILE).unlink(missing_ok=True)
