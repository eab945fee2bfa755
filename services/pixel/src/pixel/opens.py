"""Answers a pixel's request with the image, always, and reports the open that it was."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from datetime import UTC, datetime
from ipaddress import IPv4Network, IPv6Network

import structlog
from aiohttp import web

from pixel.verdict import counts, judge, plain, truncated
from tracepost import crash, metrics, tokens
from tracepost.broker import NotConfirmed, Publisher, Unroutable
from tracepost.events import AnyEvent, Opened, derived_id, event
from tracepost.tokens import Claim, Keyring

log = structlog.get_logger()

# One transparent pixel, the smallest image that every mail client shows.
GIF = base64.b64decode("R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7")
# Gmail's proxy fetches again at the next open when it may not store.
HEADERS = {
    "Cache-Control": "no-store, no-cache, must-revalidate, private, max-age=0",
    "Pragma": "no-cache",
    "Expires": "0",
}

Networks = Iterable[IPv4Network | IPv6Network]


def application(keyring: Keyring, publisher: Publisher, trusted_proxies: Networks) -> web.Application:
    """`GET /o/<token>.gif`; anything else is a small 404."""

    async def pixel(request: web.Request) -> web.Response:
        claim = keyring.verify("pixel", tokens.from_url(request.match_info["token"]))
        if claim is None:
            metrics.PIXELS.labels("invalid").inc()
        elif not counts(request.method, request.headers):
            metrics.PIXELS.labels("not-an-open").inc()
        else:
            await _report(
                publisher, opened(claim, request.headers.get("User-Agent", ""), client_ip(request, trusted_proxies))
            )
        return web.Response(body=GIF, content_type="image/gif", headers=HEADERS)

    app = web.Application()
    app.router.add_get("/o/{token}.gif", pixel)
    return app


def opened(claim: Claim, user_agent: str, ip: str, now: datetime | None = None) -> AnyEvent:
    """The event of an open; in `day` mode one per delivery, day and verdict, that says the day alone."""
    verdict, rule, client = judge(user_agent)
    time = now or datetime.now(UTC)
    if claim.flags == tokens.TRACK_DAY:
        day = time.replace(hour=0, minute=0, second=0, microsecond=0)
        same = derived_id("opened", claim.message_id, claim.recipient_no, day.date(), verdict)
        return event(
            "pixel", claim.message_id, claim.recipient_no, Opened(verdict=verdict, rule="day"), id=same, time=day
        )
    data = Opened(verdict=verdict, rule=rule, client=client, ip=truncated(ip))
    return event("pixel", claim.message_id, claim.recipient_no, data, time=time)


def client_ip(request: web.Request, trusted_proxies: Networks) -> str:
    """The peer's address, or what the nearest proxies that we trust say it is."""
    # A proxy may add a line of its own after the one that the client wrote.
    forwarded = ",".join(request.headers.getall("X-Forwarded-For", []))
    hops = [*forwarded.replace(" ", "").split(","), request.remote or ""]
    while len(hops) > 1 and hops[-2] and _within(hops[-1], trusted_proxies):
        hops.pop()
    return hops[-1]


def _within(ip: str, networks: Networks) -> bool:
    try:
        return any(plain(ip) in network for network in networks)
    except ValueError:
        return False


async def _report(publisher: Publisher, open_: AnyEvent) -> None:
    assert isinstance(open_.data, Opened)
    metrics.PIXELS.labels(open_.data.verdict).inc()
    try:
        crash.point("pixel.before-publish")
        await publisher.publish(open_)
        crash.point("pixel.confirmed")
    except (NotConfirmed, Unroutable) as error:
        metrics.OPENS_LOST.inc()
        log.error("open lost", message_id=open_.message_id, reason=str(error))
