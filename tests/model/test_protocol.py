"""The queue's protocol keeps its promises in every state that it can reach, and needs each of its parts for that."""

from __future__ import annotations

from functools import cache

import pytest

from tests.model.promises import PROMISES
from tests.model.protocol import TRANSITIONS, beginnings, is_over
from tests.model.search import STUCK, Found, Seen, first_stuck, search
from tests.model.traces import CASES, DOCUMENT, Case, shown
from tests.model.weaknesses import Weakness
from tests.model.world import Rules

REMEDY = "run `python -m tests.model.traces` in the project's root, and look at what changed"


@cache
def explored(attempts: int, crashes: int) -> Found:
    return search(beginnings(crashes), Rules(attempts))


@pytest.mark.parametrize(("attempts", "crashes"), [(2, 0), (1, 1)])
def test_every_promise_holds_wherever_the_protocol_can_come(attempts: int, crashes: int) -> None:
    found = explored(attempts=attempts, crashes=crashes)
    assert found.broken is None, "\n".join(found.trace)
    assert found.worlds > 10_000, "the model has become too small to show anything"


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("attempts", "crashes", "publisher_first"),
    [(3, 2, True), (2, 0, False)],
    ids=["more attempts and crashes", "every order of publishing"],
)
def test_every_promise_holds_farther_out(attempts: int, crashes: int, publisher_first: bool) -> None:
    found = search(beginnings(crashes), Rules(attempts, publisher_first=publisher_first))
    assert found.broken is None, "\n".join(found.trace)


@pytest.mark.long
@pytest.mark.timeout(900)
def test_every_promise_holds_for_two_recipients() -> None:
    # Published once: the second time concerns intake alone, and would double what there is to look at.
    found = search([world for world in beginnings(0, recipients=2) if world.broker == 1], Rules(attempts=1))
    assert found.broken is None, "\n".join(found.trace)


def test_the_table_of_transitions_has_all_that_happen_and_no_other() -> None:
    assert explored(attempts=2, crashes=0).moves == TRANSITIONS


def test_what_is_done_stays_done() -> None:
    assert not [move for move in TRANSITIONS if move[0] == "done"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: " and ".join(sorted(each.name for each in case.without)))
def test_a_part_that_is_left_out_breaks_a_promise(case: Case) -> None:
    section = shown(case)
    assert f"Broken: **{case.broken}**" in section
    assert section in DOCUMENT.read_text("utf-8"), f"{DOCUMENT.name} is stale; {REMEDY}:\n{section}"


def test_every_part_is_left_out_once_and_every_promise_is_broken_once() -> None:
    assert {weakness for case in CASES for weakness in case.without} == set(Weakness)
    assert {case.broken for case in CASES} == {*PROMISES, STUCK}


def test_a_ring_without_a_way_out_is_found() -> None:
    start = next(beginnings(crashes=0))
    done = start._replace(broker=0, deliveries=(start.deliveries[0]._replace(state="done"),))
    assert is_over(done)
    ring = [start._replace(broker=broker) for broker in (2, 3)]
    seen = Seen()
    for world in (start, done, *ring):
        seen.add(world, -1)
    for source, target in ((0, done), (0, ring[0]), (2, ring[1]), (3, ring[0])):
        seen.step(source, target)
    assert first_stuck(seen) == 2
