"""How many connections there may be, how long each answer is waited for, and how a transaction fails; pure."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from sender.outcome import Lost, Reply, Unreachable


@dataclass(frozen=True, slots=True)
class Limits:
    """Of `connections` per hop and `overall`; one is closed after `idle` seconds of rest or so many `messages`."""

    connections: int
    overall: int
    idle: float
    messages: int


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds for a whole answer to each command (RFC 5321 4.5.3.2); `block` is for handing over 64 KiB of content."""

    connect: float = 60.0
    greeting: float = 300.0
    ehlo: float = 300.0
    starttls: float = 120.0
    handshake: float = 60.0
    mail: float = 300.0
    rcpt: float = 300.0
    data: float = 120.0
    block: float = 180.0
    final_dot: float = 600.0
    # What only tidies up is not worth minutes.
    rset: float = 10.0
    quit: float = 5.0

    def at_most(self, seconds: float) -> Timeouts:
        """The same, with none longer than that."""
        return Timeouts(**{name: min(own, seconds) for name, own in asdict(self).items()})


class Failed(Exception):
    """The transaction ended without the message being accepted; carries why."""

    def __init__(self, result: Reply | Unreachable | Lost) -> None:
        super().__init__(str(result))
        self.result = result
