"""The topology as data: every queue is fed, and no message is lost when it dies."""

from __future__ import annotations

import json
import re
from collections import Counter
from typing import Any, get_args

import pytest

from tracepost import topology
from tracepost.events import AnyEvent
from tracepost.topology import DEAD, DEAD_LETTERS, EVENTS, EXCHANGES, QUEUES, REQUESTS, STATUS, WORK_QUEUES, Queue

DEFINITIONS = topology.definitions()
EVENT_NAMES = {
    get_args(kind.model_fields["type"].annotation)[0].split(".")[1] for kind in get_args(get_args(AnyEvent)[0])
}

work_queue = pytest.mark.parametrize("queue", WORK_QUEUES, ids=lambda queue: queue.name)


def policies(name: str) -> list[dict[str, Any]]:
    """The policies that RabbitMQ finds for a queue; it applies one of them alone."""
    return [policy for policy in DEFINITIONS["policies"] if re.search(policy["pattern"], name)]


def bindings(name: str) -> set[tuple[str, str]]:
    found = [each for each in DEFINITIONS["bindings"] if each["destination"] == name]
    assert {each["destination_type"] for each in found} <= {"queue"}
    return {(each["source"], each["routing_key"]) for each in found}


@work_queue
def test_a_work_queue_loses_nothing_when_a_message_dies_in_it(queue: Queue) -> None:
    (policy,) = policies(queue.name)
    assert policy["apply-to"] == "queues"
    assert policy["definition"] == {
        "delivery-limit": 200,
        "dead-letter-exchange": DEAD,
        "dead-letter-routing-key": queue.name,
        "dead-letter-strategy": "at-least-once",
        "overflow": "reject-publish",
    }


def test_dead_letters_have_nowhere_to_die() -> None:
    assert DEAD_LETTERS not in WORK_QUEUES
    assert policies(DEAD) == []


@pytest.mark.parametrize("name", ["sender-requests-normal", "sender.requests.normal.2", "a.sender.events", "", "other"])
def test_a_policy_is_for_its_queue_alone(name: str) -> None:
    assert policies(name) == []


def test_every_queue_is_durable_a_quorum_queue_and_nothing_more() -> None:
    assert [each["name"] for each in DEFINITIONS["queues"]] == [queue.name for queue in QUEUES]
    for each in DEFINITIONS["queues"]:
        assert (each["durable"], each["auto_delete"]) == (True, False)
        assert each["arguments"] == {"x-queue-type": "quorum"}  # an argument can never be changed, a policy can


def test_the_exchanges_are_durable_and_of_type_topic() -> None:
    assert {each["name"] for each in DEFINITIONS["exchanges"]} == {REQUESTS, EVENTS, STATUS, DEAD} == set(EXCHANGES)
    for each in DEFINITIONS["exchanges"]:
        assert (each["type"], each["durable"], each["auto_delete"]) == ("topic", True, False)
        assert not each["internal"]


def test_every_queue_is_bound_to_an_exchange_that_exists() -> None:
    names = {each["name"] for each in DEFINITIONS["queues"]}
    assert {each["source"] for each in DEFINITIONS["bindings"]} <= set(EXCHANGES)
    assert {each["destination"] for each in DEFINITIONS["bindings"]} == names


def test_names_are_given_once() -> None:
    for kind in ("exchanges", "queues", "policies"):
        assert set(Counter(each["name"] for each in DEFINITIONS[kind]).values()) == {1}


def test_requests_go_by_lane() -> None:
    assert bindings("sender.requests.normal") == {(REQUESTS, "send.normal")}
    assert bindings("sender.requests.bulk") == {(REQUESTS, "send.bulk")}


def test_services_get_the_events_that_they_act_on() -> None:
    assert bindings("status-store.events") == {(EVENTS, "#")}
    assert bindings("bounce-ingest.events") == {(EVENTS, "erased")}
    wanted = ("bounced", "complained", "withdrawn", "erased")
    assert bindings("sender.events") == {(EVENTS, key) for key in wanted}


def test_every_key_of_an_event_queue_is_an_event() -> None:
    keys = {key for queue in QUEUES if queue.source == EVENTS for key in queue.keys} - {"#"}
    assert keys <= EVENT_NAMES


def test_every_dead_letter_is_kept() -> None:
    assert bindings(DEAD) == {(DEAD, "#")}


def test_the_shipped_file_holds_the_definitions() -> None:
    assert json.loads(topology.as_json()) == DEFINITIONS
