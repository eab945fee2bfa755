"""Asks the name servers, and remembers what they say for as long as they say; by dnspython."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import dns.asyncresolver
import dns.exception
import dns.message
import dns.name
import dns.rdatatype
import dns.resolver
from dns.nameserver import Do53Nameserver

from sender.routing.cache import Cache
from sender.routing.mx import Exchange, Nothing, Trouble, mixed
from tracepost import metrics

Kind = Literal["MX", "A", "AAAA", "TXT"]
Value = TypeVar("Value", covariant=True)

MOST_SECONDS = 86_400  # that anything is believed
NEGATIVE_SECONDS = 3_600  # that the absence of a record is (RFC 2308, section 5, allows three hours)
TROUBLE_SECONDS = 10  # that a name server in trouble is left alone (section 7 allows five minutes)
TRY_SECONDS = 2.0  # for each question to each name server
MOST_ANSWERS = 20_000


class NoNameServers(Exception):
    """The system names none."""


class Answer(NamedTuple, Generic[Value]):
    """Values, or why there are none; it holds `until` (of the loop's time)."""

    found: Sequence[Value] | Nothing | Trouble
    until: float


class Resolver:
    """`servers` are addresses and ports, by default those of the system; `seconds` are for a whole answer."""

    def __init__(self, servers: Sequence[tuple[str, int]], seconds: float) -> None:
        try:
            self._resolver = dns.asyncresolver.Resolver(configure=not servers)
        except dns.resolver.NoResolverConfiguration as error:
            raise NoNameServers(str(error)) from None
        if servers:
            self._resolver.nameservers = [Do53Nameserver(host, port) for host, port in servers]
        self._resolver.lifetime, self._resolver.timeout = seconds, min(TRY_SECONDS, seconds / 2)
        self._answers: Cache[tuple[str, Kind], Answer[Any]] = Cache(MOST_ANSWERS)
        self._asking: dict[tuple[str, Kind], asyncio.Task[Answer[Any]]] = {}

    async def exchanges(self, name: str) -> Answer[Exchange]:
        """The MX records of a domain."""
        return await self._ask(name, "MX", lambda each: Exchange(each.preference, _host(each.exchange)))

    async def texts(self, name: str) -> Answer[str]:
        """The TXT records of a name."""
        return await self._ask(name, "TXT", lambda each: b"".join(each.strings).decode("utf-8", "replace"))

    async def addresses(self, name: str, *, ipv6: bool = True) -> Answer[str]:
        """A host's addresses, those of IPv6 and IPv4 in turn."""
        if not ipv6:
            return await self._addresses(name, "A")
        six, four = await asyncio.gather(self._addresses(name, "AAAA"), self._addresses(name, "A"))
        until = min(six.until, four.until)
        known = [each.found for each in (six, four) if not isinstance(each.found, Nothing | Trouble)]
        if known:
            return Answer(mixed(*known), until)
        return Answer(six.found if isinstance(six.found, Trouble) else four.found, until)

    async def _addresses(self, name: str, kind: Literal["A", "AAAA"]) -> Answer[str]:
        return await self._ask(name, kind, lambda each: str(each.address))

    async def _ask(self, name: str, kind: Kind, read: Callable[[Any], Value]) -> Answer[Value]:
        """What is known, or else an answer that all who ask for it at the same time wait for."""
        key = name, kind
        if known := self._answers.get(key, _now()):
            return known
        task = self._asking.get(key)
        if task is None:
            task = self._asking[key] = asyncio.create_task(self._answer(name, kind, read))
            task.add_done_callback(lambda _: self._asking.pop(key))
        return await asyncio.shield(task)

    async def _answer(self, name: str, kind: Kind, read: Callable[[Any], Value]) -> Answer[Value]:
        found, seconds = await self._looked_up(name, kind, read)
        answer = Answer(found, _now() + seconds)
        self._answers.keep((name, kind), answer, answer.until)
        metrics.DNS_ANSWERS.labels(kind, _result(found)).inc()
        return answer

    async def _looked_up(
        self, name: str, kind: Kind, read: Callable[[Any], Value]
    ) -> tuple[Sequence[Value] | Nothing | Trouble, float]:
        """What is found, and for how many seconds."""
        try:
            whole = dns.name.from_text(name + ".")
        except dns.exception.DNSException:  # no name that could be in DNS
            return Nothing(exists=False), NEGATIVE_SECONDS
        try:
            found = await self._resolver.resolve(whole, kind, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN as error:
            response = error.response(whole)  # type: ignore[no-untyped-call]  # it has no types
            return Nothing(exists=False), _negative_seconds(response)
        except (dns.exception.DNSException, OSError) as error:
            return Trouble(_words(error)), TROUBLE_SECONDS
        if found.rrset is not None:
            return [read(each) for each in found.rrset], min(MOST_SECONDS, found.chaining_result.minimum_ttl)
        if _is_referral(found.response):
            return Trouble("the name server refers to another one (a lame delegation)"), TROUBLE_SECONDS
        return Nothing(exists=True), _negative_seconds(found.response)


def _now() -> float:
    return asyncio.get_running_loop().time()


def _host(name: dns.name.Name) -> str:
    return name.to_text().rstrip(".").lower()


def _is_referral(response: dns.message.Message) -> bool:
    """It says neither yes nor no, but whom else to ask (RFC 2308, section 2.2)."""
    kinds = {each.rdtype for each in response.authority}
    return dns.rdatatype.NS in kinds and dns.rdatatype.SOA not in kinds


def _negative_seconds(response: dns.message.Message) -> float:
    """What is not, is not for the lesser of the SOA's own time and its MINIMUM; without one it is not kept."""
    soa = [each for each in response.authority if each.rdtype == dns.rdatatype.SOA]
    return min(NEGATIVE_SECONDS, min(soa[0].ttl, soa[0][0].minimum)) if soa else 0


def _words(error: Exception) -> str:
    match error:
        case dns.resolver.LifetimeTimeout():
            return "no name server answered in time"
        case dns.resolver.NoNameservers():
            return f"the name servers failed: {_codes(error)}"
        case _:
            return str(error) or type(error).__name__


def _codes(error: dns.resolver.NoNameservers) -> str:
    """What each of them answered: SERVFAIL, REFUSED …"""
    errors = error.kwargs.get("errors", ())
    return ", ".join(dict.fromkeys(str(each[3]) for each in errors)) or "there is none"


def _result(found: object) -> str:
    match found:
        case Trouble():
            return "trouble"
        case Nothing(exists):
            return "no_record" if exists else "no_name"
        case _:
            return "found"
