"""Events, deliveries, messages and changes in PostgreSQL."""

from status_store.store.store import Change, Refolding, Store
from status_store.store.work import (
    NEW_RUN,
    Differing,
    Key,
    Known,
    Message,
    MessageId,
    NewState,
    Raced,
    Run,
    Stored,
    Work,
)

__all__ = [
    "NEW_RUN",
    "Change",
    "Differing",
    "Key",
    "Known",
    "Message",
    "MessageId",
    "NewState",
    "Raced",
    "Refolding",
    "Run",
    "Store",
    "Stored",
    "Work",
]
