"""What the sender is told by its environment."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from sender.echoes import Provider
from sender.routing import named, relays, routes
from sender.routing.hops import Hop
from sender.routing.mx import Us
from sender.routing.named import NameServer
from sender.routing.relays import Entry, Given
from sender.routing.routes import Routes
from tracepost import dkim_keys
from tracepost.dkim_keys import KeyFile
from tracepost.events import Tracking
from tracepost.settings import ApiSettings, DatabaseSettings, Port, Seconds, parts

if TYPE_CHECKING:
    from tracepost.dkim_private import Key

Minutes = Annotated[
    tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], Field(min_length=1), BeforeValidator(parts)
]


def _read(read: Callable[[list[str]], object], told: object) -> object:
    """What a setting's parts are, by their own reader."""
    return read(parts(told)) if isinstance(told, str) else told


def _checked_authorities(path: str) -> str:
    try:
        if path:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except OSError as error:  # ssl.SSLError is one too
        raise ValueError(f"{path} is no file of certificates in PEM: {error.strerror or error}") from None
    return path


KeyFiles = Annotated[tuple[KeyFile, ...], BeforeValidator(partial(_read, dkim_keys.read))]
Relays = Annotated[tuple[Given, ...], Field(min_length=1), BeforeValidator(partial(_read, relays.read))]
RouteTable = Annotated[tuple[Entry, ...], BeforeValidator(partial(_read, relays.read_routes))]
Domains = Annotated[tuple[str, ...], BeforeValidator(partial(_read, named.read_domains))]
NameServers = Annotated[tuple[NameServer, ...], BeforeValidator(partial(_read, named.read_name_servers))]
Names = Annotated[tuple[str, ...], BeforeValidator(parts)]


class SenderSettings(ApiSettings, DatabaseSettings):
    """Each is `TRACEPOST_SENDER_<NAME>`, or `TRACEPOST_<NAME>` for all services."""

    service: ClassVar[str] = "sender"

    admin_port: Port = 9101
    api_port: Port = 8101
    relays: Relays = Field(
        (Hop("127.0.0.1", 25),),
        description="servers that take our mail, the next where one is away: smtps://mail.example.org, …; or mx: none",
    )
    share_relays: bool = Field(False, description="use them evenly, not one after the other")
    relay_logins: SecretStr = Field(SecretStr(""), description="lines of: mail.example.org user:password")
    routes: RouteTable = Field((), description="destinations whose mail goes elsewhere: example.org=<relay or mx>, …")
    require_tls: Domains = Field((), description="by mx alone with verified TLS: example.org, …; or *")
    ca_file: Annotated[str, AfterValidator(_checked_authorities)] = Field(
        "", description="certificate authorities in PEM that are trusted besides the system's"
    )
    name_servers: NameServers = Field((), description="192.0.2.53, [2001:db8::53]:53, …; without any the system's")
    dns_timeout: Seconds = Field(5.0, description="the longest wait for an answer of DNS")
    ipv6: bool = Field(True, description="send over IPv6 too; turn it off where its address has no reverse name")
    own_servers: Names = Field(
        ("127.0.0.0/8", "::1", "0.0.0.0", "::"),  # noqa: S104 - what an MX may say
        description="hosts and networks that are ourselves: an MX that names them is passed over",
    )
    mx_port: Annotated[int, Field(ge=1, le=65535)] = Field(25, description="of the servers in DNS; 25 but in tests")
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
    provider: Provider | None = Field(
        None, description="the provider behind RELAYS: its header makes its webhooks repeat our token"
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

    def routing(self) -> Routes:
        """Who takes which mail; ValueError says what contradicts itself."""
        try:
            logins = relays.read_logins(self.relay_logins.get_secret_value())
        except ValueError as error:
            raise ValueError(f"RELAY_LOGINS: {error}") from None
        return routes.table(self.relays, self.routes, logins, shared=self.share_relays)

    def us(self) -> Us:
        """What is ourselves; ValueError names what cannot be."""
        try:
            return named.read_us(self.own_servers, self.hostname)
        except ValueError as error:
            raise ValueError(f"OWN_SERVERS: {error}") from None

    def model_post_init(self, context: Any) -> None:
        """Refuse what cannot be used when the settings are read, not when the first mail is sent."""
        super().model_post_init(context)
        for check in (self.dkim, self.routing, self.us):
            check()


def _key(file: KeyFile) -> Key:
    from tracepost.dkim_private import Key, private  # 7 MB, which a sender without keys does not need

    try:
        made = private(Path(file.path).read_bytes())
    except OSError as error:
        raise ValueError(f"DKIM_KEYS: {file.path} cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"DKIM_KEYS: {file.path} {error}") from None
    return Key(file.domain, file.selector, made, file.begins)
