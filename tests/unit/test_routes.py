"""Where mail goes, and how many attempts of each lane may begin."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sender import lanes, routes
from sender.routes import Routes
from sender.smtp import Route

RELAY = Route("127.0.0.1", 25)


def test_a_destination_goes_its_own_way_or_to_the_relay() -> None:
    table = Routes(RELAY, routes.read(["Slow.test=mx.slow.test:2525", "six.test=[::1]:25"]))
    assert table.to("slow.test") == Route("mx.slow.test", 2525)
    assert table.to("six.test") == Route("::1", 25)
    assert table.to("example.org") is RELAY


@pytest.mark.parametrize(
    "entry", ["", "a.test", "a.test=", "a.test=host", "a.test=host:0", "=h:1", "a=h:x", "a=h:99999"]
)
def test_what_is_no_route_is_named(entry: str) -> None:
    with pytest.raises(ValueError, match="write it as"):
        routes.read([entry])


@given(st.integers(1, 500), st.integers(0, 600), st.integers(0, 600))
def test_bulk_never_has_what_the_normal_lane_needs(concurrency: int, normal: int, bulk: int) -> None:
    free = lanes.free(concurrency, normal, bulk)
    assert 0 <= free.bulk <= free.normal <= concurrency
    assert normal + bulk + free.normal <= max(concurrency, normal + bulk)
    if free.bulk:
        assert bulk + free.bulk <= concurrency * lanes.BULK_SHARE + 1


def test_even_a_single_slot_serves_both_lanes() -> None:
    assert lanes.free(1, 0, 0) == (1, 1)
