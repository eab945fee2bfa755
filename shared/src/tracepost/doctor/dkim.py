"""Judges whether the public half of a DKIM key is published as receivers need it (RFC 6376, 3.6; RFC 8463); pure."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from tracepost.dkim_private import Key
from tracepost.doctor.findings import Finding
from tracepost.doctor.publishing import record, tags

GOOD_BITS = 2048  # RFC 8301, 3.2


def of_domain(keys: Sequence[Key], domain: str) -> list[Key]:
    """The keys that sign for a domain: those of the nearest domain that has any, itself or above."""
    while domain and all(key.domain != domain for key in keys):
        domain = domain.partition(".")[2]
    return [key for key in keys if key.domain == domain]


def name(key: Key) -> str:
    """Where its public half stands."""
    return f"{key.selector}._domainkey.{key.domain}"


def without(domain: str) -> Finding:
    """No key signs for the domain."""
    remedy = (
        f"make a key with `openssl genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:2048 -out s1.pem`, name it in "
        f"DKIM_KEYS as {domain}:s1=/path/s1.pem, and examine again: this tells the record to publish"
    )
    return Finding(f"DKIM of {domain}", "warning", "no key of DKIM_KEYS signs for it", remedy)


def judge(key: Key, texts: Sequence[str]) -> list[Finding]:
    """What is published in place of our key; several faults may be found."""
    check = f"DKIM key {name(key)}"
    publish = f"publish {record(name(key), 'TXT', key.record)}"
    if not texts:
        return [Finding(check, "error", "is not published", publish)]
    if len(texts) > 1:
        return [Finding(check, "error", f"has {len(texts)} TXT records", f"remove all, and {publish}")]
    try:
        found = tags(texts[0])
    except ValueError as error:
        return [Finding(check, "error", f"the record is not valid: {error}", publish)]
    faults = [Finding(check, "error", fault, publish) for fault in _faults(key, found)]
    faults += [Finding(check, "warning", fault, remedy) for fault, remedy in _doubts(key, found)]
    return faults or [Finding(check, "ok", f"{key.algorithm}{_bits(key)} is published")]


def _faults(key: Key, found: Mapping[str, str]) -> Iterator[str]:
    if found.get("v", "DKIM1") != "DKIM1" or (next(iter(found), "v") != "v" and "v" in found):
        yield "the record does not begin with v=DKIM1"
    if "p" not in found:
        yield "the record has no p="
    elif not (published := "".join(found["p"].split())):
        yield "the key is revoked: p= is empty"
    elif _raw(published) != _raw(tags(key.record)["p"]):
        yield "another key is published than the one that we sign with"
    if (kind := found.get("k", "rsa")) != key.algorithm:
        yield f"k={kind} is published, and the key is {key.algorithm}"
    if "h" in found and "sha256" not in _listed(found["h"]):
        yield f"h={found['h']} does not allow sha256, by which we sign"
    if "s" in found and not {"*", "email"} & _listed(found["s"]):
        yield f"s={found['s']} keeps the key from mail"


def _doubts(key: Key, found: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    if "y" in _listed(found.get("t", "")):
        yield "t=y says that the key is only being tried; its signatures count as none", "take t=y out of the record"
    if isinstance(key.private, RSAPrivateKey) and key.private.key_size < GOOD_BITS:
        remedy = f"make one of {GOOD_BITS} bits under a new selector, and name it in DKIM_KEYS with the day it begins"
        yield f"it has {key.private.key_size} bits, which some receivers take for weak", remedy


def _bits(key: Key) -> str:
    return f" with {key.private.key_size} bits" if isinstance(key.private, RSAPrivateKey) else ""


def _listed(text: str) -> set[str]:
    return {each.strip().lower() for each in text.split(":")}


def _raw(text: str) -> bytes | str:
    try:
        return b64decode(text, validate=True)
    except ValueError:
        return text
