"""What the sender is told by its environment."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from tracepost.events import Tracking
from tracepost.settings import Port, Seconds, SecretUrl, Settings, parts

Minutes = Annotated[
    tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], Field(min_length=1), BeforeValidator(parts)
]


class SenderSettings(Settings):
    """Each is `TRACEPOST_SENDER_<NAME>`, or `TRACEPOST_<NAME>` for all services."""

    service: ClassVar[str] = "sender"

    database_url: SecretUrl
    admin_port: Port = 9101
    api_port: Port = 8101
    relay_host: str = Field("127.0.0.1", description="the mail server that takes our mail")
    relay_port: Port = 25
    relay_timeout: Seconds = 60.0
    hostname: str = Field("localhost", description="our name in EHLO")
    bounce_domain: str = Field(description="the domain of return paths; its MX is bounce-ingest")
    pixel_url: str = Field(description="where recipients reach the pixel, e.g. https://pixel.example.org")
    track_opens: Tracking = Field("full", description="for requests that do not say")
    default_app: str | None = Field(
        None, description="for requests without a user_id; leave it unset outside a local stack"
    )
    concurrency: Annotated[int, Field(ge=1)] = 50
    retry_minutes: Minutes = (1, 5, 15, 30, 60, 120, 240, 480)
