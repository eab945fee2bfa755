"""API keys: who a client of an HTTP API is, what it may do, for which app, and from which domains it may send."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from hashlib import sha256
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

Scope = Literal["send", "read", "operate", "override"]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
# A key is random and long, so that a plain hash of it cannot be guessed back.
Hash = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]

ANY = "*"


class Client(BaseModel):
    """One client; two hashes are live while its key is rotated. `ANY` as app or domain means every one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    client: Name
    app: Name | Literal["*"]
    scopes: frozenset[Scope]
    sender_domains: tuple[str, ...] = ()
    hashes: Annotated[tuple[Hash, ...], Field(min_length=1, max_length=2)]

    def may_see(self, app: str | None) -> bool:
        """Whether a message of this app is the client's business."""
        return self.app in (ANY, app)


# Who asks where no keys are set, which is allowed on loopback alone.
LOCAL = Client(
    client="local",
    app=ANY,
    scopes=frozenset({"send", "read", "operate", "override"}),
    sender_domains=(ANY,),
    hashes=("sha256:" + "0" * 64,),
)

_clients: TypeAdapter[tuple[Client, ...]] = TypeAdapter(tuple[Client, ...])


class Keys:
    """The clients of an API, found by the key that they show."""

    def __init__(self, clients: Iterable[Client] = ()) -> None:
        self._clients = tuple(clients)
        self._by_hash = {each: client for client in self._clients for each in client.hashes}

    def __bool__(self) -> bool:
        return bool(self._clients)

    def find(self, key: str) -> Client | None:
        """The client that the key belongs to."""
        return self._by_hash.get(hashed(key))

    def may_send_from(self, app: str, domain: str) -> bool:
        """Whether the app may use the sender domain; an app that no client is listed for is not bounded."""
        mine = [client for client in self._clients if client.app == app]
        allowed = {each.lower() for client in mine for each in client.sender_domains}
        return not mine or bool(allowed & {ANY, domain})

    def may_override(self, app: str) -> bool:
        """Whether the app may write to suppressed addresses: only a client of its own can have the scope for that."""
        own = [each for each in self._clients if (each.client if each.app == ANY else each.app) == app]
        return not self._clients or any("override" in each.scopes for each in own)


def read(text: str) -> Keys:
    """Keys from a JSON list of clients; pydantic.ValidationError names what is wrong."""
    return Keys(_clients.validate_json(text or "[]"))


def hashed(key: str) -> str:
    """What is kept of a key."""
    return f"sha256:{sha256(key.encode()).hexdigest()}"


def new(client: str) -> str:
    """A new key, 256 random bits; it begins with its client's name so that a leaked one can be placed."""
    return f"tp_{client}_{secrets.token_urlsafe(32)}"
