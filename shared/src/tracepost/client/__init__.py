"""What a program that works with Tracepost may import: publish a request, and follow what becomes of it.

from tracepost.client import Client

with Client() as tracepost:
    sent = tracepost.send(from_="support@example.org", to=["ann@example.com"], subject="Hello", text="Hello Ann")
    print(tracepost.wait_for(sent.message_id, "delivered", "read").shown_as)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tracepost.pixels import strip_pixels

if TYPE_CHECKING:
    from tracepost.client.asynchronous import AsyncClient
    from tracepost.client.blocking import Client
    from tracepost.client.composing import attachment
    from tracepost.client.faults import Refused, Unanswered, Unconfirmed, Unreachable
    from tracepost.client.results import ISSUES, UNDER_WAY, Accepted, Change, Delivery, Message

__all__ = [
    "ISSUES",
    "UNDER_WAY",
    "Accepted",
    "AsyncClient",
    "Change",
    "Client",
    "Delivery",
    "Message",
    "Refused",
    "Unanswered",
    "Unconfirmed",
    "Unreachable",
    "attachment",
    "strip_pixels",
]

# Where each comes from, imported when it is asked for: who only strips pixels shall not wait for the rest.
_ROOMS = {
    "asynchronous": ("AsyncClient",),
    "blocking": ("Client",),
    "composing": ("attachment",),
    "faults": ("Refused", "Unanswered", "Unconfirmed", "Unreachable"),
    "results": ("ISSUES", "UNDER_WAY", "Accepted", "Change", "Delivery", "Message"),
}


def __getattr__(name: str) -> Any:
    for room, names in _ROOMS.items():
        if name in names:
            return getattr(import_module(f"tracepost.client.{room}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
