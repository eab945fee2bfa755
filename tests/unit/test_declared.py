"""What a virtual host has, held against the topology: each thing that is missing or other than it should be is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tracepost import topology
from tracepost.doctor.declared import Found, consumers, differences

WANTED = topology.definitions()


def found(**changed: Any) -> Found:
    queues = [
        {**each, "policy": each["name"], "consumers": 1, "members": ["a"], "online": ["a"]} for each in WANTED["queues"]
    ]
    return replace(Found(WANTED["exchanges"], queues, WANTED["bindings"], WANTED["policies"]), **changed)


def test_what_was_applied_is_well() -> None:
    assert [each.level for each in differences(found())] == ["ok"] * 4
    assert [each.level for each in consumers(found().queues)] == ["ok"]


@pytest.mark.parametrize("kind", ["exchanges", "queues", "bindings", "policies"])
def test_each_thing_that_is_missing_is_named_with_the_remedy(kind: str) -> None:
    for missing in getattr(found(), kind):
        left = [each for each in getattr(found(), kind) if each != missing]
        [error] = [each for each in differences(found(**{kind: left})) if each.level == "error"]
        assert (missing.get("name") or missing["destination"]) in error.check
        assert missing.get("routing_key", "") in error.found
        assert error.remedy == "run `tracepost topology apply`"


@pytest.mark.parametrize(
    ("kind", "change", "words"),
    [
        ("exchanges", {"type": "fanout"}, "fanout"),
        ("exchanges", {"durable": False}, "durable"),
        ("queues", {"arguments": {}}, "is a classic queue"),
        ("queues", {"policy": "of-others"}, "the policy of-others is in force"),
        ("policies", {"pattern": "^x$"}, "pattern is ^x$"),
        (
            "policies",
            {"definition": {"delivery-limit": 20}},
            "delivery-limit is 20, not 200; dead-letter-exchange is None",
        ),
    ],
)
def test_each_thing_that_is_otherwise_is_told(kind: str, change: dict[str, Any], words: str) -> None:
    first, *rest = getattr(found(), kind)
    [error] = [each for each in differences(found(**{kind: [first | change, *rest]})) if each.level == "error"]
    assert first["name"] in error.check
    assert words in error.found
    assert error.remedy


def test_what_others_declare_beside_is_none_of_our_business() -> None:
    others = {"name": "of-others", "arguments": {}, "consumers": 0}
    queues = [*found().queues, others]
    assert differences(found(queues=queues)) == differences(found())
    assert [each.level for each in consumers(queues)] == ["ok"]


def test_a_queue_that_nobody_reads_names_the_service_that_should() -> None:
    queues = [{**each, "consumers": 0, "messages": 7, "online": []} for each in found().queues]
    told = {each.check: each for each in consumers(queues) if "nobody" in each.found}
    assert told["queue sender.requests.bulk"].remedy.startswith("start sender")
    assert told["queue tracepost.dead"].remedy.startswith("start status-store")
    assert "7 messages wait" in told["queue status-store.events"].found
    assert sum("members are away: a" in each.found for each in consumers(queues)) == len(topology.QUEUES)
