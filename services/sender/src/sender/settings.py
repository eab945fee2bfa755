"""What the sender is told by its environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from sender import dkim_keys, routes
from sender.dkim_keys import Key, KeyFile
from sender.routes import Route
from tracepost.events import Tracking
from tracepost.settings import ApiSettings, DatabaseSettings, Port, Seconds, parts

Minutes = Annotated[
    tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], Field(min_length=1), BeforeValidator(parts)
]


def _routes(told: object) -> object:
    return told if isinstance(told, dict) else routes.read(parts(told))


def _key_files(told: object) -> object:
    return dkim_keys.read(parts(told)) if isinstance(told, str) else told


KeyFiles = Annotated[tuple[KeyFile, ...], BeforeValidator(_key_files)]
RouteTable = Annotated[dict[str, Route], BeforeValidator(_routes)]
Names = Annotated[tuple[str, ...], BeforeValidator(parts)]


class SenderSettings(ApiSettings, DatabaseSettings):
    """Each is `TRACEPOST_SENDER_<NAME>`, or `TRACEPOST_<NAME>` for all services."""

    service: ClassVar[str] = "sender"

    admin_port: Port = 9101
    api_port: Port = 8101
    relay_host: str = Field("127.0.0.1", description="the mail server that takes our mail")
    relay_port: Port = 25
    routes: RouteTable = Field(
        {}, description="destinations whose mail goes elsewhere: example.org=mail.example.org:25, …"
    )
    dkim_keys: KeyFiles = Field(
        (), description="who signs from when on: example.org:selector=/path/key.pem, example.org:next@2026-07-01=…"
    )
    route_connections: Annotated[int, Field(ge=1)] = Field(100, description="at once to one mail server")
    first_attempts: Annotated[int, Field(ge=1)] = Field(20, description="at once to a destination that is new to us")
    most_attempts: Annotated[int, Field(ge=1)] = Field(100, description="at once to a destination that takes them all")
    idle_seconds: Seconds = Field(30.0, description="how long a connection that is not used is kept")
    reuse: Annotated[int, Field(ge=1)] = Field(200, description="messages over one connection")
    relay_timeout: Seconds = Field(600.0, description="the longest wait for an answer; RFC 5321 asks for up to 600")
    hostname: str = Field("localhost", description="our name in EHLO")
    bounce_domain: str = Field(description="the domain of return paths; its MX is bounce-ingest")
    pixel_url: str = Field(description="where recipients reach the pixel, e.g. https://pixel.example.org")
    track_opens: Tracking = Field("full", description="for requests that do not say")
    feedback_id: Annotated[str, Field(pattern=r"^([a-zA-Z0-9._-]{5,15})?$")] = Field(
        "", description="who we are in Feedback-ID, 5 to 15 letters, the same for years; without it there is none"
    )
    watched_domains: Names = Field(
        ("gmail.com", "outlook.com", "hotmail.com", "yahoo.com", "icloud.com", "gmx.de", "web.de"),
        description="destinations that metrics tell apart",
    )
    default_app: str | None = Field(
        None, description="for requests without a user_id; leave it unset outside a local stack"
    )
    app_header_users: Names = Field((), description="AMQP users besides our own whose tracepost-app header is believed")
    status_url: str = Field("", description="where clients reach status-store, for the Location of a new message")
    concurrency: Annotated[int, Field(ge=1)] = Field(200, description="attempts at once")
    # Both outlast what they guard: an attempt up to DATA, and the ten minutes that RFC 5321 gives the final dot.
    lease_seconds: Seconds = Field(600.0, description="how long an attempt may take up to the final dot")
    doubt_seconds: Seconds = Field(900.0, description="how long the reply to the final dot is waited for")
    retry_minutes: Minutes = (1, 5, 15, 30, 60, 120, 240, 480)
    retention_months: Annotated[
        int, Field(ge=1, le=120, description="whole months that requests are kept, and longer until all of one is done")
    ] = 2

    def dkim(self) -> Mapping[str, Sequence[Key]]:
        """The keys by domain, read from their files; ValueError names the one that cannot be used."""
        found: dict[str, list[Key]] = {}
        for each in self.dkim_keys:
            found.setdefault(each.domain, []).append(_key(each))
        return found

    def model_post_init(self, context: Any) -> None:
        """Refuse keys that cannot sign when the settings are read, not when the first mail is sent."""
        super().model_post_init(context)
        self.dkim()


def _key(file: KeyFile) -> Key:
    try:
        private = dkim_keys.private(Path(file.path).read_bytes())
    except OSError as error:
        raise ValueError(f"DKIM_KEYS: {file.path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"DKIM_KEYS: {file.path} {error}") from None
    return Key(file.domain, file.selector, private, file.begins)
