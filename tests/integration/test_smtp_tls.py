"""TLS, logins, and the next server when one cannot be had: with real handshakes by certificates of our own."""

from __future__ import annotations

import asyncio
import socket
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from math import inf

import pytest

from sender import smtp
from sender.outcome import Lost, Reply, Unreachable
from sender.routing.hops import Login, Tls
from sender.routing.rests import Rests
from sender.smtp import Envelope, Failed, Hop, Limits, Pool, Timeouts
from tests.certificates import Authority
from tests.smtp_servers import HOST, IN_TURN, Deed, Say, Script, Server, serving

NAME = "mx.example.test"
PATIENT = Timeouts().at_most(5)
LIMITS = Limits(connections=2, overall=4, idle=60, messages=100)
CONTENT = b"Subject: hello\r\n\r\nhello\r\n"
LARGE = b"Subject: large\r\n\r\n" + (b"x" * 98 + b"\r\n") * 20_000
ANN = Envelope("b+1@bounces.example", "ann@example.org", len(CONTENT))
STARTTLS: Script = {"EHLO": "250-mx.example.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 STARTTLS"}
LOGIN = Login("ann@example.org", "pass word")

Told = Reply | Unreachable | Lost


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@asynccontextmanager
async def pool(authority: Authority, timeouts: Timeouts = PATIENT) -> AsyncIterator[Pool]:
    async with smtp.pooling(smtp.Opener("sender.example", timeouts, authority.trusting), LIMITS, Rests()) as opened:
        yield opened


def hop(server: Server, tls: Tls = "may", login: Login | None = None) -> Hop:
    return Hop(NAME, server.port, tls, server.host, login)


async def send(pool: Pool, *hops: Hop, content: bytes = CONTENT) -> Told:
    """What becomes of a message."""
    try:
        async with pool.transaction(hops) as transaction:
            await transaction.envelope(ANN)
            return await transaction.message(content, inf)
    except Failed as failed:
        return failed.result


def taken(told: Told) -> str | None:
    """With what TLS the message was taken."""
    assert isinstance(told, Reply), told
    assert told.code == 250
    return told.tls


def not_met(told: Told) -> Unreachable:
    """Why there was no session."""
    assert isinstance(told, Unreachable), told
    assert not told.met
    return told


@pytest.mark.parametrize("tls", ["may", "must"])
async def test_tls_is_used_where_it_is_offered(authority: Authority, tls: Tls) -> None:
    async with serving(STARTTLS, certificate=authority.server(NAME)) as server, pool(authority) as opened:
        told = [await send(opened, hop(server, tls), content=each) for each in (CONTENT, LARGE)]
        assert [taken(each) for each in told] == [
            f"TLSv1.3, TLS_AES_256_GCM_SHA384, {'' if tls == 'must' else 'not '}verified"
        ] * 2
    assert server.messages == [CONTENT, LARGE]
    [visit] = server.visits
    assert visit.tls == "TLSv1.3"
    assert visit.verbs[:3] == ["EHLO", "STAR", "EHLO"]  # what was offered in the clear counts no more
    assert visit.verbs[-1] == "QUIT"


async def test_tls_may_be_there_from_the_start(authority: Authority) -> None:
    certificate = authority.server(NAME)
    async with serving(certificate=certificate, implicit=True) as server, pool(authority) as opened:
        assert str(taken(await send(opened, hop(server, "implicit")))).endswith(", verified")
    assert server.visits[0].verbs[:2] == ["EHLO", "MAIL"]


async def test_a_server_may_be_known_by_its_address(authority: Authority) -> None:
    certificate = authority.server(HOST)
    async with serving(certificate=certificate, implicit=True) as server, pool(authority) as opened:
        assert taken(await send(opened, Hop(HOST, server.port, "implicit")))


async def test_without_an_offer_there_is_no_tls(authority: Authority) -> None:
    async with serving() as server, pool(authority) as opened:
        assert taken(await send(opened, hop(server))) is None
        stripped = not_met(await send(opened, hop(server, "must")))
    assert (stripped.category, stripped.rule) == ("tls_required", "no-tls")
    assert "offers no STARTTLS" in stripped.reason
    assert len(server.messages) == 1


WRONG = {
    "another name": (("mx.other.test",), None, "match|not valid for"),
    "expired": ((NAME,), datetime(2026, 1, 1, tzinfo=UTC), "expired"),
}


