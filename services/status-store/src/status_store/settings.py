"""What status-store is told by its environment."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from tracepost.settings import ApiSettings, DatabaseSettings, Port, Url

# Who passes variables on writes one that is not set as an empty one.
OptionalUrl = Annotated[Url | None, BeforeValidator(lambda told: told or None)]


class StatusStoreSettings(ApiSettings, DatabaseSettings):
    """Each is `TRACEPOST_STATUS_STORE_<NAME>`, or `TRACEPOST_<NAME>` for all services."""

    service: ClassVar[str] = "status-store"

    admin_port: Port = 9104
    api_port: Port = 8104
    batch: Annotated[int, Field(ge=1, le=1000, description="AMQP messages in one transaction")] = 100
    batches_at_once: Annotated[
        int, Field(ge=1, le=16, description="transactions side by side; 1 where several processes share the cores")
    ] = 2
    retention_months: Annotated[int, Field(ge=1, le=120, description="whole months that messages are kept")] = 13
    view_minutes: Annotated[int, Field(ge=15, le=1440, description="how long a badge's view token is good")] = 480
    sender_url: OptionalUrl = Field(
        None, description="where browsers reach the sender's API; else its pages are hidden"
    )
    bounce_ingest_url: OptionalUrl = Field(None, description="where browsers reach bounce-ingest's API, likewise")
    changes_kept_days: Annotated[int, Field(ge=1, le=400, description="how far back the change feed reaches")] = 31
