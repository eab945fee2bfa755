"""What bounce-ingest is told by its environment."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from bounce_ingest.parsers.values import Limits
from tracepost.settings import ApiSettings, DatabaseSettings, Port, Seconds

MIB = 1024 * 1024
ROOM = 32  # bytes of memory that the reading of one byte may take: three times what the worst mails have taken


class BounceIngestSettings(ApiSettings, DatabaseSettings):
    """Each is `TRACEPOST_BOUNCE_INGEST_<NAME>`, or `TRACEPOST_<NAME>` for all services."""

    service: ClassVar[str] = "bounce-ingest"

    admin_port: Port = 9103
    api_port: Port = 8103
    smtp_port: Port = 8125
    hostname: str = Field("localhost", description="our name in the greeting")
    bounce_domain: str = Field(description="the domain of return paths, whose mail comes here")
    most_bytes: Annotated[int, Field(ge=65_536)] = 10 * MIB
    session_timeout: Seconds = 300.0
    confirm_within: Seconds = Field(30.0, description="how long a mail's answer waits for the broker's confirm")

    parsers: Annotated[int, Field(ge=1, le=64)] = 2
    parse_seconds: Seconds = Field(10.0, description="until a mail's parsing is given up; a whole batch has no more")
    parse_memory: Annotated[int, Field(ge=128 * MIB)] = 512 * MIB
    parse_bytes: Annotated[int, Field(ge=65_536)] = 1 * MIB

    def limits(self) -> Limits:
        """Those of one parser."""
        return Limits(self.parse_seconds, self.parse_memory, self.parse_bytes)

    def model_post_init(self, context: Any) -> None:
        """Refuse what would leave a parser too little room for what it shall read."""
        super().model_post_init(context)
        needed = 64 * MIB + ROOM * self.parse_bytes
        if self.parse_memory < needed:
            raise ValueError(f"PARSE_MEMORY is {self.parse_memory}: for PARSE_BYTES set it to {needed} or more")
