"""Where a client finds the services: what it is told, else the environment, else this machine."""

from __future__ import annotations

from dataclasses import dataclass

from tracepost.environment import told


@dataclass(frozen=True, slots=True)
class Places:
    """URLs of the HTTP APIs (status-store's is `api_url`), the key that they ask for, RabbitMQ's URL, empty without."""

    api_url: str
    sender_url: str
    bounce_ingest_url: str
    api_key: str
    amqp_url: str


DEFAULTS = {
    "api_url": "http://127.0.0.1:8104",
    "sender_url": "http://127.0.0.1:8101",
    "bounce_ingest_url": "http://127.0.0.1:8103",
    "api_key": "",
    "amqp_url": "",
}


def places(**given: str | None) -> Places:
    """What is not given is `TRACEPOST_API_URL`, `TRACEPOST_SENDER_URL` …, or in the file that `…_FILE` names."""
    if unknown := given.keys() - DEFAULTS.keys():
        raise TypeError(f"{', '.join(sorted(unknown))}: give any of {', '.join(DEFAULTS)}")
    found = {name: given.get(name) if given.get(name) is not None else told(name) for name in DEFAULTS}
    return Places(**{name: DEFAULTS[name] if value is None else value for name, value in found.items()})
