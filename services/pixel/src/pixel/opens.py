"""Takes a request for a pixel: what kind of answer it gets, and the open that it was, as an event; pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache

from uuid_utils import uuid7

from pixel.verdict import Judgement
from tracepost import tokens
from tracepost.events import derived_text
from tracepost.tokens import Claim

_DAY_RULE = "day"


def token(url: bytes) -> bytes | None:
    """The token of a pixel's URL, whatever it holds; None for any other URL."""
    path = url.partition(b"?")[0]
    if not path.startswith(b"/"):
        path = b"/" + path.partition(b"://")[2].partition(b"/")[2]  # absolute, as a proxy asks (RFC 9112, 3.2.2)
    name = path[3:-4]
    if not path.startswith(b"/o/") or not path.endswith(b".gif") or not name or b"/" in name:
        return None
    return tokens.from_url(name.decode("latin-1"))


def encoded(claim: Claim, judgement: Judgement, network: str | None, now: datetime) -> bytes:
    """The event of an open at this time (UTC), as `events.encode` writes it, in a fifth of the time.

    In `day` mode it is one per delivery, day and verdict, and says the day alone.
    """
    if claim.flags == tokens.TRACK_DAY:
        day = now.replace(hour=0, minute=0, second=0, microsecond=0)
        same = derived_text("opened", claim.message_id, claim.recipient_no, day.date(), judgement.verdict)
        return _event(same, claim, day, _data(Judgement(judgement.verdict, _DAY_RULE), None))
    return _event(str(uuid7()), claim, now, _data(judgement, network))


def _event(id_: str, claim: Claim, time: datetime, data: str) -> bytes:
    return (
        f'{{"specversion":"1.0","id":"{id_}","source":"/tracepost/pixel","type":"tracepost.opened.v1",'
        f'"subject":"{claim.message_id}/{claim.recipient_no}","time":"{time.isoformat()[:-6]}Z",'
        f'"datacontenttype":"application/json","data":{data}}}'
    ).encode()


@lru_cache(maxsize=8192)
def _data(judgement: Judgement, network: str | None) -> str:
    fields: Mapping[str, str | None] = {**judgement._asdict(), "ip": network}
    told = {name: value for name, value in fields.items() if value is not None}
    return json.dumps(told, ensure_ascii=False, separators=(",", ":"))
