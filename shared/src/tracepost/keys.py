"""API keys and sessions: who a client of an API is, what it may do, for which app, from which domains it may send."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Annotated, Literal
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from tracepost.problems import Fault, Invalid, Problem
from tracepost.tokens import Keyring

Scope = Literal["send", "read", "operate", "override"]
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
# A key is random and long, so that a plain hash of it cannot be guessed back.
Hash = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]

ANY = "*"
SESSION_LIFETIME = timedelta(hours=12)  # of a browser's, which nobody can end before, unless the key goes
LOGIN_LIFETIME = timedelta(minutes=5)


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
    """The clients of an API, found by the key that they show, or by a session that was begun with it."""

    def __init__(self, clients: Iterable[Client] = (), keyring: Keyring | None = None) -> None:
        # Without root keys nothing that this process did not seal itself is believed.
        self._clients, self._keyring = tuple(clients), keyring or Keyring({0: secrets.token_bytes(32)})
        self._by_hash = {each: client for client in self._clients for each in client.hashes}

    def __bool__(self) -> bool:
        return bool(self._clients)

    def find(self, key: str) -> Client | None:
        """The client that the key belongs to."""
        return self.of_hash(hashed(key))

    def of_hash(self, key_hash: str) -> Client | None:
        """The client whose key has this hash."""
        return self._by_hash.get(key_hash)

    def session(self, key_hash: str) -> tuple[str, datetime]:
        """A session for the client whose key has this hash, sealed, and when it ends."""
        return self._seal("session", key_hash, SESSION_LIFETIME)

    def of_session(self, sealed: str) -> Client | None:
        """The client that began the session, as long as its key is one."""
        found = self._unseal("session", sealed)
        return self.of_hash(found.decode()) if found else None

    def login(self, key_hash: str) -> tuple[str, datetime]:
        """What begins a session in place of the key, once and soon: fit for a link."""
        return self._seal("login", uuid4().hex + key_hash, LOGIN_LIFETIME)

    def of_login(self, sealed: str) -> tuple[UUID, str] | None:
        """The login's own id, to be used once, and the hash of the key that it stands for."""
        found = self._unseal("login", sealed)
        return (UUID(found[:32].decode()), found[32:].decode()) if found else None

    def _seal(self, purpose: Literal["session", "login"], said: str, lifetime: timedelta) -> tuple[str, datetime]:
        ends = datetime.now(UTC) + lifetime
        return self._keyring.seal(purpose, said.encode(), ends), ends

    def _unseal(self, purpose: Literal["session", "login"], sealed: str) -> bytes | None:
        found = self._keyring.unseal(purpose, sealed)
        return found[0] if found else None

    def may_send_from(self, app: str, domain: str) -> bool:
        """Whether the app may use the sender domain; an app that no client is listed for is not bounded."""
        mine = [client for client in self._clients if client.app == app]
        allowed = {each.lower() for client in mine for each in client.sender_domains}
        return not mine or bool(allowed & {ANY, domain})

    def may_override(self, app: str) -> bool:
        """Whether the app may write to suppressed addresses: only a client of its own can have the scope for that."""
        own = [each for each in self._clients if (each.client if each.app == ANY else each.app) == app]
        return not self._clients or any("override" in each.scopes for each in own)


def app_of(client: Client, named: str | None) -> str | None:
    """For whose mail a client asks, None: everybody's; Invalid when that is not its business."""
    if client.app == ANY:
        return named
    if named not in (None, client.app):
        detail = f"the key of {client.client} speaks for {client.app} alone; leave app out"
        faults = (Fault(pointer="/app", detail=detail),)
        raise Invalid(Problem(code="other-app", title="The app is another's", status=403, errors=faults))
    return client.app


def read(text: str, keyring: Keyring | None = None) -> Keys:
    """Keys from a JSON list of clients; pydantic.ValidationError names what is wrong."""
    return Keys(_clients.validate_json(text or "[]"), keyring)


def hashed(key: str) -> str:
    """What is kept of a key."""
    return f"sha256:{sha256(key.encode()).hexdigest()}"


def new(client: str) -> str:
    """A new key, 256 random bits; it begins with its client's name so that a leaked one can be placed."""
    return f"tp_{client}_{secrets.token_urlsafe(32)}"