@pytest.mark.parametrize("tls", ["must", "implicit"])
@pytest.mark.parametrize(("names", "until", "words"), WRONG.values(), ids=WRONG)
async def test_a_wrong_certificate_is_refused_where_it_counts(
    authority: Authority, tls: Tls, names: Sequence[str], until: datetime | None, words: str
) -> None:
    certificate = authority.server(*names, until=until)
    async with serving(STARTTLS, certificate=certificate, implicit=tls == "implicit") as server:
        async with pool(authority) as opened:
            told = not_met(await send(opened, hop(server, tls)))
        assert told.category == "tls_required"
        assert any(word in told.reason for word in words.split("|")), told.reason
        assert server.messages == []


async def test_a_wrong_certificate_is_better_than_none_elsewhere(authority: Authority) -> None:
    certificate = authority.server("mx.other.test", until=datetime(2026, 1, 1, tzinfo=UTC))
    async with serving(STARTTLS, certificate=certificate) as server, pool(authority) as opened:
        assert str(taken(await send(opened, hop(server)))).endswith("not verified")


async def test_who_is_not_trusted_is_refused(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> None:
    stranger = Authority(tmp_path_factory.mktemp("stranger"))
    async with serving(STARTTLS, certificate=stranger.server(NAME)) as server, pool(authority) as opened:
        assert "issuer" in not_met(await send(opened, hop(server, "must"))).reason


async def test_a_failed_handshake_is_done_without_where_it_may_be(authority: Authority) -> None:
    nothing = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)  # without a certificate there is no cipher to agree on
    async with serving(STARTTLS, certificate=nothing) as server, pool(authority) as opened:
        told = taken(await send(opened, hop(server)))
        assert told is not None
        assert told.startswith("none: the TLS handshake failed: ")
        assert not_met(await send(opened, hop(server, "must"))).category == "tls_required"
    assert [visit.verbs[:2] for visit in server.visits] == [["EHLO", "STAR"], ["EHLO", "MAIL"], ["EHLO", "STAR"]]


@pytest.mark.parametrize("tls", ["may", "must"])
async def test_a_server_that_does_not_start_tls_after_all(authority: Authority, tls: Tls) -> None:
    async with serving({**STARTTLS, "STAR": "454 4.7.0 not now"}) as server, pool(authority) as opened:
        told = await send(opened, hop(server, tls))
        if tls == "may":
            assert taken(told) is None
        else:
            assert "454 4.7.0 not now" in not_met(told).reason
    assert len(server.visits) == 1


@pytest.mark.parametrize("tls", ["may", "must"])
async def test_what_is_said_in_the_clear_is_no_answer_under_tls(authority: Authority, tls: Tls) -> None:
    ahead = b"220 go ahead\r\n250-mx\r\n250 AUTH PLAIN\r\n"
    async with serving({**STARTTLS, "STAR": ahead}) as server, pool(authority) as opened:
        assert "speaks unasked" in not_met(await send(opened, hop(server, tls))).reason


async def test_a_handshake_does_not_last_for_ever(authority: Authority) -> None:
    async with serving(STARTTLS) as server, pool(authority, replace(PATIENT, handshake=0.3)) as opened:
        assert not_met(await send(opened, hop(server, "must"))).category == "tls_required"


async def test_a_server_may_close_in_the_middle_of_the_handshake(authority: Authority) -> None:
    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for said in (b"220 mx\r\n", b"250-mx\r\n250 STARTTLS\r\n", b"220 go ahead\r\n"):
            writer.write(said)
            await reader.read(1000)
        writer.close()

    server = await asyncio.start_server(close, HOST, 0)
    async with server, pool(authority) as opened:
        told = not_met(await send(opened, Hop(NAME, server.sockets[0].getsockname()[1], "must", HOST)))
    assert told.category == "tls_required"
    assert told.reason != "no session: the TLS handshake failed: "


# logins

PLAIN = b64encode(b"\0ann@example.org\0pass word").decode()


def offering(mechanisms: str, **says: Say | Sequence[Say]) -> Script:
    return {"EHLO": f"250-mx.example.test\r\n250 AUTH {mechanisms}", **says}


@asynccontextmanager
async def relay(authority: Authority, script: Script) -> AsyncIterator[tuple[Server, Pool, Hop]]:
    certificate = authority.server(NAME)
    async with serving(script, certificate=certificate, implicit=True) as server, pool(authority) as opened:
        yield server, opened, hop(server, "implicit", LOGIN)


async def test_a_login_is_plain(authority: Authority) -> None:
    async with relay(authority, offering("GSSAPI LOGIN PLAIN")) as (server, opened, to):
        assert [taken(await send(opened, to)) for _ in range(2)]
    assert server.visits[0].commands[1] == f"AUTH PLAIN {PLAIN}"
    assert server.visits[0].verbs.count("AUTH") == 1


