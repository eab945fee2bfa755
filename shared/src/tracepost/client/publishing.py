"""Publishes requests over AMQP: confirmed by the broker, and answered by the sender on a queue of our own."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from uuid import uuid4

import structlog
from aio_pika import Message
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage
from pydantic import ValidationError
from pydantic_core import from_json
from yarl import URL

from tracepost import requests
from tracepost.broker import NotConfirmed, Publisher, Unroutable
from tracepost.broker.session import Session
from tracepost.client.faults import Refused, Unanswered, Unconfirmed, Unreachable
from tracepost.client.results import Accepted
from tracepost.problems import Problem
from tracepost.requests import SendRequest
from tracepost.topology import REQUESTS

AGAIN = 5.0  # seconds until a request without an answer is published again


class Line:
    """One user's line to the broker; `timeout` is how long a confirm is waited for."""

    def __init__(self, url: str, timeout: float) -> None:
        _hand_on_logs()
        self._user = URL(url).user or "guest"
        self._publisher = Publisher(url, timeout=timeout)
        self._answers = Session("answers", url, self._listen)
        self._queue: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._waiting: dict[str, asyncio.Future[bytes | None]] = {}
        self._tasks = [asyncio.create_task(self._publisher.run())]

    async def close(self) -> None:
        """End both sessions."""
        for each in self._tasks:
            each.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def publish(self, request: SendRequest, lane: str) -> None:
        """Return when the broker has confirmed it; Unconfirmed, or Unreachable where no queue takes it."""
        await self._publish(request, lane)

    async def ask(self, request: SendRequest, lane: str, within: float) -> Accepted:
        """The sender's answer; Refused with its problem, Unanswered. Repeated, for the sender takes an id once."""
        if len(self._tasks) == 1:
            self._tasks.append(asyncio.create_task(self._answers.supervise()))
        end = time.monotonic() + within
        while True:
            answer = self._waiting[key := uuid4().hex] = asyncio.get_running_loop().create_future()
            try:
                await self._publish(request, lane, key, end)
                async with asyncio.timeout(min(AGAIN, max(0.0, end - time.monotonic()))):
                    if body := await answer:
                        return _accepted(body)
            except TimeoutError:
                if time.monotonic() >= end:
                    raise Unanswered(request.message_id) from None
            finally:
                del self._waiting[key]

    async def _publish(self, request: SendRequest, lane: str, key: str | None = None, end: float = 0.0) -> None:
        message = Message(requests.encode(request), content_type=requests.CONTENT_TYPE, user_id=self._user)
        if key is not None:
            message.reply_to, message.correlation_id = await self._own_queue(end), key
        try:
            await self._publisher.send(message, REQUESTS, f"send.{lane}")
        except NotConfirmed as error:
            raise Unconfirmed(request.message_id, error) from error
        except Unroutable as error:
            raise Unreachable(str(error)) from error

    async def _own_queue(self, end: float) -> str | None:
        """Where answers come; None while there is none: what is published matters more than its answer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, min(AGAIN, end - time.monotonic()))):
                return await asyncio.shield(self._queue)
        return None

    async def _listen(self, channel: AbstractChannel) -> None:
        queue = await channel.declare_queue(exclusive=True)
        await queue.consume(self._take, no_ack=True)
        self._queue.set_result(queue.name)
        self._answers.up()
        try:
            await asyncio.Event().wait()
        finally:
            self._queue = asyncio.get_running_loop().create_future()
            for key in self._waiting:  # their answers go to a queue that is gone: ask again
                self._answered(key, None)

    async def _take(self, message: AbstractIncomingMessage) -> None:
        self._answered(message.correlation_id or "", message.body)

    def _answered(self, key: str, body: bytes | None) -> None:
        answer = self._waiting.get(key)
        if answer and not answer.done():
            answer.set_result(body)


def _hand_on_logs() -> None:
    """Our log lines go to Python's logging, unless the program has set structlog up: not into its output."""
    if not structlog.is_configured():
        structlog.configure(
            processors=[structlog.stdlib.filter_by_level, structlog.processors.KeyValueRenderer(key_order=["event"])],
            wrapper_class=structlog.stdlib.BoundLogger,
            logger_factory=structlog.stdlib.LoggerFactory(),
        )


def _accepted(body: bytes) -> Accepted:
    with suppress(ValidationError):
        return Accepted.model_validate_json(body)
    raise Refused(Problem.model_validate(from_json(body)))
