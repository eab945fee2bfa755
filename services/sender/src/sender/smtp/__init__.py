"""Speaks SMTP to mail servers: transactions on pooled connections, with PIPELINING where it is offered."""

from sender.routes import Route
from sender.smtp.commands import Envelope
from sender.smtp.pool import Pool, Transaction, pooling
from sender.smtp.session import Failed
from sender.smtp.values import Limits, Timeouts

__all__ = ["Envelope", "Failed", "Limits", "Pool", "Route", "Timeouts", "Transaction", "pooling"]
