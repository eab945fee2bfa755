"""The months that are kept: a message's id says in which it was made; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import NamedTuple
from uuid import UUID

AHEAD = 2  # months whose partitions are made before they are needed


def least_id(time: datetime) -> UUID:
    """The least UUIDv7 of a moment (RFC 9562: 48 bits of milliseconds since 1970 come first)."""
    return UUID(int=max(0, int(time.timestamp() * 1000)) << 80)


class Month(NamedTuple):
    """A month of UTC."""

    year: int
    number: int

    def plus(self, count: int) -> Month:
        """The month so many later."""
        months = self.year * 12 + self.number - 1 + count
        return Month(months // 12, months % 12 + 1)

    @property
    def start(self) -> datetime:
        """Its first moment."""
        return datetime(*self, 1, tzinfo=UTC)

    @property
    def bound(self) -> UUID:
        """The least UUIDv7 of this month."""
        return least_id(self.start)

    def __str__(self) -> str:
        return f"{self.year:04}_{self.number:02}"


def month(time: datetime) -> Month:
    """The month of a moment."""
    return Month(time.astimezone(UTC).year, time.astimezone(UTC).month)


@dataclass(frozen=True)
class Months:
    """The months from `first` up to `present` and a few more."""

    first: Month
    present: Month

    @property
    def end(self) -> Month:
        """The first one that is not among them."""
        return self.present.plus(AHEAD + 1)

    def __iter__(self) -> Iterator[Month]:
        each = self.first
        while each < self.end:
            yield each
            each = each.plus(1)

    @cached_property
    def _bounds(self) -> tuple[str, str]:
        return str(self.first.bound), str(self.end.bound)

    def cover(self, message_id: str) -> bool:
        """Whether a message with this id, in lower case, has its place in them."""
        low, high = self._bounds
        return low <= message_id < high


def kept(now: datetime, retention: int) -> Months:
    """The present month, `retention` months before it and a few after it."""
    return Months(month(now).plus(-retention), month(now))


def current(now: datetime) -> set[Month]:
    """The months of messages that are sent now: their ids may be seven days old, or a day ahead."""
    return {month(now - timedelta(days=7)), month(now + timedelta(days=1))}


def ahead(made: Collection[Month], now: Month) -> int:
    """How many months after this one are made, up to the first that is not."""
    count = 0
    while now.plus(count + 1) in made:
        count += 1
    return count
