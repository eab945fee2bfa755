"""The client for code without asyncio: the same, with a loop in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Generator, Mapping
from concurrent.futures import CancelledError
from typing import Any, Self, TypeVar
from uuid import UUID

from tracepost.client.asynchronous import AsyncClient, Lane
from tracepost.client.results import Accepted, Change, Message
from tracepost.requests import SendRequest

Answer = TypeVar("Answer")


class Client:
    """As AsyncClient, whose words hold here too; one may be used by several threads at once."""

    def __init__(
        self,
        *,
        amqp_url: str | None = None,
        api_url: str | None = None,
        sender_url: str | None = None,
        api_key: str | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._client = AsyncClient(
            amqp_url=amqp_url, api_url=api_url, sender_url=sender_url, api_key=api_key, timeout=timeout
        )
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="tracepost", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._client.__aenter__())
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._run(self._loop.shutdown_asyncgens())
            self._run(self._client.__aexit__())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def publish(
        self, request: Mapping[str, Any] | SendRequest | None = None, /, *, lane: Lane = "normal", **fields: Any
    ) -> UUID:
        """The id of a request that the broker has confirmed; see AsyncClient.publish."""
        return self._run(self._client.publish(request, lane=lane, **fields))

    def send(
        self,
        request: Mapping[str, Any] | SendRequest | None = None,
        /,
        *,
        lane: Lane = "normal",
        answer_within: float = 15.0,
        **fields: Any,
    ) -> Accepted:
        """The same, with the sender's word; see AsyncClient.send."""
        return self._run(self._client.send(request, lane=lane, answer_within=answer_within, **fields))

    def status(self, message_id: UUID | str) -> Message:
        """Where the message stands."""
        return self._run(self._client.status(message_id))

    def wait_for(self, message_id: UUID | str, *statuses: str, timeout: float = 60.0) -> Message:
        """The message as soon as it has one of the statuses; see AsyncClient.wait_for."""
        return self._run(self._client.wait_for(message_id, *statuses, timeout=timeout))

    def changes(self, cursor: str | None = None) -> Generator[Change, None, None]:
        """Every change from now on, or after a cursor; see AsyncClient.changes."""
        found = self._client.changes(cursor)
        try:
            while True:
                yield self._run(found.__anext__())
        finally:
            if self._thread.is_alive():
                self._run(found.aclose())

    def _run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        if not self._thread.is_alive():
            work.close()
            raise RuntimeError("use the client in a block: with Client() as tracepost")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except (KeyboardInterrupt, CancelledError):
            future.cancel()
            raise
