"""RabbitMQ as the services use it: supervised sessions, a group-commit publisher, a batch consumer."""

from tracepost.broker.consumer import Codec, Incoming, Refused, answer, consuming
from tracepost.broker.decoding import EVENTS
from tracepost.broker.publisher import NotConfirmed, Publisher, Unroutable, publishing

__all__ = [
    "EVENTS",
    "Codec",
    "Incoming",
    "NotConfirmed",
    "Publisher",
    "Refused",
    "Unroutable",
    "answer",
    "consuming",
    "publishing",
]
