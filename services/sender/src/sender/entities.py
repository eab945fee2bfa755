"""Puts MIME entities together: texts, multiparts, and attached files; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from sender import fields, parameters
from sender.fields import Fields
from sender.parts import Part, base64, part
from tracepost.attachments import Attachment
from tracepost.pixels import strip_pixels
from tracepost.requests import SendRequest

_END = b"\r\n"


class Entity(NamedTuple):
    """Its header, and its body: what stands before the HTML, that, and what stands after it."""

    fields: Fields
    start: bytes
    html: Part | None = None
    end: bytes = b""


def entity(request: SendRequest) -> Entity:
    """All that the mail says; the least first (RFC 2046, 5.1.4)."""
    key = request.message_id.hex
    texts = list(_texts(request, key.encode()))
    inline = [_file(each) for each in request.attachments if each.content_id is not None]
    if inline:
        texts[-1] = _multipart("related", f"=r_{key}", [texts[-1], *inline], 'type="text/html"')
    whole = texts[0] if len(texts) == 1 else _multipart("alternative", f"=_{key}", texts)
    if attached := [_file(each) for each in request.attachments if each.content_id is None]:
        return _multipart("mixed", f"=m_{key}", [whole, *attached])
    return whole


def _texts(request: SendRequest, key: bytes) -> Iterator[Entity]:
    if request.text is not None:
        text = part("plain", request.text, key)
        yield Entity(fields.verbatims(*text.fields), text.body())
    if request.html is not None:
        # A quoted mail may hold its pixel still: whoever opens the answer would be taken for its reader.
        html = part("html", strip_pixels(request.html), key)
        yield Entity(fields.verbatims(*html.fields), b"", html)


def _multipart(kind: str, boundary: str, entities: Sequence[Entity], *parameters: str) -> Entity:
    """At most one of the entities has HTML. No base64 holds the boundary, and no text does: it was looked for."""
    line = f"--{boundary}\r\n".encode()
    start: list[bytes] = []
    end: list[bytes] = []
    html: Part | None = None
    for each in entities:
        (end if html else start).extend((line, fields.joined(each.fields), _END, each.start))
        html = html or each.html
        (end if html else start).extend((each.end, _END))
    end.append(f"--{boundary}--\r\n".encode())
    value = "; ".join([f"multipart/{kind}", *parameters, f'boundary="{boundary}"'])
    named = [("Content-Type", fields.unstructured("Content-Type", value))]
    return Entity(named, b"".join(start), html, b"".join(end))


def _file(attachment: Attachment) -> Entity:
    named = [
        _field("Content-Type", attachment.content_type, attachment.filename and parameters.name(attachment.filename)),
        ("Content-Transfer-Encoding", fields.verbatim("Content-Transfer-Encoding", "base64")),
        _field(
            "Content-Disposition",
            "attachment" if attachment.content_id is None else "inline",
            attachment.filename and parameters.filename(attachment.filename),
        ),
    ]
    if attachment.content_id is not None:
        named.append(("Content-ID", fields.verbatim("Content-ID", f"<{attachment.content_id}>")))
    fields.check(fields.joined(named).removesuffix(_END), [name.encode() for name, _ in named])
    return Entity(named, base64(attachment.content))


def _field(name: str, value: str, further: Sequence[str] | str | None) -> tuple[str, str]:
    if not further:
        return name, fields.verbatim(name, value)
    return name, fields.folded(name, [f"{fields.printable(name, value)};", *further])
