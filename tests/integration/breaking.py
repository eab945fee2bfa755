"""What parsers are given in tests in place of `understand`: it does what the mail says."""

from __future__ import annotations

import os
import signal
import sys
import time
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bounce_ingest.report import Report


def obey(mail: bytes) -> bytes:
    """The mail in capitals; before that, the deed that its first word names."""
    return DEEDS.get(mail.partition(b" ")[0], bytes.upper)(mail)


def understand_or_die(mail: bytes) -> Report:
    """As in production, but for one mail."""
    from bounce_ingest.report import understand  # without it the others start sooner

    return understand(die(mail) if mail.startswith(b"die") else mail)


def hang(_: bytes) -> bytes:
    while True:
        time.sleep(60)


def spin(_: bytes) -> bytes:
    return bytes(next(number for number in count() if number < 0))


def eat(_: bytes) -> bytes:
    return b"".join(bytes(1 << 20) for _ in count())


def die(mail: bytes) -> bytes:
    os.kill(os.getpid(), signal.SIGKILL)
    return mail


def fail(mail: bytes) -> bytes:
    raise ValueError(mail)


def leave(_: bytes) -> bytes:
    sys.exit()


def work(mail: bytes) -> bytes:
    sum(range(50_000))
    return mail.upper()


def chatter(mail: bytes) -> bytes:
    print(mail)  # noqa: T201 - it must not be taken for an answer
    return mail.upper()


def environment(_: bytes) -> bytes:
    return repr(dict(os.environ)).encode()


DEEDS = {deed.__name__.encode(): deed for deed in (hang, spin, eat, die, fail, leave, work, chatter, environment)}
