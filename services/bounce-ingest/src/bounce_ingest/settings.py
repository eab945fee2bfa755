"""What bounce-ingest is told by its environment."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from tracepost.settings import Port, Seconds, Settings


class BounceIngestSettings(Settings):
    """Each is `TRACEPOST_BOUNCE_INGEST_<NAME>`, or `TRACEPOST_<NAME>` for all services."""

    service: ClassVar[str] = "bounce-ingest"

    admin_port: Port = 9103
    smtp_port: Port = 8125
    hostname: str = Field("localhost", description="our name in the greeting")
    bounce_domain: str = Field(description="the domain of return paths, whose mail comes here")
    most_bytes: Annotated[int, Field(ge=65_536)] = 10 * 1024 * 1024
    session_timeout: Seconds = 300.0
    confirm_within: Seconds = Field(30.0, description="how long a mail's answer waits for the broker's confirm")
