"""Speaks SMTP to mail servers: transactions on pooled connections, with PIPELINING and TLS where they are offered."""

from sender.routing.hops import Hop
from sender.smtp.commands import Envelope
from sender.smtp.opening import Opener
from sender.smtp.pool import Pool, Transaction, pooling
from sender.smtp.tls import Contexts, contexts
from sender.smtp.values import Failed, Limits, Timeouts

__all__ = [
    "Contexts",
    "Envelope",
    "Failed",
    "Hop",
    "Limits",
    "Opener",
    "Pool",
    "Timeouts",
    "Transaction",
    "contexts",
    "pooling",
]
