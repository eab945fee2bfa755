"""The doctor on real servers that are not as they should be."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

import aiohttp
import asyncpg
import pytest
from yarl import URL

from local_stack.processes import free_port
from local_stack.stack import Servers
from tests.conftest import eventually
from tracepost import postgres, topology
from tracepost.doctor import broker as brokers
from tracepost.doctor import database as databases
from tracepost.doctor import settings
from tracepost.doctor.findings import Finding


def errors(findings: Sequence[Finding]) -> dict[str, str]:
    assert all(each.remedy for each in findings if each.level != "ok")
    return {each.check: each.found for each in findings if each.level == "error"}


async def remove(management_url: str, *paths: str) -> None:
    url = URL(management_url)
    auth = aiohttp.encode_basic_auth(url.user or "", url.password or "")
    async with aiohttp.ClientSession(headers={"Authorization": auth}) as session:
        for path in paths:
            target = URL(f"{url.with_user(None).origin()}/api/{path}", encoded=True)
            async with session.delete(target) as response:
                assert response.status == 204, await response.text()


async def test_what_somebody_took_away_is_found_and_applying_brings_it_back(servers: Servers, broker: str) -> None:
    management, vhost = servers.broker.management_url, URL(broker).path[1:]
    assert not errors(await brokers.examine(broker, management))
    await remove(
        management,
        f"bindings/{vhost}/e/{topology.EVENTS}/q/sender.events/bounced",
        f"policies/{vhost}/status-store.events",
        f"queues/{vhost}/{topology.DEAD}",
    )
    found = errors(await brokers.examine(broker, management))
    assert set(found) == {
        "binding of sender.events",
        "policy status-store.events",
        f"queue {topology.DEAD}",
        f"binding of {topology.DEAD}",
    }
    await topology.apply(management, vhost)

    async def well() -> bool:
        return not errors(await brokers.topology(management, vhost))

    await eventually(well)
    waiting = [each.check for each in await brokers.examine(broker, management) if each.level == "warning"]
    assert "queue sender.requests.normal" in waiting or not waiting  # its counts come late


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda url: url.with_password("wrong"), "ACCESS_REFUSED"),
        (lambda url: url.with_port(free_port()), "Connect call failed"),
    ],
    ids=["password", "port"],
)
async def test_a_broker_that_cannot_be_used_says_why(servers: Servers, broker: str, change: object, words: str) -> None:
    assert callable(change)
    found = errors(await brokers.examine(str(change(URL(broker))), servers.broker.management_url))
    assert [words in each for each in found.values()] == [True]


async def test_a_management_api_that_cannot_be_asked_is_told_and_the_rest_is_looked_at(
    servers: Servers, broker: str
) -> None:
    wrong = str(URL(servers.broker.management_url).with_password("wrong"))
    told = await brokers.examine(broker, wrong)
    assert [each.level for each in told] == ["ok", "error"]
    assert "401" in told[1].found
    with pytest.raises(PermissionError, match="check --management-url"):
        await brokers.managed(brokers.topology(wrong, quote("/", safe="")), wrong)


async def test_a_database_is_told_by_its_migrations(database: str) -> None:
    [version, level, clock] = await databases.examine("sender", database)
    assert (version.level, clock.level) == ("ok", "ok")
    assert (level.level, "001_queue.sql" in level.found) == ("warning", True)
    assert "python -m sender --migrate" in level.remedy
    async with postgres.connected(database, "sender"):
        pass
    [_, level, _] = await databases.examine("sender", database)
    assert (level.level, level.found) == ("ok", f"{postgres.migrations('sender')[-1].name} is the last")
    [_, level, _] = await databases.examine("status-store", database)
    assert (level.level, "another's" in level.found) == ("error", True)
    connection = await asyncpg.connect(database)
    await connection.execute("INSERT INTO migrations (name, checksum) VALUES ('999_of_tomorrow.sql', '')")
    await connection.close()
    found = errors(await databases.examine("sender", database))
    assert "newer" in found["migrations of the database of sender"]


async def test_a_database_that_is_not_there_names_the_variable(database: str) -> None:
    [told] = await databases.examine("status-store", str(URL(database).with_path("/none")))
    assert (told.level, "TRACEPOST_STATUS_STORE_DATABASE_URL" in told.remedy) == ("error", True)


async def test_services_say_what_is_wrong_with_their_own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPOST_TOKEN_KEYS", "1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    monkeypatch.setenv("TRACEPOST_PIXEL_PORT", "many")
    found = await settings.examine(["pixel", "none-such"])
    assert [(each.check, each.level) for each in found] == [("settings of pixel", "error")]
    assert "TRACEPOST_PIXEL_PORT" in found[0].found
    assert "python -m pixel --print-config" in found[0].remedy
    assert (await settings.examine(["none-such"]))[0].level == "warning"


async def test_a_variable_that_names_no_setting_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPOST_TOKEN_KEYS", "1:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=")
    [found] = await settings.examine(["pixel"])
    assert (found.level, found.found) == ("ok", "can be used")
    monkeypatch.setenv("TRACEPOST_PIXEL_SPOLL", "/var/spool")
    [found] = await settings.examine(["pixel"])
    assert (found.level, "TRACEPOST_PIXEL_SPOOL" in found.found) == ("warning", True)
