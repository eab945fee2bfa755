"""What a program that works with Tracepost may import: publish a request, and follow what becomes of it.

from tracepost.client import Client

with Client() as tracepost:
    sent = tracepost.send(from_="support@example.org", to=["ann@example.com"], subject="Hello", text="Hello Ann")
    print(tracepost.wait_for(sent.message_id, "delivered", "read").shown_as)
"""

from tracepost.client.asynchronous import AsyncClient
from tracepost.client.blocking import Client
from tracepost.client.composing import attachment
from tracepost.client.faults import Refused, Unanswered, Unconfirmed, Unreachable
from tracepost.client.results import ISSUES, UNDER_WAY, Accepted, Change, Delivery, Message
from tracepost.pixels import strip_pixels

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
