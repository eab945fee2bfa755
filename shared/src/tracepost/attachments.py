"""Attachments of a send request, in base64; pure."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, EncodedBytes, StringConstraints, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from tracepost import headers

_TOKEN = r"[!#$%&'*+.^_`{|}~0-9A-Za-z-]+"  # noqa: S105 - RFC 2045, 5.1
_CONTENT_TYPE = re.compile(rf'(?P<type>{_TOKEN})/{_TOKEN}(?: *; *{_TOKEN}=(?:{_TOKEN}|"[ !#-\[\]-~]*"))*', re.ASCII)
_OF_OURS = re.compile(r"; *(?:name|boundary)\*?[0-9*]*=", re.IGNORECASE)
_CONTENT_ID = re.compile(r"[\w!#$%&'*+/=?^`{|}~.-]+(?:@[\w.-]+)?", re.ASCII)


class _Base64:
    """RFC 4648, section 4; line breaks are admitted, nothing else is."""

    @classmethod
    def decode(cls, data: bytes) -> bytes:
        """From base64."""
        try:
            return b64decode(data.translate(None, b"\r\n"), validate=True)
        except Error:
            raise PydanticCustomError("base64", "is no base64 (RFC 4648, section 4); encode the bytes anew") from None

    @classmethod
    def encode(cls, value: bytes) -> bytes:
        """Into base64."""
        return b64encode(value)

    @classmethod
    def get_json_format(cls) -> str:
        """What JSON Schema calls it."""
        return "base64"


def _content_type(text: str) -> str:
    found = _CONTENT_TYPE.fullmatch(text)
    if not found:
        raise ValueError("is no content type; write it like application/pdf or text/csv; charset=utf-8")
    if found["type"].lower() in ("multipart", "message"):
        raise ValueError("is a mail of its own; attach it as application/octet-stream, with a filename in .eml")
    if _OF_OURS.search(text):
        raise ValueError("gives name or boundary, which Tracepost writes; give filename instead")
    return text


def _content_id(text: str) -> str:
    if not _CONTENT_ID.fullmatch(text):
        raise ValueError("is no Content-ID; write it like logo or logo@example.org, as the HTML's cid: names it")
    return text


Base64 = Annotated[bytes, EncodedBytes(encoder=_Base64)]
FileName = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255), AfterValidator(headers.safe)
]
ContentType = Annotated[str, StringConstraints(max_length=250), AfterValidator(_content_type)]
ContentId = Annotated[str, StringConstraints(max_length=250), AfterValidator(_content_id)]


class Attachment(BaseModel):
    """A file; with a `content_id` it is a part of the HTML, which shows it as `cid:<content_id>`."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    filename: FileName | None = None
    content_type: ContentType = "application/octet-stream"
    content: Base64
    content_id: ContentId | None = None


def check(attachments: tuple[Attachment, ...], *, has_html: bool) -> tuple[Attachment, ...]:
    """The same, if the HTML can name each part of it; ValidationError names those that it cannot."""
    seen: set[str] = set()
    faults = []
    for number, each in enumerate(attachments):
        if each.content_id is None:
            continue
        if not has_html:
            faults.append((number, "is for what html shows; give html, or leave it out"))
        if each.content_id in seen:
            faults.append((number, "is that of another attachment; give each its own"))
        seen.add(each.content_id)
    if faults:
        raise _invalid(faults)
    return attachments


def _invalid(faults: Iterable[tuple[int, str]]) -> ValidationError:
    return ValidationError.from_exception_data(
        "attachments",
        [
            InitErrorDetails(
                type=PydanticCustomError("content_id", "{words}", {"words": words}), loc=(n, "content_id"), input=None
            )
            for n, words in faults
        ],
    )
