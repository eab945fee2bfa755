"""The mail servers of domains, found by a real name server and, for their policies, over real HTTPS."""

from __future__ import annotations

import asyncio
import gzip
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import web

from local_stack.binaries import Missing
from sender.exchanges import Exchanges, Means, Policies, Resolver, fetching
from sender.exchanges.finder import Hops
from sender.outcome import Unroutable
from sender.policy_store import PolicyStore
from sender.routing.hops import Hop
from sender.routing.mx import Exchange, Nothing, Trouble
from sender.routing.named import read_us
from sender.routing.sts import Kept, Mode, Policy
from tests import name_server
from tests.certificates import Authority
from tests.conftest import eventually
from tracepost import postgres

ZONE = """
$ORIGIN example.test.
$TTL 300
@          SOA   ns hostmaster 1 3600 600 86400 60
@          NS    ns
@          MX    20 b
@          MX    10 a
a          A     127.0.0.2
a          AAAA  ::1
b          A     127.0.0.3
ns         A     127.0.0.1
brief      1 MX  10 a
alias      CNAME @
null       MX    0 .
address    A     127.0.0.4
textual    TXT   "no mail here"
equal      MX    5 a
equal      MX    5 b
vain       MX    5 gone
vain       MX    6 gone.nowhere
looped     MX    10 a
looped     MX    20 out.us.test.
looped     MX    30 b
home       MX    10 local
home       MX    20 a
local      A     127.0.0.9
halfway    MX    10 gone
halfway    MX    20 b
troubled   MX    10 mx.broken.test.
xn--bcher-kva MX 10 a
lame       NS    ns.nowhere.invalid.
safe       MX    10 a
safe       MX    20 b
_mta-sts.safe   1 TXT "v=STSv1; id=1;"
mta-sts.safe    A     127.0.0.1
amiss      MX    10 b
_mta-sts.amiss    TXT "v=STSv1; id=1;"
mta-sts.amiss     A   127.0.0.1
"""
POLICY = "version: STSv1\nmode: {mode}\nmx: a.example.test\nmax_age: 86400\n"

A, B = ("::1", "127.0.0.2"), ("127.0.0.3",)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def dns(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[int]:
    """The port of a name server."""
    async with AsyncExitStack() as stack:
        zones = {"example.test": ZONE, "broken.test": None}
        try:
            port = await stack.enter_async_context(name_server.serving(tmp_path_factory.mktemp("zones"), zones))
        except Missing as missing:
            pytest.skip(f"Knot cannot be had: {missing}")
        yield port


@pytest.fixture
def resolver(dns: int) -> Resolver:
    return Resolver([(name_server.HOST, dns)], 5)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def now() -> float:
    return asyncio.get_running_loop().time()


async def test_records_hold_as_long_as_they_say(resolver: Resolver) -> None:
    began = now()
    answer = await resolver.exchanges("example.test")
    assert not isinstance(answer.found, Nothing | Trouble)
    assert sorted(answer.found) == [Exchange(10, "a.example.test"), Exchange(20, "b.example.test")]
    assert 299 < answer.until - began < 305
    assert await resolver.exchanges("example.test") is answer


async def test_what_ran_out_is_asked_for_again(resolver: Resolver) -> None:
    first = await resolver.exchanges("brief.example.test")

    async def renewed() -> bool:
        return await resolver.exchanges("brief.example.test") is not first

    assert await resolver.exchanges("brief.example.test") is first
    await eventually(renewed)


@pytest.mark.parametrize(("name", "exists"), [("gone.example.test", False), ("address.example.test", True)])
async def test_what_is_not_there_is_so_as_long_as_the_zone_says(resolver: Resolver, name: str, exists: bool) -> None:
    began = now()
    answer = await resolver.exchanges(name)
    assert answer.found == Nothing(exists)
    assert 59 < answer.until - began < 65


async def test_an_alias_is_followed(resolver: Resolver) -> None:
    assert len((await resolver.exchanges("alias.example.test")).found) == 2


async def test_those_who_ask_at_once_ask_once(resolver: Resolver) -> None:
    answers = await asyncio.gather(*(resolver.addresses("a.example.test") for _ in range(20)))
    assert {tuple(each.found) for each in answers} == {A}
    assert len({each.until for each in answers}) == 1
    assert (await resolver.addresses("a.example.test", ipv6=False)).found == ["127.0.0.2"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("broken.test", "SERVFAIL"), ("elsewhere.invalid", "REFUSED"), ("mail.lame.example.test", "lame delegation")],
)
async def test_trouble_is_no_answer(resolver: Resolver, name: str, words: str) -> None:
    answer = await resolver.exchanges(name)
    assert isinstance(answer.found, Trouble)
    assert words in answer.found.reason
    assert answer.until - now() < 11


