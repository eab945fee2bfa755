"""Takes calls of webhooks over HTTP: a call is answered 200 when all that it tells is safe."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import structlog
from aiohttp import web

from bounce_ingest.quarantine.store import NotKept
from bounce_ingest.quarantine.values import Entry, Held
from bounce_ingest.safe import Keep, Publish, make_safe
from bounce_ingest.webhooks import fields
from bounce_ingest.webhooks.place import placed
from bounce_ingest.webhooks.values import Call, Code, Ignored, Provider, Refused
from tracepost import http, metrics
from tracepost.broker import NotConfirmed, Unroutable
from tracepost.events import AnyEvent
from tracepost.problems import Invalid, Problem
from tracepost.tokens import Keyring

log = structlog.get_logger()

PATH = "/v1/webhooks/{provider}"
MOST_ELEMENTS = 10_000  # of a call

# Nothing is known to be safe, and the same call again does no harm.
AWAY: tuple[type[Exception], ...] = (NotConfirmed, Unroutable, NotKept)

_STATUS: Mapping[Code, int] = {
    "not-configured": 404,
    "bad-signature": 401,
    "replayed": 401,
    "other-topic": 403,
    "unreadable": 400,
    "not-a-batch": 422,
    "invalid": 422,
    "unavailable": 503,
}


@dataclass(frozen=True, slots=True)
class Webhooks:
    """What calls are taken with: of a provider without keys, the setting that takes them is known."""

    providers: Mapping[str, Provider | str]
    keyring: Keyring
    publish: Publish
    keep: Keep

    def routes(self) -> Sequence[web.RouteDef]:
        """Mandrill asks by HEAD whether a URL is one before it posts there."""
        return [web.post(PATH, self.take), web.head(PATH, self.look)]

    async def look(self, request: web.Request) -> web.Response:
        """Whether there is such a webhook."""
        self._provider(request)
        return web.Response()

    async def take(self, request: web.Request) -> web.Response:
        """Verify the call, take it apart, and make safe what it tells; Invalid says why not."""
        provider = self._provider(request)
        name = request.match_info["provider"]
        headers = {header.lower(): value for header, value in request.headers.items()}
        call = Call(headers, await request.read(), datetime.now(UTC))
        try:
            told, ignored = await self._understood(name, provider, call)
            await make_safe(self.publish, self.keep, told)
        except Refused as refused:
            raise _refusal(name, refused.code, refused.detail) from None
        except AWAY as error:
            raise _refusal(name, "unavailable", f"nothing is safe yet, send it again: {error}") from None
        return _answer(name, told, ignored)

    async def read_again(self, entry: Entry) -> Sequence[AnyEvent] | Held:
        """What an element in quarantine says by the rules of now; who asks has looked how old its call was."""
        held = entry.held
        name = held.way.partition(":")[2]
        provider = self.providers.get(name)
        if not isinstance(provider, Provider):
            return held
        found = placed(name, provider, fields.document(held.raw), "genuine", self.keyring, entry.received_at)
        told = [] if isinstance(found, Ignored) else found
        return next((each for each in told if isinstance(each, Held)), None) or _events(told)

    def _provider(self, request: web.Request) -> Provider:
        name = request.match_info["provider"]
        match self.providers.get(name):
            case Provider() as provider:
                return provider
            case str(setting):
                raise _refusal(name, "not-configured", f"set {setting} to take its calls")
            case None:
                raise _refusal("other", "not-configured", f"those that can be are {', '.join(self.providers)}")

    async def _understood(
        self, name: str, provider: Provider, call: Call
    ) -> tuple[list[AnyEvent | Held], list[Ignored]]:
        trust = await provider.verify(call)
        elements = _elements(provider, call)
        if len(elements) > MOST_ELEMENTS:
            raise Refused("not-a-batch", f"it has {len(elements)} events; at most {MOST_ELEMENTS} are taken at once")
        told: list[AnyEvent | Held] = []
        ignored: list[Ignored] = []
        for element in elements:
            found = placed(name, provider, element, trust, self.keyring, call.at)
            if isinstance(found, Ignored):
                ignored.append(found)
            else:
                told += found
            await asyncio.sleep(0)  # a large batch holds nobody up
        return told, ignored


def _elements(provider: Provider, call: Call) -> list[object]:
    try:
        return provider.elements(call)
    except (TypeError, ValueError, LookupError):
        raise Refused("invalid", "the body has not the shape that the provider documents") from None


def _events(told: Sequence[AnyEvent | Held]) -> list[AnyEvent]:
    return [each for each in told if not isinstance(each, Held)]


def _answer(name: str, told: Sequence[AnyEvent | Held], ignored: Sequence[Ignored]) -> web.Response:
    held = [each for each in told if isinstance(each, Held)]
    counts = {"events": len(_events(told)), "quarantined": len(held), "ignored": len(ignored)}
    metrics.WEBHOOK_CALLS.labels(name, "taken").inc()
    for result, count in counts.items():
        metrics.WEBHOOK_ELEMENTS.labels(name, result).inc(count)
    log.info("webhook", provider=name, **counts)
    if held:
        reasons = sorted({each.detail for each in held})
        log.warning("a webhook told what cannot be placed", provider=name, reasons=reasons, remedy="see the quarantine")
    return http.answer(counts)


def _refusal(name: str, code: Code, detail: str) -> Invalid:
    metrics.WEBHOOK_CALLS.labels(name, code).inc()
    log.warning("webhook refused", provider=name, code=code, reason=detail)
    return Invalid(Problem(code=f"webhook-{code}", title="The call is not taken", status=_STATUS[code], detail=detail))
