"""Signing a copy of 2 kB by DKIM, all the way from the message to the signed one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256

import dkim
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sender.compose import compose
from sender.dkim import Unsigned, signed
from tests.bench.compose import LINKS, sample
from tests.bench.harness import Bench, Ratio, Work, Wrong
from tests.signatures import ED25519, RSA, by_dkimpy
from tests.unit.samples import NOON
from tracepost.dkim_private import Key

NAME = "sign"
CHECKED = 5
BOTH = (RSA, ED25519)
PEM = RSA.private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())

Sign = Callable[[bytes], bytes]


def ours(keys: Sequence[Key], message: bytes) -> bytes:
    """As the sender does."""
    return signed(Unsigned(message, keys, NOON))


def dkimpy(message: bytes) -> bytes:
    """As its documentation does."""
    return bytes(dkim.sign(message, b"rsa", b"example.org", PEM, canonicalize=(b"relaxed", b"relaxed"))) + message


def bare(key: Key, message: bytes) -> bytes:
    """The mathematics alone: a digest of the message, and a signature of that."""
    return key.sign(sha256(message).digest())


@asynccontextmanager
async def signing(sign: Sign, count: int, keys: Sequence[Key], _: str) -> AsyncIterator[Work]:
    """So many messages; what has keys is verified."""
    messages = [compose(sample(number), LINKS, NOON) for number in range(count)]

    async def work() -> int:
        for message in messages:
            sign(message)
        return count

    yield work
    for message in messages[:CHECKED]:
        if keys and by_dkimpy(sign(message), keys) != [True] * len(keys):
            raise Wrong("a signature does not verify")


BENCH = Bench(
    NAME,
    "message",
    {
        "ours, RSA": partial(signing, partial(ours, (RSA,)), 1_000, (RSA,)),
        "ours, Ed25519": partial(signing, partial(ours, (ED25519,)), 3_000, (ED25519,)),
        "ours, both": partial(signing, partial(ours, BOTH), 1_000, BOTH),
        "dkimpy, RSA": partial(signing, dkimpy, 50, (RSA,)),
        "cryptography, RSA (limit)": partial(signing, partial(bare, RSA), 1_000, ()),
        "cryptography, Ed25519 (limit)": partial(signing, partial(bare, ED25519), 3_000, ()),
    },
    [
        Ratio("ours, RSA", "dkimpy, RSA", reach=10),
        Ratio("ours, both", "dkimpy, RSA", reach=8),
        Ratio("ours, RSA", "cryptography, RSA (limit)"),
        Ratio("ours, Ed25519", "cryptography, Ed25519 (limit)"),
    ],
)
