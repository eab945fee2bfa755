"""Mail transactions with servers that agree, refuse, go silent, talk nonsense or go away, at every stage."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from math import inf

import pytest
from aiosmtpd.smtp import SMTP
from aiosmtpd.smtp import Envelope as Received

from sender import smtp
from sender.outcome import Lost, Reply, Unreachable
from sender.routing.rests import Rests
from sender.smtp import Envelope, Failed, Hop, Limits, Pool, Timeouts
from tests.conftest import eventually
from tests.smtp_servers import HOST, IN_TURN, Deed, Script, Server, Visit, serving

CONTEXTS = smtp.contexts()
LIMITS = Limits(connections=1, overall=10, idle=60, messages=100)
PATIENT = Timeouts().at_most(10)
HASTY = Timeouts().at_most(0.2)
CONTENT = b"Subject: hello\r\n\r\n.dots\r\n..\r\n.\r\nlast line\r\n"
LARGE = b"Subject: large\r\n\r\n" + (b"x" * 98 + b"\r\n") * 80_000
ANN = Envelope("b+1@bounces.example", "ann@example.org", len(CONTENT))

Told = Reply | Unreachable | Lost


@asynccontextmanager
async def pool(timeouts: Timeouts = PATIENT, limits: Limits = LIMITS) -> AsyncIterator[Pool]:
    async with smtp.pooling(smtp.Opener("sender.example", timeouts, CONTEXTS), limits, Rests()) as opened:
        yield opened


def route(server: Server) -> Hop:
    return Hop(HOST, server.port)


async def send(pool: Pool, to: Hop, content: bytes = CONTENT, envelope: Envelope = ANN) -> Told:
    """What becomes of a message."""
    try:
        async with pool.transaction([to]) as transaction:
            await transaction.envelope(envelope)
            return await transaction.message(content, inf)
    except Failed as failed:
        return failed.result


class Keeper:
    """What aiosmtpd took."""

    def __init__(self) -> None:
        self.taken: list[Received] = []

    async def handle_DATA(self, _server: SMTP, _session: object, envelope: Received) -> str:  # noqa: N802 - its name
        self.taken.append(envelope)
        return "250 2.0.0 taken"


@asynccontextmanager
async def aiosmtpd(most_bytes: int = 10_000) -> AsyncIterator[tuple[Hop, Keeper, list[SMTP]]]:
    keeper, sessions = Keeper(), []

    def session() -> SMTP:
        sessions.append(SMTP(keeper, data_size_limit=most_bytes, enable_SMTPUTF8=True, hostname="mx.example"))
        return sessions[-1]

    server = await asyncio.get_running_loop().create_server(session, HOST, 0)
    try:
        yield Hop(HOST, server.sockets[0].getsockname()[1]), keeper, sessions
    finally:
        server.close()


async def test_aiosmtpd_takes_what_was_sent_on_one_connection() -> None:
    contents = [CONTENT, b"", b".\r\n", b"Subject: \xff\r\n\r\nb\0b\r\n"]
    async with aiosmtpd() as (to, keeper, sessions), pool() as opened:
        for content in contents:
            told = await send(opened, to, content, replace(ANN, eight_bit=True))
            assert told == Reply("data", 250, "2.0.0 taken", to.name, HOST)
    assert [envelope.content for envelope in keeper.taken] == contents
    assert {(each.mail_from, *each.rcpt_tos) for each in keeper.taken} == {("b+1@bounces.example", "ann@example.org")}
    assert len(sessions) == 1


async def test_aiosmtpd_takes_addresses_beyond_ascii() -> None:
    async with aiosmtpd() as (to, keeper, _), pool() as opened:
        await send(opened, to, envelope=replace(ANN, recipient="jörg@bücher.example"))
    assert keeper.taken[0].rcpt_tos == ["jörg@bücher.example"]


async def test_a_message_over_the_servers_limit_is_not_offered() -> None:
    async with aiosmtpd(most_bytes=50) as (to, keeper, sessions), pool() as opened:
        told = await send(opened, to, envelope=replace(ANN, size=51))
        assert isinstance(told, Reply)
        assert (told.stage, told.code) == ("mail", 552)
        assert "51 bytes" in told.text
        await send(opened, to)
    assert len(keeper.taken) == len(sessions) == 1


async def test_smtputf8_is_missed_where_it_is_not_offered() -> None:
    async with serving() as server, pool() as opened:
        told = await send(opened, route(server), envelope=replace(ANN, utf8=True))
        assert isinstance(told, Reply)
        assert (told.stage, told.code) == ("mail", 553)
        assert "does not offer" in told.text
    assert server.visits[0].verbs == ["EHLO", "QUIT"]


async def test_with_pipelining_the_envelope_is_one_write() -> None:
    async with serving() as server, pool() as opened:
        for _ in range(2):
            assert isinstance(await send(opened, route(server)), Reply)
    [visit] = server.visits
    assert visit.pieces[1].startswith(b"MAIL")
    assert visit.pieces[1].endswith(b"\r\nDATA\r\n")
    assert len(visit.pieces) == 1 + 2 * 2 + 1
    assert server.messages == [CONTENT.replace(b"\r\n.", b"\r\n..")] * 2


async def test_without_pipelining_each_command_waits_for_its_answer() -> None:
    async with serving(IN_TURN) as server, pool() as opened:
        for _ in range(2):
            assert isinstance(await send(opened, route(server)), Reply)
    [visit] = server.visits
    verbs = ["MAIL", "RCPT", "DATA"]
    assert visit.verbs == ["EHLO", *verbs, *verbs, "QUIT"]
    assert len(visit.pieces) == 1 + 2 * 4 + 1


async def test_helo_serves_where_ehlo_is_not_known() -> None:
    async with serving({"EHLO": "502 5.5.1 what?"}) as server, pool() as opened:
        assert isinstance(await send(opened, route(server)), Reply)
    assert server.visits[0].commands[:3] == [
        "EHLO sender.example",
        "HELO sender.example",
        "MAIL FROM:<b+1@bounces.example>",
    ]


REFUSALS: dict[str, tuple[Script, str, int]] = {
    "greeting": ({"greeting": "554 5.7.1 not you"}, "connect", 554),
    "greeting, busy": ({"greeting": "421 4.3.2 too busy"}, "connect", 421),
    "EHLO, for now": ({"EHLO": "451 4.3.0 later"}, "ehlo", 451),
    "EHLO and HELO": ({"EHLO": "500 what", "HELO": "550 never"}, "ehlo", 550),
    "MAIL": ({"MAIL": "550 5.7.1 not from you", "RCPT": "503 first MAIL", "DATA": "503 first MAIL"}, "mail", 550),
    "MAIL, the end": ({"MAIL": ("421 4.3.2 leaving",), "RCPT": Deed.CLOSES}, "mail", 421),
    "RCPT": ({"RCPT": "550-5.1.1 no such\r\n550 5.1.1 user", "DATA": "554 nobody"}, "rcpt", 550),
    "RCPT, but DATA is agreed to": ({"RCPT": "450 4.2.1 later", "dot": "554 nobody"}, "rcpt", 450),
    "RCPT, the end": ({"RCPT": "421 4.3.2 leaving", "DATA": Deed.CLOSES}, "rcpt", 421),
    "DATA": ({"DATA": "451 4.3.0 later"}, "data", 451),
    "DATA, the end": ({"DATA": "421 4.3.2 leaving"}, "data", 421),
    "final dot": ({"dot": "554 5.7.1 spam"}, "data", 554),
    "final dot, the end": ({"dot": "421 4.3.2 leaving"}, "data", 421),
}
SILENCES: Sequence[Deed] = (Deed.HANGS, Deed.DRIPS)
NONSENSE: Sequence[Deed | bytes] = (
    *(Deed.CLOSES, Deed.FLOODS, b"what?\r\n", b"\0\0\r\n", b"x" * 10_000, b"250-and", b"199 hm\r\n"),
    b"220 or 354\r\n",
)


@pytest.mark.parametrize("manner", [{}, IN_TURN], ids=["pipelined", "in turn"])
@pytest.mark.parametrize(("script", "stage", "code"), REFUSALS.values(), ids=REFUSALS)
async def test_a_refusal_is_reported_with_its_stage(manner: Script, script: Script, stage: str, code: int) -> None:
    async with serving({**manner, **script}) as server, pool() as opened:
        told = await send(opened, route(server))
        if code == 421 or stage in {"connect", "ehlo"}:
            await server.visits[0].end()
    assert isinstance(told, Reply)
    assert (told.stage, told.code, told.remote, told.remote_ip) == (stage, code, route(server).name, HOST)
    assert not [message for message in server.messages if message and stage != "data"]


@pytest.mark.parametrize("manner", [{}, IN_TURN], ids=["pipelined", "in turn"])
@pytest.mark.parametrize("at", ["greeting", "EHLO", "MAIL", "RCPT", "DATA", "dot"])
@pytest.mark.parametrize("said", [*SILENCES, *NONSENSE], ids=str)
async def test_a_lost_session_is_unknown_from_the_final_dot_on_alone(
    manner: Script, at: str, said: bytes | Deed
) -> None:
    if isinstance(said, bytes) and said.startswith(b"220"):
        said = b"354 go\r\n" if at != "DATA" else b"250 ok\r\n"
    async with serving({**manner, at: said}) as server, pool(HASTY) as opened:
        told = await send(opened, route(server))
    assert isinstance(told, Lost if at == "dot" else Unreachable)
    assert told.remote == route(server).name
    assert len(server.messages) == (at == "dot")


@pytest.mark.parametrize("at", ["greeting", "EHLO"])
async def test_answers_before_the_commands_are_no_answers(at: str) -> None:
    ahead = b"220 mx\r\n" if at == "greeting" else b"250-mx\r\n250 PIPELINING\r\n"
    ahead += b"250 mail\r\n250 rcpt\r\n354 go\r\n"
    async with serving({at: ahead}) as server, pool(HASTY) as opened:
        assert isinstance(await send(opened, route(server)), Unreachable)
    assert "MAIL" not in server.visits[0].verbs


async def test_dripping_bytes_do_not_prolong_a_deadline() -> None:
    began = asyncio.get_running_loop().time()
    async with serving({"greeting": Deed.DRIPS}) as server, pool(HASTY) as opened:
        assert isinstance(await send(opened, route(server)), Unreachable)
    assert asyncio.get_running_loop().time() - began < 5


async def test_a_late_answer_ends_what_earlier_ones_did_not() -> None:
    timeouts = replace(HASTY, greeting=10, mail=10)
    async with serving({"RCPT": ["250 ok", "250 ok", Deed.HANGS]}) as server, pool(timeouts) as opened:
        told = [await send(opened, route(server)) for _ in range(3)]
    assert [type(each) for each in told] == [Reply, Reply, Unreachable]
    assert "within 0.2 s" in str(told[2])


async def test_nobody_listens() -> None:
    with socket.socket() as bound:
        bound.bind((HOST, 0))
        async with pool() as opened:
            told = await send(opened, Hop(HOST, bound.getsockname()[1]))
    assert isinstance(told, Unreachable)
    assert told.reason.startswith("no session: ")


async def test_a_server_that_accepts_no_connection_in_time() -> None:
    with socket.socket() as listening:
        listening.bind((HOST, 0))
        listening.listen(0)
        async with pool(HASTY, replace(LIMITS, connections=4)) as opened:
            to = Hop(HOST, listening.getsockname()[1])
            told = await asyncio.gather(*(send(opened, to) for _ in range(4)))
    assert {type(each) for each in told} == {Unreachable}
    assert any("no connection within 0.2 s" in str(each) for each in told)


async def test_a_host_that_cannot_be() -> None:
    async with pool() as opened:
        assert isinstance(await send(opened, Hop("a" * 64 + ".example", 25)), Unreachable)


@pytest.mark.parametrize("manner", [{}, IN_TURN], ids=["pipelined", "in turn"])
@pytest.mark.parametrize(
    "refusal",
    [
        {"MAIL": ["550 no", "250 ok"], "RCPT": ["503 no", "250 ok"], "DATA": ["503 no", "354 go"]},
        {"RCPT": ["550 no", "250 ok"], "DATA": ["554 no", "354 go"]},
        {"RCPT": ["550 no", "250 ok"], "dot": ["554 nobody", "250 ok"]},
        {"DATA": ["451 no", "354 go"]},
        {"dot": ["554 no", "250 ok"]},
    ],
)
async def test_after_a_refusal_the_connection_is_reset_and_used_again(manner: Script, refusal: Script) -> None:
    if manner:  # the commands behind the refused one are not sent
        refusal = {verb: says for number, (verb, says) in enumerate(refusal.items()) if number == 0}
    async with serving({**manner, **refusal}) as server, pool() as opened:
        first, second = [await send(opened, route(server)) for _ in range(2)]
    assert isinstance(first, Reply)
    assert isinstance(second, Reply)
    assert first.code >= 400
    assert second.code == 250
    [visit] = server.visits
    assert visit.verbs.count("RSET") == 1


async def test_a_refused_recipient_gets_an_empty_end_of_message() -> None:
    async with serving({"RCPT": "550 no", "dot": "250 hm"}) as server, pool() as opened:
        told = await send(opened, route(server))
        assert isinstance(told, Reply)
        assert (told.stage, told.code) == ("rcpt", 550)
    assert server.messages == [b""]


@pytest.mark.parametrize(
    "script",
    [
        {"MAIL": "550 no"},  # and agrees to DATA
        {"MAIL": "550 no", "RCPT": "503 no", "DATA": Deed.HANGS},
        {"MAIL": "550 no", "RCPT": "503 no", "DATA": Deed.CLOSES},
        {"RCPT": "550 no", "dot": Deed.HANGS},
        {"RCPT": "550 no", "dot": "421 leaving"},
    ],
)
async def test_a_refusal_stands_where_the_rest_makes_no_sense(script: Script) -> None:
    async with serving(script, {}) as server, pool(HASTY) as opened:
        first, second = [await send(opened, route(server)) for _ in range(2)]
    assert isinstance(first, Reply)
    assert isinstance(second, Reply)
    assert (first.code, second.code) == (550, 250)
    assert len(server.visits) == 2
    assert not any(server.visits[0].messages)


@pytest.mark.parametrize("manner", [{}, IN_TURN], ids=["pipelined", "in turn"])
async def test_who_leaves_before_the_message_sends_no_final_dot(manner: Script) -> None:
    async with serving(manner) as server, pool() as opened:
        async with opened.transaction([route(server)]) as transaction:
            await transaction.envelope(ANN)
        await server.visits[0].end()
        assert server.visits[0].unfinished == b""
        assert isinstance(await send(opened, route(server)), Reply)
    assert len(server.visits) == 2


async def test_a_message_needs_an_envelope() -> None:
    async with serving() as server, pool() as opened:
        with pytest.raises(RuntimeError):
            async with opened.transaction([route(server)]) as transaction:
                await transaction.message(CONTENT, inf)


async def test_a_large_message_arrives_whole() -> None:
    async with serving() as server, pool() as opened:
        assert isinstance(await send(opened, route(server), LARGE), Reply)
    assert server.messages == [LARGE]


async def test_a_server_may_refuse_in_the_middle_of_a_message() -> None:
    async with serving({"body": "552 5.3.4 too much of it"}) as server, pool() as opened:
        told = await send(opened, route(server), LARGE)
    assert isinstance(told, Reply)
    assert (told.stage, told.code) == ("data", 552)
    assert server.messages == []


@pytest.mark.parametrize("said", ["250 2.0.0 taken, why wait", b"what?\r\n", b"25", Deed.STALLS, Deed.CLOSES], ids=str)
async def test_before_the_last_block_nothing_can_have_been_taken(said: str | bytes | Deed) -> None:
    async with serving({"body": said}) as server, pool(HASTY) as opened:
        assert isinstance(await send(opened, route(server), LARGE), Unreachable)
    assert server.messages == []


@pytest.mark.parametrize(
    ("said", "result"), [("250 2.0.0 taken", Unreachable), ("421 4.3.2 leaving", Reply), ("25", Unreachable)]
)
async def test_what_is_said_before_the_message_is_no_answer_to_it(said: str, result: type[Told]) -> None:
    async with serving({"DATA": f"354 go\r\n{said}"}) as server, pool(HASTY) as opened:
        assert isinstance(await send(opened, route(server)), result)
    assert server.messages == []


@pytest.mark.parametrize("at", ["greeting", "EHLO", "MAIL", "DATA", "dot"])
async def test_cancellation_closes_the_connection_and_frees_the_slot(at: str) -> None:
    async with serving({at: Deed.HANGS}, {}) as server, pool() as opened:
        task = asyncio.create_task(send(opened, route(server)))

        async def waiting() -> bool:
            [visit] = server.visits or [Visit()]
            return bool(visit.messages) if at == "dot" else at in ["greeting", *visit.verbs] and bool(server.visits)

        await eventually(waiting)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.visits[0].end()
        assert isinstance(await send(opened, route(server)), Reply)
    assert len(server.visits) == 2
