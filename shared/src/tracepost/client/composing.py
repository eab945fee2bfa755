"""Makes a send request of what a caller has: an id of its own, names that Python can write, files."""

from __future__ import annotations

import base64
import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic_core import to_json
from uuid_utils.compat import uuid7

from tracepost import requests
from tracepost.client.faults import Refused
from tracepost.problems import Invalid
from tracepost.requests import SendRequest


def request(told: Mapping[str, Any] | SendRequest | None, fields: Mapping[str, Any]) -> SendRequest:
    """A valid request, with an id made for it if it has none; Refused names every fault. `from_` stands for `from`."""
    if isinstance(told, SendRequest):
        return told
    named = {name.removesuffix("_"): value for name, value in {**(told or {}), **fields}.items()}
    try:
        return requests.decode(to_json({"message_id": uuid7(), **named}))
    except Invalid as error:
        raise Refused(error.problem) from None


def attachment(file: str | Path, *, content_id: str | None = None, content_type: str | None = None) -> dict[str, Any]:
    """A file as an attachment; with a `content_id`, a part that the HTML shows as `cid:<content_id>`."""
    path = Path(file)
    kind = content_type or mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    told = {"filename": path.name, "content_type": kind, "content": base64.b64encode(path.read_bytes()).decode()}
    return told | ({"content_id": content_id} if content_id else {})