@pytest.mark.parametrize("name", ["a" * 64 + ".test", "a..test", "."])
async def test_what_cannot_be_a_name_does_not_exist(resolver: Resolver, name: str) -> None:
    assert (await resolver.exchanges(name)).found == Nothing(exists=False)


async def test_a_name_server_that_is_silent_is_not_waited_for_without_end(dns: int) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as silent:
        silent.bind((name_server.HOST, 0))
        address = silent.getsockname()[:2]
        answer = await Resolver([address], 0.2).exchanges("example.test")
        assert answer.found == Trouble("no name server answered in time")
        assert not isinstance(
            (await Resolver([address, (name_server.HOST, dns)], 1).texts("ns.example.test")).found, Trouble
        )


class Finder:
    """Looks for servers as a sender does."""

    def __init__(self, exchanges: Exchanges, policies: Policies) -> None:
        self.exchanges, self.policies = exchanges, policies

    async def to(self, name: str) -> Hops:
        """The hops of a name in our zone."""
        found = await self.exchanges.to(f"{name}.example.test" if name else "example.test")
        assert not isinstance(found, Unroutable), found
        return found

    async def refused(self, name: str) -> tuple[str, str, bool]:
        """Why there are none."""
        found = await self.exchanges.to(name)
        assert isinstance(found, Unroutable)
        return found.cause.category, found.cause.rule, found.lasting


class Shelf:
    """Policies that were known before."""

    def __init__(self, kept: Mapping[str, Kept]) -> None:
        self.kept = dict(kept)

    async def all(self, most: int) -> Mapping[str, Kept]:
        """By domain."""
        return dict([*self.kept.items()][:most])

    async def keep(self, domain: str, kept: Kept) -> None:
        """One more."""
        self.kept[domain] = kept


@asynccontextmanager
async def finding(
    resolver: Resolver,
    authority: Authority,
    https: int = 1,
    shelf: Shelf | PolicyStore | None = None,
    **means: Any,
) -> AsyncIterator[Finder]:
    us = read_us(["127.0.0.9"], "out.us.test")
    async with fetching(resolver, authority.trusting.verified, shelf or Shelf({}), https) as policies:
        told = Means(us, **{"demands": (), "port": 2525, **means})
        yield Finder(Exchanges(resolver, policies, told), policies)


def hops(*addresses: str, host: str, tls: str = "may") -> list[Hop]:
    return [Hop(f"{host}.example.test", 2525, tls, each) for each in addresses]  # type: ignore[arg-type]  # it is one


async def test_hops_follow_preference_with_ipv6_and_ipv4(resolver: Resolver, authority: Authority) -> None:
    async with finding(resolver, authority) as finder:
        assert list(await finder.to("")) == hops(*A, host="a") + hops(*B, host="b")
        assert list(await finder.to("address")) == hops("127.0.0.4", host="address")
        assert list(await finder.to("xn--bcher-kva")) == hops(*A, host="a")
        assert list(await finder.to("halfway")) == hops(*B, host="b")
        assert list(await finder.to("looped")) == hops(*A, host="a")
        firsts = {(await finder.to("equal"))[0].host for _ in range(100)}
        assert firsts == {"a.example.test", "b.example.test"}
    async with finding(resolver, authority, ipv6=False) as finder:
        assert list(await finder.to("")) == hops("127.0.0.2", host="a") + hops(*B, host="b")