async def test_a_login_is_done_in_steps_where_nothing_else_is_offered(authority: Authority) -> None:
    script = offering("login", AUTH=["334 VXNlcm5hbWU6", "334 UGFzc3dvcmQ6", "235 welcome"])
    async with relay(authority, script) as (server, opened, to):
        assert taken(await send(opened, to))
    words = [b64encode(each.encode()).decode() for each in (LOGIN.user, LOGIN.password)]
    assert server.visits[0].commands[1:4] == ["AUTH LOGIN", *words]


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (offering("PLAIN", AUTH="535 5.7.8 bad credentials"), "535 5.7.8 bad credentials"),
        (offering("LOGIN", AUTH=["334 VXNlcm5hbWU6", "501 what?"]), "501 what?"),
        (offering("GSSAPI"), "offers neither AUTH PLAIN nor LOGIN, but GSSAPI"),
        ({}, "offers neither AUTH PLAIN nor LOGIN, but nothing"),
    ],
)
async def test_without_a_login_no_mail_is_refused_for_good(authority: Authority, script: Script, words: str) -> None:
    async with relay(authority, script) as (server, opened, to):
        told = not_met(await send(opened, to))
    assert (told.category, told.rule) == ("auth", "not-logged-in")
    assert words in told.reason
    assert LOGIN.password not in told.reason
    assert server.messages == []


# the next server

AWAY: dict[str, Script] = {
    "busy": {"greeting": "421 4.3.2 too busy"},
    "not for us": {"greeting": "554 5.7.1 not you"},
    "EHLO": {"EHLO": "451 4.3.0 later"},
    "closes": {"greeting": Deed.CLOSES},
    "hangs": {"greeting": Deed.HANGS},
    "garbage": {"greeting": b"what?\r\n"},
}


@pytest.mark.parametrize("script", AWAY.values(), ids=AWAY)
async def test_the_next_server_takes_what_one_does_not(authority: Authority, script: Script) -> None:
    async with (
        serving(script) as away,
        serving(host="127.0.0.2") as next_,
        pool(authority, PATIENT.at_most(0.3)) as opened,
    ):
        told = await send(opened, hop(away), hop(next_))
    assert isinstance(told, Reply)
    assert (told.code, told.remote_ip) == (250, "127.0.0.2")
    assert next_.messages == [CONTENT]


async def test_who_cannot_be_had_is_left_alone_for_a_while(authority: Authority) -> None:
    async with serving({"greeting": Deed.CLOSES}) as away, serving() as server, pool(authority) as opened:
        for _ in range(3):
            assert taken(await send(opened, hop(away), hop(server))) is None
        assert len(away.visits) == 1


async def test_why_there_is_no_connection_is_told_in_words(authority: Authority) -> None:
    with socket.socket() as bound:
        bound.bind((HOST, 0))
        async with pool(authority) as opened:
            told = not_met(await send(opened, Hop(NAME, bound.getsockname()[1], address=HOST)))
    assert told.reason == "no session: Connection refused"


async def test_after_mail_from_the_answer_counts(authority: Authority) -> None:
    async with serving({**IN_TURN, "MAIL": "451 4.3.0 later"}) as first, serving() as second, pool(authority) as opened:
        told = await send(opened, hop(first), hop(second))
    assert isinstance(told, Reply)
    assert told.code == 451
    assert second.visits == []


async def test_a_refusal_for_good_counts_only_when_it_is_everybodys(authority: Authority) -> None:
    never: Script = {"greeting": "554 5.7.1 not you"}
    async with serving(never) as first, serving({"greeting": "421 4.3.2 later"}) as second, pool(authority) as opened:
        for order in ((first, second), (second, first)):
            told = await send(opened, *map(hop, order))
            assert isinstance(told, Reply)
            assert told.code == 421
        told = await send(opened, hop(first))
        assert isinstance(told, Reply)
        assert told.code == 554


async def test_ipv4_serves_where_ipv6_does_not_and_the_other_way_round(authority: Authority) -> None:
    async with serving() as four, pool(authority) as opened:
        six = Hop(NAME, four.port, address="::1")  # where nobody listens
        told = await send(opened, six, hop(four))
        assert isinstance(told, Reply)
        assert told.remote_ip == HOST
    try:
        async with serving(host="::1") as server, pool(authority) as opened:
            told = await send(opened, replace(hop(server), address=HOST), hop(server))
            assert isinstance(told, Reply)
            assert told.remote_ip == "::1"
    except OSError:
        pytest.skip("this machine has no IPv6")


async def test_a_connection_that_was_not_verified_serves_nobody_who_needs_that(authority: Authority) -> None:
    async with serving(STARTTLS, certificate=authority.server(NAME)) as server, pool(authority) as opened:
        told = [taken(await send(opened, hop(server, tls))) for tls in ("may", "must", "may", "must")]
    assert ["not verified" in str(each) for each in told] == [True, False, True, False]
    assert len(server.visits) == 2
