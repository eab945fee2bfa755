"""The whole sender by MX, and by relays that are away: what is sent where, and what is told of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aio_pika
import asyncpg
import pytest
from aio_pika.abc import AbstractQueue
from yarl import URL

from local_stack.binaries import Missing
from local_stack.processes import free_port
from tests import name_server, smtp_servers
from tests.certificates import Authority
from tests.conftest import eventually
from tests.integration.test_door import OPERATOR, post, serving
from tests.integration.test_smtp_tls import STARTTLS
from tests.smtp_servers import Server

ZONE = """
$ORIGIN example.test.
$TTL 300
@        SOA   ns hostmaster 1 3600 600 86400 60
@        NS    ns
ns       A     127.0.0.1
two      MX    10 first
two      MX    20 second
first    A     127.0.0.2
second   A     127.0.0.3
safe     MX    10 second
stripped MX    10 plain
plain    A     127.0.0.4
null     MX    0 .
"""


class Post:
    """A sender's door, and the events that come of it."""

    def __init__(self, door: URL, events: AbstractQueue) -> None:
        self._door, self._events, self._told = door, events, dict[str, list[dict[str, Any]]]()

    async def send(self, recipient: str) -> str:
        """The id of a message to this recipient."""
        asked = {"from": "shop@example.org", "to": [recipient], "text": "Hello"}
        status, told, _ = await post(self._door, asked, OPERATOR)
        assert status == 202, told
        return str(told["message_id"])

    async def told(self, message_id: str, *names: str) -> dict[str, Any]:
        """The data of the message's first event of one of these names."""

        async def found() -> dict[str, Any] | None:
            while message := await self._events.get(no_ack=True, fail=False):
                body = json.loads(message.body)
                for each in body if isinstance(body, list) else [body]:
                    self._told.setdefault(each["subject"].partition("/")[0], []).append(each)
            told = self._told.get(message_id, ())
            return next(
                (
                    each["data"] | {"event": each["type"].split(".")[1]}
                    for each in told
                    if each["type"].split(".")[1] in names
                ),
                None,
            )

        return await eventually(found)  # type: ignore[arg-type]  # it ends with one


@asynccontextmanager
async def sending(broker: str, database: str, token_keys: str, **settings: Any) -> AsyncIterator[Post]:
    """A sender that is ready."""
    async with (
        await aio_pika.connect(broker) as connection,
        connection.channel() as channel,
        serving(broker, database, token_keys, **settings) as door,
    ):
        queue = await channel.declare_queue(exclusive=True)
        for name in ("delivered", "deferred", "bounced"):
            await queue.bind("tracepost.events", name)
        yield Post(door, queue)


def why(told: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(told[name] for name in ("event", "bounce_class", "category", "rule"))


async def test_mail_goes_to_the_servers_that_dns_names(
    broker: str, database: str, token_keys: str, tmp_path: Path
) -> None:
    authority, port = Authority(tmp_path), free_port()
    certificate = authority.server("second.example.test")
    try:
        dns = name_server.serving(tmp_path, {"example.test": ZONE, "broken.test": None})
        async with (
            dns as dns_port,
            smtp_servers.serving(STARTTLS, certificate=certificate, host="127.0.0.3", port=port) as second,
            smtp_servers.serving(host="127.0.0.4", port=port) as plain,
            sending(
                *(broker, database, token_keys),
                relays="mx",
                name_servers=f"{name_server.HOST}:{dns_port}",
                mx_port=port,
                own_servers="127.0.0.9",
                require_tls="safe.example.test, stripped.example.test",
                ca_file=str(authority.file),
            ) as sender,
        ):
            await _all_is_told(sender, port, second, plain)
    except Missing as missing:
        pytest.skip(f"Knot cannot be had: {missing}")


async def _all_is_told(sender: Post, port: int, second: Server, plain: Server) -> None:
    sent = {
        name: await sender.send(f"ann@{name}.test")
        for name in ("two.example", "safe.example", "stripped.example", "null.example", "gone.example", "broken")
    }
    told = {name: await sender.told(id_, "delivered", "deferred", "bounced") for name, id_ in sent.items()}
    # The first of the two servers listens nowhere.
    for name, tls in (("two.example", "not verified"), ("safe.example", "TLS_AES_256_GCM_SHA384, verified")):
        assert told[name]["event"] == "delivered"
        assert told[name]["remote_mta"] == f"second.example.test:{port}"
        assert told[name]["remote_ip"] == "127.0.0.3"
        assert told[name]["tls"].endswith(tls)
    assert len(second.messages) == 2
    assert why(told["stripped.example"]) == ("deferred", "soft", "tls_required", "no-tls")
    assert plain.messages == []
    assert why(told["null.example"]) == ("bounced", "hard", "null_mx", "null-mx")
    assert told["null.example"]["enhanced_code"] == "5.1.10"
    assert why(told["gone.example"]) == ("bounced", "hard", "bad_domain", "no-such-domain")
    assert why(told["broken"]) == ("deferred", "soft", "dns_temporary", "dns-trouble")


async def test_while_the_relay_is_away_mail_waits_untried_and_goes_when_it_is_back(
    broker: str, database: str, token_keys: str
) -> None:
    port = free_port()
    relays = {"relays": f"127.0.0.1:{port}", "retry_minutes": "0.01"}
    async with sending(broker, database, token_keys, **relays) as sender:
        first = await sender.send("ann@first.test")
        assert why(await sender.told(first, "deferred")) == ("deferred", "soft", "network", "no-session")
        others = [await sender.send(f"ann@{number}.test") for number in range(20)]
        async with smtp_servers.serving(port=port) as server:
            for each in (first, *others):
                assert (await sender.told(each, "delivered"))["event"] == "delivered"
        assert len(server.messages) == 21
    attempts = await _attempts(database)
    assert attempts.total() == 21
    assert attempts[1] >= 12  # all but the first, and those that tried whether it is back


async def test_the_next_relay_takes_what_the_first_does_not(broker: str, database: str, token_keys: str) -> None:
    async with smtp_servers.serving({"greeting": "421 4.3.2 too busy"}) as busy, smtp_servers.serving() as next_:
        relays = f"127.0.0.1:{free_port()}, {busy.address}, {next_.address}"
        async with sending(broker, database, token_keys, relays=relays) as sender:
            told = await sender.told(await sender.send("ann@example.org"), "delivered", "deferred")
    assert (told["event"], told["remote_mta"]) == ("delivered", next_.address)
    assert len(busy.visits) == 1


async def _attempts(database: str) -> Counter[int]:
    connection = await asyncpg.connect(database)
    try:
        return Counter(row[0] for row in await connection.fetch("SELECT attempt FROM deliveries"))
    finally:
        await connection.close()
