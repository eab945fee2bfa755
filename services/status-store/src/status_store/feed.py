"""Reads the numbered changes: what a cursor has not seen, in the newest state of its messages."""

from __future__ import annotations

from status_store.cursors import Cursor, Page, item
from tracepost import postgres
from tracepost.postgres import Pool
from tracepost.problems import Invalid, Problem

_sql = postgres.load("status_store")


class Feed:
    """The feed is numbered by the drainer, without holes: whoever follows a cursor misses nothing."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def now(self) -> Cursor:
        """After everything that is numbered."""
        return Cursor(await self._pool.fetchval(_sql["numbered"]))

    async def known(self, cursor: Cursor) -> Cursor:
        """The cursor itself; Invalid (410) where what follows it was forgotten, or was never numbered here."""
        numbered, oldest = await self._pool.fetchrow(_sql["feed_bounds"]) or (0, None)
        next_one = oldest or numbered + 1
        if cursor.number > numbered or 0 < cursor.number < next_one - 1:
            detail = "what followed it is not kept any more; read the list of messages, and go on without a cursor"
            raise Invalid(Problem(code="cursor-gone", title="The cursor is too old", status=410, detail=detail))
        return cursor

    async def after(self, cursor: Cursor, limit: int, app: str | None = None) -> Page:
        """What follows, at most `limit`, of one app or of all."""
        rows = await self._pool.fetch(_sql["changes_after"], cursor.number, cursor.place, limit)
        end = Cursor(rows[-1]["number"], rows[-1]["place"]) if rows else cursor
        # The month of a message may have been dropped since.
        found = [item(dict(row)) for row in rows if row["message_id"] and app in (None, row["app"])]
        return Page(found, end, len(rows) == limit)
