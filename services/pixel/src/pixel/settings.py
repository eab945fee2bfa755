"""What the pixel is told by its environment."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, Field

from tracepost.settings import Port, Seconds, Settings, parts

Networks = Annotated[tuple[IPv4Network | IPv6Network, ...], BeforeValidator(parts)]


class PixelSettings(Settings):
    """Each is `TRACEPOST_PIXEL_<NAME>`, or `TRACEPOST_<NAME>` for all services."""

    service: ClassVar[str] = "pixel"

    admin_port: Port = 9102
    port: Port = 8102
    trusted_proxies: Networks = Field((), description="networks whose X-Forwarded-For is believed")
    answer_within: Seconds = Field(5.0, description="how long an answer waits for the broker's confirm")
