"""The HTTP door: takes send requests of those who have no AMQP, and publishes them like everybody else's."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any
from uuid import UUID

from aio_pika import Message
from aiohttp import web
from pydantic_core import from_json, to_json
from uuid_utils.compat import uuid7

from sender.apps import APP_HEADER, override_refused, sender_refused
from sender.copies import rfc_message_id
from sender.settings import SenderSettings
from sender.store import Queue
from tracepost import requests
from tracepost.addresses import parse
from tracepost.broker import NotConfirmed, Publisher, Unroutable
from tracepost.http import client_of
from tracepost.keys import Client, Keys
from tracepost.problems import Invalid, Problem
from tracepost.requests import SendRequest
from tracepost.topology import REQUESTS

LANES = ("normal", "bulk")
LONGEST_KEY = 255


@dataclass(frozen=True, slots=True)
class Door:
    """What the door needs; `user` is the AMQP user that we publish as."""

    queue: Queue
    publisher: Publisher
    settings: SenderSettings
    keys: Keys
    user: str

    async def send(self, request: web.Request) -> web.Response:
        """`POST /v1/messages`: 202 when the broker has confirmed the request."""
        client = client_of(request, self.keys, "send")
        lane = request.query.get("lane", "normal")
        if lane not in LANES:
            raise Invalid(Problem(code="invalid-lane", title="The lane is normal or bulk", status=422))
        asked = await self._identified(request, client, await request.read())
        app = client.app if client.app != "*" else self.settings.default_app or client.client
        self._check(client, app, asked)
        await self._publish(request, app, asked, lane)
        told = {
            "message_id": asked.message_id,
            "rfc_message_id": rfc_message_id(asked.message_id, self.settings.bounce_domain),
        }
        location = f"{self.settings.status_url}/v1/messages/{asked.message_id}"
        headers = {"Location": location}
        return web.Response(body=to_json(told), status=202, content_type="application/json", headers=headers)

    async def _identified(self, request: web.Request, client: Client, body: bytes) -> SendRequest:
        """The request, with an id of our making if it has none: the same id for the same Idempotency-Key."""
        fields = _fields(body)
        key = request.headers.get("Idempotency-Key")
        if fields is None or "message_id" in fields:
            if key is not None:
                raise _bad_key("give message_id or Idempotency-Key, not both")
            return requests.decode(body)
        made = requests.decode(_with_id(fields, uuid7()))
        if key is None:
            return made
        if not 1 <= len(key) <= LONGEST_KEY:
            raise _bad_key(f"it has {len(key)} characters; 1 to {LONGEST_KEY} are taken")
        digest = sha256(body).digest()
        known_id, known_digest = await self.queue.idempotent(client.client, key, made.message_id, digest)
        if known_digest != digest:
            raise _bad_key("it was used before with other content; make a new key for a new message")
        return requests.decode(_with_id(fields, known_id))

    def _check(self, client: Client, app: str, asked: SendRequest) -> None:
        domain = parse(asked.from_).domain
        if not {"*", domain} & {each.lower() for each in client.sender_domains}:
            raise sender_refused(f"the key of {client.client} may not send from {domain}")
        may = "override" in client.scopes and self.keys.may_override(app)
        if asked.override_suppression and not may:
            raise override_refused(f"the key of {client.client} lacks the scope override for {app}; leave it out")

    async def _publish(self, request: web.Request, app: str, asked: SendRequest, lane: str) -> None:
        headers = {APP_HEADER: app, "traceparent": request.headers.get("traceparent", "")}
        body = requests.encode(asked)
        message = Message(body, content_type=requests.CONTENT_TYPE, headers=dict(headers), user_id=self.user)
        try:
            await self.publisher.send(message, REQUESTS, f"send.{lane}")
        except (NotConfirmed, Unroutable) as error:
            detail = f"nothing was taken, try again: {error}"
            raise Invalid(Problem(code="unavailable", title="The queue is away", status=503, detail=detail)) from None


def _fields(body: bytes) -> dict[str, Any] | None:
    try:
        fields = from_json(body)
    except ValueError:
        return None
    return fields if isinstance(fields, dict) else None


def _with_id(fields: dict[str, Any], message_id: UUID) -> bytes:
    return to_json({"message_id": message_id, **fields})


def _bad_key(detail: str) -> Invalid:
    return Invalid(Problem(code="idempotency-key", title="The Idempotency-Key cannot be used", detail=detail))
