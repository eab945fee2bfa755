"""The HTTP API of a service as its clients ask it: JSON both ways, problem documents as exceptions."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import urlsplit

import aiohttp
from pydantic import ValidationError
from pydantic_core import to_json

from tracepost.client.faults import Refused, Unreachable
from tracepost.client.settings import Places
from tracepost.problems import Problem

Service = Literal["status-store", "sender", "bounce-ingest"]

TIMEOUT = 30.0
SILENCE = 45.0  # of a stream; its heartbeats come every 15 seconds
MOST_OF_A_PAGE = 500
_URLS: Mapping[Service, str] = {
    "status-store": "api_url",
    "sender": "sender_url",
    "bounce-ingest": "bounce_ingest_url",
}


@dataclass(frozen=True, slots=True)
class Api:
    """Ask one service; Refused and Unreachable tell why there is no answer."""

    service: Service
    url: str
    key: str
    session: aiohttp.ClientSession

    async def get(self, path: str, *, timeout: float = TIMEOUT, **query: Any) -> Any:
        """The answer to a GET of `/v1/<path>`; what is None in the query is left out."""
        async with self.answer("GET", path, query=query, timeout=aiohttp.ClientTimeout(timeout)) as response:
            return await response.json()

    async def post(self, path: str, told: object = None, **query: Any) -> Any:
        """The answer to a POST; None where there is none."""
        async with self.answer("POST", path, told, query=query) as response:
            return None if response.status == 204 else await response.json()

    async def delete(self, path: str) -> None:
        """Return when it is gone."""
        async with self.answer("DELETE", path):
            pass

    @asynccontextmanager
    async def answer(
        self,
        method: str,
        path: str,
        told: object = None,
        *,
        query: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: aiohttp.ClientTimeout | None = None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """A response that is no fault, its body not read yet; `told` is sent as JSON, or as it is if it is bytes."""
        body = told if told is None or isinstance(told, bytes) else to_json(told)
        params = {name: _text(value) for name, value in (query or {}).items() if value is not None}
        try:
            async with self.session.request(
                method,
                f"{self.url}/v1/{path}",
                params=params,
                data=body,
                headers=self._headers(body) | dict(headers or {}),
                timeout=timeout or aiohttp.ClientTimeout(TIMEOUT),
            ) as response:
                if response.status >= 400:
                    raise Refused(_problem(response, await response.read()))
                yield response
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unreachable(self._unreachable(error)) from error

    def _headers(self, body: object) -> dict[str, str]:
        kind = {} if body is None else {"Content-Type": "application/json"}
        return kind | ({"Authorization": f"Bearer {self.key}"} if self.key else {})

    def _unreachable(self, error: Exception) -> str:
        remedy = f"start it, or set TRACEPOST_{_URLS[self.service].upper()}"
        return f"{self.service} gives no answer at {self.url}: {error or type(error).__name__}; {remedy}"


def of_service(service: Service, places: Places, session: aiohttp.ClientSession) -> Api:
    """The API where the service is; a URL that ends in /v1 will do too. Unreachable: it is none."""
    url = getattr(places, _URLS[service]).rstrip("/").removesuffix("/v1")
    if urlsplit(url).scheme not in ("http", "https"):
        raise Unreachable(
            f"{url!r} is no URL of {service}: write TRACEPOST_{_URLS[service].upper()} as http://host:port"
        )
    return Api(service, url, places.api_key, session)


@asynccontextmanager
async def reaching(service: Service, places: Places) -> AsyncIterator[Api]:
    """The same for a block, with connections of its own."""
    async with aiohttp.ClientSession() as session:
        yield of_service(service, places, session)


async def gather(ask: Callable[..., Awaitable[Any]], member: str, limit: int) -> dict[str, Any]:
    """Up to so many items of a list, page by page; `ask` takes a cursor and a limit. The shape is that of a page."""
    found: list[Any] = []
    cursor: Any = None
    while len(found) < limit:
        page = await ask(cursor=cursor, limit=min(limit - len(found), MOST_OF_A_PAGE))
        found += page[member]
        if (cursor := page["cursor"]) is None:
            break
    return {member: found, "cursor": cursor}


async def frames(response: aiohttp.ClientResponse) -> AsyncIterator[Any]:
    """The data of server-sent events that hold JSON, as they come."""
    data: list[str] = []
    async for line in response.content:
        text = line.decode().rstrip("\r\n")
        if text.startswith("data:"):
            data.append(text[5:].removeprefix(" "))
        elif not text and data:
            yield json.loads("\n".join(data))
            data.clear()


def _problem(response: aiohttp.ClientResponse, body: bytes) -> Problem:
    try:
        return Problem.model_validate_json(body)
    except ValidationError:  # it comes from something between, such as a proxy
        detail = f"{response.url} answered {body[:200].decode(errors='replace')!r}"
        title = f"{response.status} {response.reason}"
        return Problem(code=f"http-{response.status}", title=title, status=response.status, detail=detail)


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
