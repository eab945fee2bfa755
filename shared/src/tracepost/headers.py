"""What a header of a mail may be called and may say; pure."""

from __future__ import annotations

import re
from email.errors import MessageError
from email.header import decode_header, make_header

LONGEST_WORD = 900  # RFC 5322 allows a line 998, and the header's name stands there too

_CONTROL = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_NAME = re.compile(r"[!-9;-~]{1,76}")
_HOW_IT_CAME = {"message-id", "return-path", "received", "dkim-signature", "authentication-results", "feedback-id"}
_IN_FIELDS = {
    *("from", "sender", "reply-to", "to", "cc", "bcc", "subject", "date", "list-unsubscribe", "list-unsubscribe-post"),
    *("mime-version", "content-type", "content-transfer-encoding", "content-disposition", "content-id"),
}


def safe(text: str) -> str:
    """The text, if no reader of it comes upon a line break; ValueError says what is wrong with it."""
    decoded = decode(text)
    if _CONTROL.search(text) or _CONTROL.search(decoded):
        raise ValueError("holds a line break or another control character; remove it")
    if any(len(word) > LONGEST_WORD for word in text.split()):
        raise ValueError(f"holds a word of more than {LONGEST_WORD} characters, which no line can hold; shorten it")
    return storable(text)


def decode(text: str) -> str:
    """The text with its encoded words read (RFC 2047); ValueError if they cannot be."""
    # An encoded word hides line breaks from a look at the raw text, and the library would set them free.
    try:
        return str(make_header(decode_header(text))) if "=?" in text else text
    except (MessageError, UnicodeError, LookupError, ValueError):
        raise ValueError("holds an encoded word that cannot be decoded; write the text as plain Unicode") from None


def storable(text: str) -> str:
    """The text, if PostgreSQL can keep it and a mail can hold it; ValueError otherwise."""
    if "\0" in text or _SURROGATE.search(text):
        raise ValueError("holds U+0000 or half a surrogate pair, which no mail may hold; remove it")
    return text


def name(text: str) -> str:
    """The name of a header that a client adds; ValueError if it is none, or one that a request has a field for."""
    if text.lower() in _IN_FIELDS:
        raise ValueError(f"{text} is set by Tracepost; use the request's own field for it, or leave it out")
    return whole_name(text)


def whole_name(text: str) -> str:
    """The name of a header in a whole mail; ValueError if it is none, or tells of a way that the mail has not gone."""
    if not _NAME.fullmatch(text):
        raise ValueError(f"{text[:80]!r} is no header name")
    if text.lower() in _HOW_IT_CAME or text.lower().startswith(("tracepost-", "resent-", "arc-")):
        raise ValueError(f"{text} is set by Tracepost; leave it out")
    return text
