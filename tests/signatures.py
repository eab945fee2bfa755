"""Who else verifies DKIM: dkimpy with records of our own, and Debian's OpenDKIM."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import dkim
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from local_stack import binaries
from tests.conftest import ROOT
from tracepost.dkim_private import Key

RSA = Key("example.org", "rsa", generate_private_key(65537, 2048))
ED25519 = Key("example.org", "ed", Ed25519PrivateKey.generate())
BOTH = (RSA, ED25519)
OPENDKIM = ROOT / ".local" / "peers" / "opendkim"

_PASSED = re.compile(r"dkim=pass (?:\(\d+-bit key\) )?header\.d=\S+ header\.i=\S+ header\.a=\S+ header\.s=(\S+)")


def key_files(folder: Path, keys: Sequence[Key]) -> str:
    """The setting of these keys, with their private halves in files."""
    for key in keys:
        pem = key.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (folder / f"{key.selector}.pem").write_bytes(pem)
    return ", ".join(f"{key.domain}:{key.selector}={folder}/{key.selector}.pem" for key in keys)


def by_dkimpy(mail: bytes, keys: Sequence[Key]) -> list[bool]:
    """Of each signature, from the first: whether it is right."""
    records = {f"{key.selector}._domainkey.{key.domain}.": key.record.encode() for key in keys}
    verifier = dkim.DKIM(mail)
    count = sum(name.lower() == b"dkim-signature" for name, _ in verifier.headers)
    return [_verifies(verifier, number, records) for number in range(count)]


def _verifies(verifier: dkim.DKIM, number: int, records: dict[str, bytes]) -> bool:
    try:
        return bool(verifier.verify(number, dnsfunc=lambda name, timeout=5: records.get(name.decode())))
    except dkim.DKIMException:
        return False


def by_opendkim(folder: Path, mail: bytes, keys: Sequence[Key]) -> list[str]:
    """The selectors of the signatures that are right; Missing where the program cannot be had."""
    if not OPENDKIM.exists():
        binaries.unpack("opendkim", OPENDKIM)
    records = "".join(f"{key.selector}._domainkey.{key.domain} {key.record}\n" for key in keys)
    (folder / "keys").write_text(records)
    (folder / "conf").write_text(f"TestPublicKeys {folder / 'keys'}\nMode v\nSyslog no\n")
    (folder / "mail").write_bytes(mail)
    libraries = [OPENDKIM / "usr/lib", *OPENDKIM.glob("usr/lib/*-linux-gnu")]
    done = subprocess.run(
        [OPENDKIM / "usr/sbin/opendkim", "-v", "-v", "-x", folder / "conf", "-t", folder / "mail"],
        env=os.environ | {"LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries))},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return _PASSED.findall(done.stdout)