async def test_why_there_is_no_server_is_told_apart(resolver: Resolver, authority: Authority) -> None:
    async with finding(resolver, authority) as finder:
        assert await finder.refused("gone.example.test") == ("bad_domain", "no-such-domain", True)
        assert await finder.refused("null.example.test") == ("null_mx", "null-mx", True)
        assert await finder.refused("textual.example.test") == ("bad_domain", "no-mail-server", True)
        assert await finder.refused("home.example.test") == ("system", "mx-is-us", True)
        for troubled in ("broken.test", "elsewhere.invalid", "mail.lame.example.test", "troubled.example.test"):
            assert await finder.refused(troubled) == ("dns_temporary", "dns-trouble", False)
        assert await finder.refused("vain.example.test") == ("bad_domain", "mx-without-address", True)


async def test_what_is_known_is_not_asked_for_again(resolver: Resolver, authority: Authority) -> None:
    async with finding(resolver, authority) as finder:
        first = await asyncio.gather(*(finder.to("") for _ in range(10)))
        again = await finder.to("")
        assert all(each is again for each in first)


async def test_domains_may_be_demanded_tls_of(resolver: Resolver, authority: Authority) -> None:
    async with finding(resolver, authority, demands=("address.example.test",)) as finder:
        assert list(await finder.to("address")) == hops("127.0.0.4", host="address", tls="must")
        assert (await finder.to(""))[0].tls == "may"


# MTA-STS

Answer = Callable[[], web.StreamResponse]


def policy(mode: str = "enforce", **answer: Any) -> Answer:
    return lambda: web.Response(text=POLICY.format(mode=mode), **answer)


class Site:
    """An HTTPS server, what it answers now, and how often it was asked."""

    def __init__(self) -> None:
        self.answer, self.asked, self.port = policy(), 0, 0

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        """The policy file is all there is."""
        self.asked += 1
        assert request.path == "/.well-known/mta-sts.txt"
        assert request.host.startswith("mta-sts.")
        return self.answer()


@asynccontextmanager
async def site(authority: Authority, *names: str, until: datetime | None = None) -> AsyncIterator[Site]:
    told = Site()
    runner = web.ServerRunner(web.Server(told))
    await runner.setup()
    listening = web.TCPSite(runner, name_server.HOST, 0, ssl_context=authority.server(*names, until=until))
    await listening.start()
    told.port = runner.addresses[0][1]
    try:
        yield told
    finally:
        await runner.cleanup()


DOMAIN = "safe.example.test"
SAFE = f"mta-sts.{DOMAIN}"


async def test_a_policy_leaves_its_servers_and_demands_their_certificates(
    resolver: Resolver, authority: Authority
) -> None:
    async with (
        site(authority, SAFE, "mta-sts.amiss.example.test") as https,
        finding(resolver, authority, https.port) as finder,
    ):
        assert list(await finder.to("safe")) == hops(*A, host="a", tls="must")
        assert await finder.refused("amiss.example.test") == ("tls_required", "sts-mx-mismatch", False)
        assert https.asked == 2


@pytest.mark.parametrize("mode", ["testing", "none"])
async def test_a_policy_that_is_not_enforced_changes_nothing(
    resolver: Resolver, authority: Authority, mode: str
) -> None:
    async with site(authority, SAFE) as https, finding(resolver, authority, https.port) as finder:
        https.answer = policy(mode)
        assert list(await finder.to("safe")) == hops(*A, host="a") + hops(*B, host="b")
        known = (await finder.policies.of(DOMAIN)).policy
        assert known is not None
        assert known.mode == mode


