"""What status-store has stored, as its API reads it."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from status_store.fold import Delivery
from status_store.queries import Queries
from status_store.store import Store
from tracepost.keys import LOCAL
from tracepost.problems import Invalid


async def message(store: Store, message_id: UUID) -> tuple[dict[str, Any], dict[int, Delivery]] | None:
    """A message's row, and what is known of its deliveries."""
    queries = Queries(store.pool)
    async with queries.running():
        try:
            found = await queries.message(message_id, LOCAL)
        except Invalid:
            return None
    return json.loads(found.row), found.deliveries


async def timeline(store: Store, message_id: UUID) -> list[dict[str, Any]]:
    """A message's events, in the order of their times."""
    told: list[dict[str, Any]] = json.loads(await Queries(store.pool).timeline(message_id, LOCAL))["events"]
    return told
