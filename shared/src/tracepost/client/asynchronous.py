"""The client for code with asyncio: publish a request, and follow what becomes of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar
from uuid import UUID

import aiohttp

from tracepost.client import composing
from tracepost.client.api import SILENCE, Api, frames, of_service
from tracepost.client.faults import Refused, Unconfirmed, Unreachable
from tracepost.client.results import UNDER_WAY, Accepted, Change, Message
from tracepost.client.settings import places
from tracepost.requests import SendRequest

if TYPE_CHECKING:
    from tracepost.client.publishing import Line

Lane = Literal["normal", "bulk"]
Answer = TypeVar("Answer")

PAUSES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
POLL = 30.0  # seconds that a question for changes waits for one


class AsyncClient:
    """Publishes over AMQP where it has an `amqp_url`, else at the sender's HTTP door; reads status-store's API.

    What is not given is `TRACEPOST_AMQP_URL`, `TRACEPOST_API_URL` and so on. `timeout` is how many seconds a request
    may take until it is confirmed. To be used in one `async with` block.
    """

    def __init__(
        self,
        *,
        amqp_url: str | None = None,
        api_url: str | None = None,
        sender_url: str | None = None,
        api_key: str | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._places = places(amqp_url=amqp_url, api_url=api_url, sender_url=sender_url, api_key=api_key)
        self._timeout = timeout
        self._session: aiohttp.ClientSession | None = None
        self._line: Line | None = None

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._line:
            await self._line.close()
        if self._session:
            await self._session.close()

    async def publish(
        self, request: Mapping[str, Any] | SendRequest | None = None, /, *, lane: Lane = "normal", **fields: Any
    ) -> UUID:
        """The id of a request that is safe: the broker has confirmed it. A sender may refuse it yet, see `send`.

        Fields are those of a send request, `from_` for `from`; an id is made. Refused names every fault before anything
        is published. Unconfirmed: send it again with the id that it names.
        """
        told = composing.request(request, fields)
        if self._places.amqp_url:
            await self._to_broker().publish(told, lane)
        else:
            await self._at_the_door(told, lane)
        return told.message_id

    async def send(
        self,
        request: Mapping[str, Any] | SendRequest | None = None,
        /,
        *,
        lane: Lane = "normal",
        answer_within: float = 15.0,
        **fields: Any,
    ) -> Accepted:
        """The same, and wait for the sender's word: the Message-ID, or Refused with its problem; Unanswered."""
        told = composing.request(request, fields)
        if self._places.amqp_url:
            return await self._to_broker().ask(told, lane, answer_within)
        return await self._at_the_door(told, lane)

    async def status(self, message_id: UUID | str) -> Message:
        """Where the message stands, with every delivery; Refused with status 404 while nothing is known of it."""
        return Message.model_validate(await self._store.get(f"messages/{message_id}"))

    async def wait_for(self, message_id: UUID | str, *statuses: str, timeout: float = 60.0) -> Message:
        """The message as soon as it has one of the statuses, by default any that is not `UNDER_WAY`.

        TimeoutError says how it stands instead.
        """
        end, seen = time.monotonic() + timeout, "nothing is known of it"
        async for found in self._states(message_id, end):
            if found.status in statuses or (not statuses and found.status not in UNDER_WAY):
                return found
            seen = f"it is {found.status}"
        wanted = " or ".join(statuses) or "done"
        raise TimeoutError(f"message {message_id} is not {wanted} within {timeout:g} s: {seen}")

    async def now(self) -> str:
        """The cursor after all that has changed until now."""
        cursor: str = (await self._store.get("changes", limit=1))["cursor"]
        return cursor

    async def changes(self, cursor: str | None = None) -> AsyncGenerator[Change, None]:
        """Every change of a message from now on, or after a cursor, for ever; while status-store is away it waits.

        Keep the cursor of what you have worked through. Refused with status 410: it is too old, begin with "0".
        """
        failures = 0
        while True:
            try:
                page = await self._store.get("changes", cursor=cursor, wait=POLL, timeout=POLL + 15)
            except (Refused, Unreachable) as error:
                if not _may_pass(error):
                    raise
                await asyncio.sleep(_pause(failures))
                failures += 1
                continue
            failures, cursor = 0, page["cursor"]
            for each in page["changes"]:
                yield Change.model_validate(each)

    @property
    def _store(self) -> Api:
        return self._api("status-store")

    def _api(self, service: Literal["status-store", "sender"]) -> Api:
        if self._session is None:
            raise RuntimeError("use the client in a block: async with AsyncClient() as tracepost")
        return of_service(service, self._places, self._session)

    def _to_broker(self) -> Line:
        if self._line is None:
            from tracepost.client.publishing import Line  # which takes a while to import, and is not for everybody

            self._line = Line(self._places.amqp_url, self._timeout)
        return self._line

    async def _at_the_door(self, request: SendRequest, lane: Lane) -> Accepted:
        """Asked again, with the same id, for as long as it may be answered soon."""
        end, failures = time.monotonic() + self._timeout, 0
        asked = request.model_dump(mode="json", by_alias=True, exclude_unset=True)
        while True:
            try:
                return Accepted.model_validate(await self._api("sender").post("messages", asked, lane=lane))
            except (Refused, Unreachable) as error:
                if not _may_pass(error):
                    raise
                if time.monotonic() + (pause := _pause(failures)) > end:
                    raise Unconfirmed(request.message_id, error) from error
            await asyncio.sleep(pause)
            failures += 1

    async def _states(self, message_id: UUID | str, end: float) -> AsyncIterator[Message]:
        """The message, and again when it may have changed, until then; what kept us from the last look is raised."""
        failures, fault = 0, None
        while True:
            try:
                found = await self.status(message_id)
            except (Refused, Unreachable) as error:
                unknown = isinstance(error, Refused) and error.problem.code == "unknown-message"
                if not (unknown or _may_pass(error)):
                    raise
                failures, fault = failures + 1, None if unknown else error
            else:
                failures, fault = 0, None
                yield found
                await self._changed(found, end)
            if (left := end - time.monotonic()) <= 0:
                break
            await asyncio.sleep(min(left, _pause(failures)))
        if fault:
            raise fault

    async def _changed(self, known: Message, end: float) -> None:
        """Return when there may be a newer version, or it is time."""
        limit = aiohttp.ClientTimeout(total=max(0.01, end - time.monotonic()), sock_read=SILENCE)
        path = f"messages/{known.message_id}"
        try:
            sealed = await self._store.post(f"{path}/view-token")
            query = {"token": sealed["token"]}
            async with self._store.answer("GET", f"{path}/badge/live", query=query, timeout=limit) as stream:
                async for badge in frames(stream):
                    if badge["version"] > known.version:
                        return
        except (Refused, Unreachable) as error:
            if not _may_pass(error):
                raise


def _may_pass(error: Refused | Unreachable) -> bool:
    """Whether asking again may help."""
    return isinstance(error, Unreachable) or error.transient


def _pause(failures: int) -> float:
    return PAUSES[min(failures, len(PAUSES) - 1)]
