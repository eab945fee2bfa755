"""What was found is remembered as long as it holds, and never more of it than there is room for."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from sender.routing.cache import Cache

MOST = 3

steps = st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 4)), max_size=60)


@given(steps)
def test_nothing_outlives_its_time_or_its_room(story: list[tuple[int, bool, int]]) -> None:
    """`used` holds what a cache without a limit would, the least recently used first."""
    cache, used, now = Cache[int, int](MOST), dict[int, tuple[int, int]](), 0
    for step, (key, is_kept, seconds) in enumerate(story):
        now += seconds % 2
        if is_kept:
            cache.keep(key, step, now + seconds)
            used.pop(key, None)
            used[key] = step, now + seconds
            used = dict([*used.items()][-MOST:])
        else:
            value, until = used.pop(key, (None, 0))
            expected = value if until > now else None
            assert cache.get(key, now) == expected
            if value is not None and until > now:
                used[key] = value, until
        assert len(cache) <= MOST
