"""What messages are found by: terms, which are hashes, of an address a keyed one; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from typing import Literal, NamedTuple

from status_store.fold import Delivery
from status_store.rollup import Description
from tracepost.addresses import normal, parse
from tracepost.events import Accepted, AnyEvent, Erased

Kind = Literal["to", "sender", "tag", "app"]


class Term(NamedTuple):
    """That a message is found by this term, by what the `accepted` of this recipient says."""

    term: str
    message_id: str
    recipient_no: int


def hashed(kind: Kind, value: str) -> str:
    """16 bytes in hexadecimal; the value of `to` is an address's keyed hash, that of `sender` an address."""
    return blake2b(f"{kind}\0{value}".encode(), digest_size=16).hexdigest()


_hashed = lru_cache(10_000)(hashed)  # apps, senders and tags are few


@lru_cache(10_000)
def address_of(sender: str) -> str:
    """The address of a mailbox as it is compared; of what is none, the text itself."""
    try:
        return normal(parse(sender).address)
    except ValueError:
        return sender.strip().lower()


def terms(
    events: Mapping[tuple[str, int], Sequence[AnyEvent]],
    folded: Mapping[tuple[str, int], Delivery],
    described: Mapping[str, Description],
    address_key: Callable[[str], str],
) -> list[Term]:
    """By what these events let their messages be found, sorted; an address that is erased is no term."""
    found = [each for key, said in events.items() for each in _of_recipients(key, said, folded[key], address_key)]
    found += [each for id_, description in described.items() for each in _of_message(id_, description)]
    return sorted(found)


def _of_recipients(
    key: tuple[str, int], said: Sequence[AnyEvent], known: Delivery, address_key: Callable[[str], str]
) -> Iterator[Term]:
    if known.erased is None:
        for event in said:
            if isinstance(event.data, Accepted):
                yield Term(hashed("to", address_key(event.data.recipient)), *key)


def _of_message(id_: str, description: Description) -> Iterator[Term]:
    number, accepted = description
    yield Term(_hashed("app", accepted.app), id_, number)
    yield Term(_hashed("sender", address_of(accepted.sender)), id_, number)
    for tag in accepted.tags:
        yield Term(_hashed("tag", tag), id_, number)


def erased(events: Mapping[tuple[str, int], Sequence[AnyEvent]]) -> list[Term]:
    """Of the addresses that are to be erased."""
    return [
        Term(hashed("to", event.data.address_key), *key)
        for key, said in events.items()
        for event in said
        if isinstance(event.data, Erased)
    ]
