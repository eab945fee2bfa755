"""Group commit: who comes together goes together, alone nobody waits, and what fails fails for its own caller."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from tracepost.batches import Batches
from tracepost.runner import background


class Work:
    """Doubles numbers; keeps what it was asked, and fails as it is told."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.failures: list[Exception] = []
        self.poison: int | None = None

    async def __call__(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop()
        if self.poison in items:
            raise ZeroDivisionError
        return [2 * item for item in items]


async def test_what_comes_while_one_is_in_flight_goes_together() -> None:
    work = Work()
    batches = Batches[int, int](work, (), asyncio.Lock())
    async with background(batches.run()):
        assert await batches.do(1) == 2
        assert await asyncio.gather(*(batches.do(number) for number in range(5))) == [0, 2, 4, 6, 8]
    assert work.batches == [[1], [0, 1, 2, 3, 4]]


async def test_no_batch_is_larger_than_the_most() -> None:
    work = Work()
    batches = Batches[int, int](work, (), asyncio.Lock(), most=2)
    async with background(batches.run()):
        assert await asyncio.gather(*(batches.do(number) for number in range(5))) == [0, 2, 4, 6, 8]
    assert [len(batch) for batch in work.batches] == [2, 2, 1]


async def test_what_is_transient_is_tried_again() -> None:
    work = Work()
    work.failures = [OSError("away"), OSError("away")]
    batches = Batches[int, int](work, (OSError,), asyncio.Lock())
    async with background(batches.run()):
        assert await batches.do(1) == 2
    assert work.batches == [[1]] * 3


async def test_what_fails_fails_for_its_own_caller_alone() -> None:
    work = Work()
    work.poison = 3
    batches = Batches[int, int](work, (OSError,), asyncio.Lock())
    async with background(batches.run()):
        answers = await asyncio.gather(*(batches.do(number) for number in range(5)), return_exceptions=True)
    assert [each for each in answers if not isinstance(each, Exception)] == [0, 2, 4, 8]
    assert isinstance(answers[3], ZeroDivisionError)


async def test_what_no_database_could_take_is_not_tried_for_ever() -> None:
    work = Work()
    work.failures = [ValueError("cannot be encoded")]
    batches = Batches[int, int](work, (Exception,), asyncio.Lock())
    async with background(batches.run()):
        with pytest.raises(ValueError, match="encoded"):
            await batches.do(1)


async def test_who_gave_up_holds_up_nobody() -> None:
    work = Work()
    batches = Batches[int, int](work, (), asyncio.Lock())
    impatient = asyncio.create_task(batches.do(1))
    await asyncio.sleep(0)
    impatient.cancel()
    async with background(batches.run()):
        assert await batches.do(2) == 4
    assert work.batches == [[2]]


async def test_who_shares_a_turn_works_in_turns_and_gathers_meanwhile() -> None:
    one, other, turn = Work(), Work(), asyncio.Lock()
    first, second = (Batches[int, int](work, (), turn) for work in (one, other))
    async with background(first.run()), background(second.run()):
        async with turn:
            waiting = [asyncio.create_task(each.do(number)) for number in range(3) for each in (first, second)]
            for _ in range(5):
                await asyncio.sleep(0)
            assert one.batches == other.batches == []
        assert await asyncio.gather(*waiting) == [0, 0, 2, 2, 4, 4]
    assert one.batches == other.batches == [[0, 1, 2]]