WRONG: dict[str, Answer] = {
    "redirect": lambda: web.Response(status=302, headers={"Location": f"https://{SAFE}/other"}),
    "not found": policy(status=404),
    "another type": policy(content_type="text/html"),
    "no policy": lambda: web.Response(text="<html>"),
    "too large": lambda: web.Response(text=POLICY.format(mode="enforce") + "x: y\n" * 20_000),
    "not UTF-8": lambda: web.Response(body=b"\xff", content_type="text/plain"),
    "compressed": lambda: web.Response(
        body=gzip.compress(POLICY.format(mode="enforce").encode()),
        headers={"Content-Encoding": "gzip", "Content-Type": "text/plain"},
    ),
}


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG)
async def test_what_is_no_policy_is_none(resolver: Resolver, authority: Authority, answer: Answer) -> None:
    async with site(authority, SAFE) as https, finding(resolver, authority, https.port) as finder:
        https.answer = answer
        assert (await finder.to("safe"))[0].tls == "may"
        assert (await finder.policies.of(DOMAIN)).policy is None
        assert https.asked == 1  # it is left alone for a while


@pytest.mark.parametrize(
    ("name", "until"),
    [("another.example.test", None), (SAFE, datetime(2026, 1, 1, tzinfo=UTC))],
    ids=["name", "expired"],
)
async def test_a_policy_behind_a_wrong_certificate_is_none(
    resolver: Resolver, authority: Authority, name: str, until: datetime | None
) -> None:
    async with site(authority, name, until=until) as https, finding(resolver, authority, https.port) as finder:
        assert (await finder.policies.of(DOMAIN)).policy is None
        assert https.asked == 0


def aged(id_: str, days: float, mode: Mode = "enforce") -> Kept:
    """A policy that was fetched so long ago, for a week."""
    return Kept(Policy(mode, ("a.example.test",), 7 * 86_400), id_, time.time() - days * 86_400)


async def test_a_policy_is_kept_and_fetched_again_for_another_id_or_after_a_day(
    resolver: Resolver, authority: Authority
) -> None:
    for kept, is_asked in ((aged("1", 0.5), False), (aged("1", 1.5), True), (aged("0", 0), True)):
        async with site(authority, SAFE) as https:
            async with finding(resolver, authority, https.port, shelf=Shelf({DOMAIN: kept})) as finder:
                assert (await finder.to("safe"))[0].tls == "must"
            assert https.asked == is_asked


async def test_a_policy_holds_to_its_end_while_it_cannot_be_had(resolver: Resolver, authority: Authority) -> None:
    for kept, holds in ((aged("0", 6.9), True), (aged("0", 7.1), False)):
        async with site(authority, SAFE) as https:
            https.answer = policy(status=500)
            async with finding(resolver, authority, https.port, shelf=Shelf({DOMAIN: kept})) as finder:
                assert (await finder.to("safe"))[0].tls == ("must" if holds else "may")
                assert https.asked == 1


async def test_a_policy_whose_record_is_gone_holds_all_the_same(resolver: Resolver, authority: Authority) -> None:
    shelf = Shelf({"example.test": aged("0", 0)})
    async with finding(resolver, authority, shelf=shelf) as finder:
        assert list(await finder.to("")) == hops(*A, host="a", tls="must")


async def test_policies_outlive_a_sender(resolver: Resolver, authority: Authority, database: str) -> None:
    async with postgres.connected(database, "sender") as pool:
        store = PolicyStore(pool)
        async with site(authority, SAFE) as https, finding(resolver, authority, https.port, shelf=store) as finder:
            fetched = (await finder.policies.of(DOMAIN)).policy
        async with finding(resolver, authority, shelf=store) as finder:  # where nobody answers
            assert (await finder.policies.of(DOMAIN)).policy == fetched
        await store.keep(DOMAIN, aged("0", 1, "none"))  # an older one
        await store.keep("ended.test", aged("1", 8))
        known = await store.all(10)
        assert {domain: kept.policy for domain, kept in known.items()} == {DOMAIN: fetched}
