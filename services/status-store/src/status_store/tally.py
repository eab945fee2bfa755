"""What a refold finds stored otherwise than the rules say: counted by kind, with examples; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from pydantic import TypeAdapter

MOST_EXAMPLES = 5

What = Literal["deliveries", "messages"]
BESIDE_STATUS: dict[What, str] = {
    "deliveries": "only the facts",
    "messages": "only the roll-up or the description",
}


class Found(NamedTuple):
    """A delivery or message that is stored otherwise than the rules say; `before` is None where it is missing."""

    what: What
    name: str
    before: str | None
    after: str

    @property
    def kind(self) -> str:
        """From which status to which, or what differs beside it."""
        return f"{self.before or 'missing'} → {self.after}" if self.before != self.after else BESIDE_STATUS[self.what]


@dataclass(frozen=True, slots=True)
class Kind:
    """How many of one kind there are, and the first of them."""

    count: int = 0
    examples: tuple[str, ...] = ()

    def plus(self, name: str) -> Kind:
        """One more."""
        return Kind(self.count + 1, (*self.examples, name)[:MOST_EXAMPLES])


@dataclass(frozen=True, slots=True)
class Tally:
    """How many messages were looked at, what was folded again of them, and the differences by kind."""

    looked_at: int = 0
    messages: int = 0
    deliveries: int = 0
    changes: dict[What, dict[str, Kind]] = field(default_factory=lambda: {"deliveries": {}, "messages": {}})

    def plus(self, looked_at: int, messages: int, deliveries: int, found: Iterable[Found]) -> Tally:
        """With one more batch."""
        changes = {what: dict(kinds) for what, kinds in self.changes.items()}
        for each in found:
            kinds = changes[each.what]
            kinds[each.kind] = kinds.get(each.kind, Kind()).plus(each.name)
        return Tally(self.looked_at + looked_at, self.messages + messages, self.deliveries + deliveries, changes)


_stored = TypeAdapter(Tally)


def to_json(tally: Tally) -> str:
    """The tally as it is stored."""
    return _stored.dump_json(tally).decode()


def from_json(text: str) -> Tally:
    """The tally that was stored."""
    return _stored.validate_json(text)


def table(tally: Tally) -> str:
    """The tally for a person."""
    head = (
        f"looked at {tally.looked_at} messages; folded again {tally.deliveries} deliveries of {tally.messages} messages"
    )
    return "\n".join([head, *(line for what, kinds in tally.changes.items() for line in _lines(what, kinds))])


def _lines(what: What, kinds: dict[str, Kind]) -> Iterable[str]:
    if not kinds:
        yield f"{what}: no changes"
        return
    yield f"{what}:"
    width = max(map(len, kinds))
    for name, kind in sorted(kinds.items(), key=lambda item: (-item[1].count, item[0])):
        yield f"{kind.count:>10}  {name:<{width}}  {kind.examples[0]}"
        yield from (f"{'':>{width + 14}}{example}" for example in kind.examples[1:])
