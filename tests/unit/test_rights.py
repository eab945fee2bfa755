"""Users' rights as RabbitMQ reads them: each name is matched as a whole, what is not named is not allowed."""

from __future__ import annotations

import re

import pytest

from tracepost import rights, topology

TOLD = rights.definitions(dict.fromkeys([*rights.SERVICES, "shop"], "secret"), "mail")
PERMISSIONS = {each["user"]: each for each in TOLD["permissions"]}

each_service = pytest.mark.parametrize("user", rights.SERVICES)


def topics(user: str) -> dict[str, str]:
    return {each["exchange"]: each["write"] for each in TOLD["topic_permissions"] if each["user"] == user}


@each_service
def test_a_service_declares_nothing(user: str) -> None:
    for name in (*topology.EXCHANGES, *(queue.name for queue in topology.QUEUES), "amq.gen-x", "x"):
        assert not re.search(PERMISSIONS[user]["configure"], name)


@each_service
def test_names_are_matched_as_a_whole(user: str) -> None:
    for name in (*topology.EXCHANGES, *(queue.name for queue in topology.QUEUES)):
        for other in (f"{name}.more", f"more.{name}", name.replace(".", "x")):
            assert not re.search(PERMISSIONS[user]["write"], other)
            assert not re.search(PERMISSIONS[user]["read"], other)


@each_service
def test_who_writes_a_topic_is_bound_to_keys(user: str) -> None:
    written = {name for name in topology.EXCHANGES if re.search(PERMISSIONS[user]["write"], name)}
    assert written == topics(user).keys() & set(topology.EXCHANGES)


def test_every_queue_has_one_reader() -> None:
    for queue in topology.QUEUES:
        readers = [user for user in rights.SERVICES if re.search(PERMISSIONS[user]["read"], queue.name)]
        assert len(readers) == 1, queue.name


def test_an_app_has_what_begins_with_its_name_and_no_other_app() -> None:
    for name, allowed in (("shop.status", True), ("shop", False), ("shopping.status", False), ("other.shop.x", False)):
        assert bool(re.search(PERMISSIONS["shop"]["configure"], name)) == allowed
    assert topics("shop") == {topology.REQUESTS: r"^(send\.normal|send\.bulk)$"}


def test_a_password_is_never_written_down() -> None:
    assert "secret" not in str(TOLD)
    assert len({each["password_hash"] for each in TOLD["users"]}) == len(TOLD["users"])  # each has a salt of its own
    assert {each["vhost"] for each in (*TOLD["permissions"], *TOLD["topic_permissions"])} == {"mail"}
