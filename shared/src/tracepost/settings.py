"""Settings from the environment: `TRACEPOST_<SERVICE>_<NAME>`, else `TRACEPOST_<NAME>`; `…_FILE` names a file."""

from __future__ import annotations

import base64
import binascii
import os
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, ValidationError
from yarl import URL

from tracepost import environment, keys
from tracepost.environment import prefix_of, told
from tracepost.keys import Keys
from tracepost.tokens import Keyring

Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Url = Annotated[str, Field(pattern=r"^https?://[^/]+")]
SecretUrl = Annotated[SecretStr, AfterValidator(lambda secret: _checked_url(secret))]


def parts(value: Any) -> Any:
    """A setting with several values, separated by commas."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _origins(told: tuple[str, ...]) -> tuple[str, ...]:
    for each in told:
        if each != "*" and (not (url := URL(each)).host or str(url.origin()) != each):
            raise ValueError(f"{each} is no origin: write it as a browser sends it, https://desk.example.org")
    return told


Origins = Annotated[tuple[str, ...], BeforeValidator(parts), AfterValidator(_origins)]


class Settings(BaseModel):
    """What every service is told; each service adds its own. Read once, at start."""

    model_config = ConfigDict(extra="forbid", validate_default=True)

    service: ClassVar[str]

    amqp_url: SecretUrl = SecretStr("amqp://guest:guest@127.0.0.1:5672/")
    token_keys: SecretStr = Field(
        description="root keys as kid:base64 or kid@date:base64, separated by commas; 32 bytes or more each"
    )
    host: str = Field("127.0.0.1", description="the address that the service's ports listen on")
    admin_port: Port = Field(description="/livez /readyz /metrics; 0 for any free port")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    publish_timeout: Seconds = 30.0
    drain_timeout: Seconds = 25.0

    @classmethod
    def read(cls, **given: Any) -> Self:
        """What is `given`, else what the environment says; ValidationError, or OSError for a file that cannot be read.

        Not by pydantic-settings: it would take 5 MB, for none of whose sources we have a use.
        """
        found = {name: told(name, cls.service) for name in cls.model_fields}
        return cls.model_validate({name: value for name, value in found.items() if value is not None} | given)

    @classmethod
    def unknown(cls) -> list[str]:
        """The variables of this service that name no setting of it, in words."""
        return environment.unknown(os.environ, cls.service, cls.model_fields)

    def keyring(self) -> Keyring:
        """The root keys; ValueError tells how to write them."""
        try:
            told = self._root_keys()
            roots = {kid: key for kid, _, key in told}
            keyring = Keyring(roots)
        except (ValueError, binascii.Error):  # whose words would repeat the key
            raise ValueError(
                "write TRACEPOST_TOKEN_KEYS as 1:<base64 of 32 or more random bytes>, ids 0 to 255;"
                " 1@2026-07-01:<…> says since when it signs"
            ) from None
        if len(roots) < len(told):
            raise ValueError("TRACEPOST_TOKEN_KEYS gives an id twice; give each key an id of its own")
        return keyring

    def token_key_began(self) -> datetime | None:
        """Since when the root key signs that signs now, if that is told."""
        return max(self._root_keys())[1]

    def _root_keys(self) -> list[tuple[int, datetime | None, bytes]]:
        found = []
        for item in self.token_keys.get_secret_value().split(","):
            name, _, key = item.strip().partition(":")
            kid, is_dated, date = name.partition("@")
            began = datetime.fromisoformat(date).replace(tzinfo=UTC) if is_dated else None
            found.append((int(kid), began, base64.b64decode(key, validate=True)))
        return found

    def model_post_init(self, context: Any) -> None:
        """Refuse keys that cannot be used when the settings are read, not when the first token is signed."""
        self.keyring()


class DatabaseSettings(Settings):
    """Settings of a service with a database."""

    database_url: SecretUrl
    migrate: bool = Field(True, description="apply missing migrations at the start; if false, refuse it")


class ApiSettings(Settings):
    """Settings of a service with an HTTP API: nothing is served beyond loopback without keys."""

    api_port: Port
    api_keys: SecretStr = Field(SecretStr(""), description="a JSON list of clients, see `tracepost keys new`")
    cors_origins: Origins = Field((), description="of pages that may use the API: https://desk.example.org, …; or *")

    def keys(self) -> Keys:
        """The clients of the API."""
        return keys.read(self.api_keys.get_secret_value(), self.keyring())

    def model_post_init(self, context: Any) -> None:
        """Refuse what would serve strangers."""
        super().model_post_init(context)
        if not self.keys() and not _is_loopback(self.host):
            raise ValueError(f"HOST is {self.host}, which others can reach: set API_KEYS, see `tracepost keys new`")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _checked_url(secret: SecretStr) -> SecretStr:
    url = URL(secret.get_secret_value())
    if not url.scheme or not url.host:
        raise ValueError("write it as scheme://user:password@host:port/name")
    return secret


def explain(error: ValidationError, service: str) -> str:
    """The faults as lines for a person, each with the variable to set."""
    own = prefix_of(service)
    lines = [f"{own}{str(each['loc'][0]).upper()}: {each['msg']}" for each in error.errors() if each["loc"]]
    rest = [each["msg"] for each in error.errors() if not each["loc"]]
    return "\n".join(lines + rest)


def printable(settings: Settings) -> str:
    """The settings as lines of NAME=value, secrets masked; what is not set is left out."""
    own = prefix_of(settings.service)
    return "\n".join(f"{own}{name.upper()}={_text(value)}" for name, value in settings if value is not None)


def _text(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
