"""Handles a request: says at once or after the open is safe how it is answered."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import get_args

from pixel.answers import Kind
from pixel.http1 import Request
from pixel.opens import encoded, token
from pixel.places import Atlas
from pixel.verdict import counts, judge
from tracepost import metrics
from tracepost.events import Verdict
from tracepost.limit import Limit
from tracepost.tokens import Keyring

# Makes an encoded event safe, then calls.
Keep = Callable[[bytes, Callable[[], None]], None]

# To look a counter up by its label takes longer than to count.
_WHAT = (*get_args(Verdict), "elsewhere", "invalid", "not-an-open", "own")
_COUNTED = {what: metrics.PIXELS.labels(what) for what in _WHAT}


@dataclass(frozen=True, slots=True)
class Own:
    """By which our own people are known: parts of their user agents, in lower case. Their networks are in the atlas."""

    agents: tuple[str, ...] = ()

    def seen(self, agent: str) -> bool:
        """Whether it is one of them."""
        return bool(self.agents) and any(part in agent.lower() for part in self.agents)


def receive(
    keyring: Keyring, atlas: Atlas, own: Own, limit: Limit, keep: Keep, request: Request, answer: Callable[[Kind], None]
) -> None:
    """Answer a pixel alike whatever its token holds; an open is made safe first."""
    asked = token(request.url)
    if asked is None:
        _COUNTED["elsewhere"].inc()
        answer("not-found")
        return
    if (open_ := _open(keyring, atlas, own, limit, request, asked)) is None:
        answer("pixel")
    else:
        keep(open_, lambda: answer("pixel"))


def _open(keyring: Keyring, atlas: Atlas, own: Own, limit: Limit, request: Request, asked: bytes) -> bytes | None:
    """The event, or None when there is none to tell of; counted in any case."""
    claim = keyring.verify("pixel", asked)
    if claim is None:
        _COUNTED["invalid"].inc()
        return None
    if not counts(request.method, request.headers):
        _COUNTED["not-an-open"].inc()
        return None
    place = atlas.place(request.peer, request.headers)
    if place.own or own.seen(request.headers.get("user-agent", "")):
        _COUNTED["own"].inc()
        return None
    judgement = judge(request.headers, relayed=place.relayed)
    _COUNTED[judgement.verdict].inc()
    if not limit.admits((claim.message_id.int, claim.recipient_no, judgement.verdict), time.monotonic()):
        metrics.OPENS_LIMITED.labels(judgement.verdict).inc()
        return None
    return encoded(claim, judgement, place.network, datetime.now(UTC))
