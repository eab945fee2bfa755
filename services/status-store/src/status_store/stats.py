"""The API of statistics: statuses over time, bounces, opens, and how long delivery takes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

from status_store.asked import Stats
from status_store.counters import BEYOND, BOUNDS, percentile
from status_store.queries import Queries
from tracepost.http import answer, client_of
from tracepost.keys import Keys, app_of


def routes(queries: Queries, keys: Keys) -> list[web.RouteDef]:
    """`GET /v1/stats`."""

    async def stats(request: web.Request) -> web.Response:
        client = client_of(request, keys, "read")
        asked = Stats.model_validate(dict(request.query))
        start, end = asked.span(datetime.now(UTC))
        rows = await queries.counted(start, end, asked.by, app_of(client, asked.app))
        return answer({"from": start, "to": end, "by": asked.by} | told(rows))

    return [web.get("/v1/stats", stats)]


def told(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Of rows (time, kind, value, count); what has no count is left out, and an hour or day with it."""
    buckets: defaultdict[datetime, dict[str, int]] = defaultdict(dict)
    totals: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        totals[row["kind"]][row["value"]] += row["count"]
        if row["kind"] == "status" and row["count"]:
            buckets[row["time"]][row["value"]] = row["count"]
    return {
        "buckets": [{"time": time, "counts": counts} for time, counts in sorted(buckets.items())],
        "bounce_classes": totals["bounce"],
        "opens": totals["open"],
        "time_to_delivery": _durations(totals["delivery"]),
    }


def _durations(counts: Mapping[str, int]) -> dict[str, Any]:
    by_bound = [counts.get(str(bound), 0) for bound in (*BOUNDS, BEYOND)]
    parts = {f"p{part}": percentile(by_bound, part / 100) for part in (50, 95, 99)}
    buckets = [
        {"at_most": bound, "count": count} for bound, count in zip((*BOUNDS, None), by_bound, strict=True) if count
    ]
    return parts | {"count": sum(by_bound), "buckets": buckets}
