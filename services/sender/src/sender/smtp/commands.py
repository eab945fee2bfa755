"""Writes the commands of a mail transaction with the extensions that the server offers; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NoReturn

Notify = Literal["NEVER", "SUCCESS", "FAILURE", "DELAY"]

_NOT_XTEXT = re.compile(rb"[^!-*,-<>-~]")
_NOT_UTF8_XTEXT = re.compile(r"[^!-*,-<>-\[\]-~]")
# Nothing that a server could take for the end of the path, or of the command.
_NO_ADDRESS = re.compile("[\0-\x20\x7f-\x9f<>\ud800-\udfff]")
_QUOTED = re.compile(r'\A"(?:[^"\\]|\\.)*"(?=@)')


@dataclass(frozen=True, slots=True)
class Envelope:
    """From whom and to whom; `size` in bytes; `utf8`: the headers need SMTPUTF8; the rest asks for DSNs (RFC 3461)."""

    return_path: str
    recipient: str
    size: int
    utf8: bool = False
    eight_bit: bool = False
    envid: str | None = None
    notify: tuple[Notify, ...] = ()
    orcpt: str | None = None
    ret: Literal["FULL", "HDRS"] | None = None


class Refused(Exception):
    """The message cannot be sent to this server; worded as the server's own reply would be."""

    def __init__(self, stage: Literal["mail", "rcpt"], code: int, text: str) -> None:
        super().__init__(text)
        self.stage, self.code, self.text = stage, code, text


def mail(envelope: Envelope, offered: Mapping[str, str]) -> bytes:
    """The MAIL command; raises Refused when the server lacks what the message needs."""
    utf8 = envelope.utf8 or not (envelope.return_path + envelope.recipient).isascii()
    if utf8 and "SMTPUTF8" not in offered:
        raise Refused("mail", 553, "5.6.7 not sent: the message needs SMTPUTF8, which the server does not offer")
    command = f"MAIL FROM:<{_path('mail', envelope.return_path)}>"
    if "SIZE" in offered:
        command += f" SIZE={_allowed(envelope.size, offered['SIZE'])}"
    if envelope.eight_bit and "8BITMIME" in offered:
        command += " BODY=8BITMIME"
    if utf8:
        command += " SMTPUTF8"
    if "DSN" in offered:
        command += _parameter("RET", envelope.ret) + _parameter("ENVID", envelope.envid and xtext(envelope.envid))
    return f"{command}\r\n".encode()


def rcpt(envelope: Envelope, offered: Mapping[str, str]) -> bytes:
    """The RCPT command."""
    command = f"RCPT TO:<{_path('rcpt', envelope.recipient)}>"
    if "DSN" in offered:
        command += _parameter("NOTIFY", ",".join(envelope.notify))
        command += _parameter("ORCPT", envelope.orcpt and _original(envelope.orcpt))
    return f"{command}\r\n".encode()


def xtext(text: str) -> str:
    """RFC 3461, section 4: what is not printable, and + and =, as +XX."""
    return _NOT_XTEXT.sub(lambda found: b"+%02X" % found[0][0], text.encode()).decode("ascii")


def _parameter(name: str, value: str | None) -> str:
    return f" {name}={value}" if value else ""


def _original(address: str) -> str:
    if address.isascii():
        return f"rfc822;{xtext(address)}"
    return "utf-8;" + _NOT_UTF8_XTEXT.sub(lambda found: f"\\x{{{ord(found[0]):X}}}", address)  # RFC 6533, section 3


def _allowed(size: int, most: str) -> int:
    # 0 or nothing is no limit (RFC 1870); whatever is no number is not one either.
    limit = int(most) if most.isascii() and most.isdecimal() and len(most) <= 20 else 0
    if 0 < limit < size:
        _refuse_size(size, limit)
    return size


def _refuse_size(size: int, limit: int) -> NoReturn:
    words = f"5.3.4 not sent: the message has {size} bytes, the server takes at most {limit}"
    raise Refused("mail", 552, words)


def _path(stage: Literal["mail", "rcpt"], address: str) -> str:
    # A quoted local part may hold spaces and angle brackets, but no control characters.
    bare = _QUOTED.sub(lambda found: re.sub("[ <>]", "", found[0]), address)
    if _NO_ADDRESS.search(bare):
        raise Refused(stage, 553, "5.1.3 not sent: the address holds characters that no address may hold")
    return address
