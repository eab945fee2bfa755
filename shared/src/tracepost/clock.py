"""A clock that goes on while the machine sleeps: for what another process may have taken over meanwhile."""

import time


def now() -> float:
    """Seconds since the machine was started."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
