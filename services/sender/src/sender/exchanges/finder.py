"""Finds the hops to a domain's mail servers, and remembers them for as long as DNS says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass

from sender.exchanges.policies import Policies
from sender.exchanges.resolver import Resolver
from sender.outcome import Unroutable
from sender.routing import mx, security
from sender.routing.cache import Cache
from sender.routing.hops import Hop
from sender.routing.mx import Server, Us
from sender.routing.security import Demands
from sender.routing.sts import Policy

MOST_DESTINATIONS = 10_000

Hops = Sequence[Hop]


@dataclass(frozen=True, slots=True)
class Means:
    """What servers are found and chosen by; `port` is theirs, 25 but in tests."""

    us: Us
    demands: Demands
    port: int = 25
    ipv6: bool = True


class Exchanges:
    """The servers of destinations; one answer is shared by all who ask while it is looked for."""

    def __init__(self, resolver: Resolver, policies: Policies, means: Means) -> None:
        self._resolver, self._policies, self._means = resolver, policies, means
        self._dice = random.Random()  # noqa: S311 - no secret
        self._known: Cache[str, Sequence[Hops] | Unroutable] = Cache(MOST_DESTINATIONS)
        self._finding: dict[str, asyncio.Task[Sequence[Hops] | Unroutable]] = {}

    async def to(self, destination: str) -> Hops | Unroutable:
        """The hops to try, in this order, or why there are none; DNS is asked where it was not lately."""
        known = self._known.get(destination, asyncio.get_running_loop().time())
        if known is None:
            known = await self._found(destination)
        return known if isinstance(known, Unroutable) else self._dice.choice(known)

    async def _found(self, destination: str) -> Sequence[Hops] | Unroutable:
        task = self._finding.get(destination)
        if task is None:
            task = self._finding[destination] = asyncio.create_task(self._look(destination))
            task.add_done_callback(lambda _: self._finding.pop(destination))
        return await asyncio.shield(task)

    async def _look(self, destination: str) -> Sequence[Hops] | Unroutable:
        policy, (found, until) = await asyncio.gather(self._policies.of(destination), self._servers(destination))
        if not isinstance(found, Unroutable):
            found = security.allowed(destination, found, policy.policy)
        orders = found if isinstance(found, Unroutable) else self._orders(destination, found, policy.policy)
        self._known.keep(destination, orders, min(until, policy.until))
        return orders

    async def _servers(self, destination: str) -> tuple[Sequence[Server] | Unroutable, float]:
        """The domain's servers with their addresses, and until when that holds."""
        us = self._means.us
        answer = await self._resolver.exchanges(destination)
        named = mx.exchanges(destination, answer.found, us)
        if isinstance(named, Unroutable):
            return named, answer.until
        hosts = list(dict.fromkeys(each.host for each in named))
        asked = await asyncio.gather(*(self._resolver.addresses(each, ipv6=self._means.ipv6) for each in hosts))
        found = {host: each.found for host, each in zip(hosts, asked, strict=True)}
        return mx.servers(destination, named, found, us), min([answer.until, *(each.until for each in asked)])

    def _orders(self, destination: str, found: Sequence[Server], policy: Policy | None) -> Sequence[Hops]:
        verified = security.is_verified(destination, policy, self._means.demands)
        return [security.hops(each, self._means.port, verified=verified) for each in mx.orders(found, self._dice)]
