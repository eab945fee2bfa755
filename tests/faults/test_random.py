"""Several faults at a time, in an order drawn from a printed seed: `SEED=7 MINUTES=5 make faults` repeats it."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable

import pytest

from tests.faults.load import loading
from tests.faults.schedule import carry_out, drawn
from tests.faults.settle import settle
from tests.faults.site import Site

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.long]

SEED = int(os.environ.get("SEED") or random.randrange(1_000_000))
MINUTES = float(os.environ.get("MINUTES") or 3)


@pytest.mark.timeout(MINUTES * 60 + 400)
async def test_a_random_schedule_loses_nothing(site: Site, tell: Callable[[object], None]) -> None:
    tell(f"SEED={SEED}")
    end = time.monotonic() + MINUTES * 60
    async with loading(site, rate=10) as load:
        for step in drawn(SEED):
            if time.monotonic() > end:
                break
            tell(step)
            await carry_out(site, step)
        verdict = await settle(site, load, deadline=150)
    tell(verdict)
    assert verdict.clean, verdict
    assert not site.surprises
