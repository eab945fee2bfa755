"""Holds what a virtual host has against what the topology asks for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from tracepost import topology
from tracepost.doctor.findings import Finding

APPLY = "run `tracepost topology apply`"
ANEW = "a declared one cannot be changed: drain it, delete it, and run `tracepost topology apply`"

Declared = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """What the management API lists of a virtual host."""

    exchanges: Collection[Declared]
    queues: Collection[Declared]
    bindings: Collection[Declared]
    policies: Collection[Declared]


def differences(found: Found) -> list[Finding]:
    """What is missing or otherwise than it should be, and of each kind how many are as they should."""
    wanted = topology.definitions()
    kinds = {
        "exchanges": [_exchange(each, _named(found.exchanges)) for each in wanted["exchanges"]],
        "queues": [_queue(each, _named(found.queues)) for each in wanted["queues"]],
        "bindings": [_binding(each, found.bindings) for each in wanted["bindings"]],
        "policies": [_policy(each, _named(found.policies)) for each in wanted["policies"]],
    }
    governed = [_governed(each, _named(found.queues)) for each in wanted["policies"]]
    told: list[Finding] = []
    for kind, looked in kinds.items():
        faults = [each for each in looked if each]
        told += faults or [Finding(kind, "ok", f"{len(looked)} are in place")]
    return told + [each for each in governed if each]


def consumers(queues: Iterable[Declared]) -> list[Finding]:
    """Queues that nobody reads, and those with members that are away."""
    told = []
    for name, queue in _named(queues).items():
        if name not in {each.name for each in topology.QUEUES}:
            continue
        away = set(queue.get("members", ())) - set(queue.get("online", ()))
        if away:
            remedy = "start these nodes: a quorum queue works while most of its members run"
            told.append(Finding(f"queue {name}", "warning", f"members are away: {', '.join(sorted(away))}", remedy))
        if queue.get("consumers") == 0:
            service = "status-store" if name == topology.DEAD else name.partition(".")[0]
            found = f"nobody reads it, and {queue.get('messages', 0)} messages wait"
            told.append(Finding(f"queue {name}", "warning", found, f"start {service}, and look into its /readyz"))
    return told or [Finding("consumers", "ok", "every queue is read")]


def _named(found: Iterable[Declared]) -> dict[str, Declared]:
    return {each["name"]: each for each in found}


def _exchange(wanted: Declared, known: Mapping[str, Declared]) -> Finding | None:
    check, found = f"exchange {wanted['name']}", known.get(wanted["name"])
    if found is None:
        return Finding(check, "error", "does not exist", APPLY)
    if (found["type"], found["durable"]) != ("topic", True):
        return Finding(check, "error", f"is of the type {found['type']}, and should be a durable topic exchange", ANEW)
    return None


def _queue(wanted: Declared, known: Mapping[str, Declared]) -> Finding | None:
    check, found = f"queue {wanted['name']}", known.get(wanted["name"])
    if found is None:
        return Finding(check, "error", "does not exist", APPLY)
    kind = found.get("arguments", {}).get("x-queue-type", "classic")
    if kind != "quorum":
        return Finding(check, "error", f"is a {kind} queue, and should be a quorum queue", ANEW)
    return None


def _binding(wanted: Declared, known: Iterable[Declared]) -> Finding | None:
    names = ("source", "destination", "routing_key")
    if any(all(each[name] == wanted[name] for name in names) for each in known):
        return None
    check = f"binding of {wanted['destination']}"
    return Finding(check, "error", f"nothing comes to it from {wanted['source']} by {wanted['routing_key']}", APPLY)


def _policy(wanted: Declared, known: Mapping[str, Declared]) -> Finding | None:
    check, found = f"policy {wanted['name']}", known.get(wanted["name"])
    if found is None:
        return Finding(check, "error", "does not exist: messages that cannot be processed would be lost", APPLY)
    asked = {"pattern": wanted["pattern"], "priority": wanted["priority"], **wanted["definition"]}
    there = {"pattern": found["pattern"], "priority": found["priority"], **found["definition"]}
    if wrong := [
        f"{name} is {there.get(name)}, not {value}" for name, value in asked.items() if there.get(name) != value
    ]:
        return Finding(check, "error", "; ".join(wrong), APPLY)
    return None


def _governed(policy: Declared, queues: Mapping[str, Declared]) -> Finding | None:
    """One policy applies to a queue: another of a higher priority would take the place of ours."""
    in_force = queues.get(policy["name"], {}).get("policy")
    if in_force in (None, "", policy["name"]):
        return None
    remedy = (
        f"let the pattern of {in_force} leave out the queue, or give that policy a priority below {policy['priority']}"
    )
    return Finding(f"queue {policy['name']}", "error", f"the policy {in_force} is in force in place of ours", remedy)
