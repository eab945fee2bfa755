"""What is sent to whom, and what the report about it must be understood to say: the truth is written here, by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from uuid import UUID

from tests.mail_servers.hosts import REFUSALS
from tests.mail_servers.net import RETURN_DOMAIN
from tracepost import tokens
from tracepost.tokens import Keyring

KEYRING = Keyring({1: bytes(range(32))})
DAY = date(2026, 1, 5)
SERVERS = ("postfix", "exim", "opensmtpd")
HARD = {"invalid_recipient", "bad_domain", "moved", "null_mx"}  # who is dead, by category


@dataclass(frozen=True)
class Truth:
    """Of one recipient in a report. Several categories: the words leave open which; none: they do not say.

    Codes are those of the refusal; of a cause that the server found itself only its wording counts.
    """

    recipient: str
    categories: Sequence[str] = ()
    action: str = "failed"
    smtp: int | None = None
    enhanced: str | None = None


@dataclass(frozen=True)
class Case:
    """One mail, and by server what is said in the report about it, and in the warning that comes before that."""

    name: str
    recipients: Sequence[str]
    failed: Mapping[str, Sequence[Truth]]
    delayed: Mapping[str, Sequence[Truth]] = field(default_factory=dict)
    size: int = 0
    notify: str = ""

    @property
    def message_id(self) -> UUID:
        """By the name."""
        return UUID(bytes=self.name.encode()[:16].ljust(16, b"-"))

    @property
    def token(self) -> str:
        """Of the first recipient's return path; the same each time."""
        return tokens.to_local_part(KEYRING.return_path(self.message_id, 0, self.recipients[0], DAY))

    @property
    def return_path(self) -> str:
        """An address of this case alone."""
        return f"{self.token}@{RETURN_DOMAIN}"


def _everywhere(*truths: Truth, servers: Sequence[str] = SERVERS) -> dict[str, Sequence[Truth]]:
    return dict.fromkeys(servers, truths)


def _refused(local: str) -> Truth:
    refusal = REFUSALS[local]
    return Truth(f"{local}@customer.example", (refusal.category,), "failed", *refusal.codes)


def _at_customer(local: str) -> Case:
    return Case(local, [f"{local}@customer.example"], _everywhere(_refused(local)))


NOWHERE = Truth("someone@nowhere.example", ("bad_domain",))
NOWHERE_OF_EXIM = Truth("someone@nowhere.example", ("bad_domain", "invalid_recipient"))  # "Unrouteable address"
NULL_MX = Truth("someone@nullmx.example", ("null_mx", "bad_domain"))
AWAY = Truth("someone@away.example", ("network", "system", "expired"))
BUSY = _refused("busy")
FORWARDED = replace(_refused("unknown"), recipient="forwarded@provider.example")

CASES = (
    *(_at_customer(local) for local in ("unknown", "left", "full", "disabled", "listed", "filtered")),
    Case("smtputf8", ["jörg@customer.example"], _everywhere(_refused("jörg"), servers=("postfix", "exim"))),
    Case(
        "no-such-domain",
        ["someone@nowhere.example"],
        _everywhere(NOWHERE) | {"exim": [NOWHERE_OF_EXIM]},
    ),
    Case(
        "null-mx",
        ["someone@nullmx.example"],
        _everywhere(NULL_MX) | {"opensmtpd": [replace(NULL_MX, categories=("null_mx", "bad_domain", "expired"))]},
        delayed={"opensmtpd": [replace(NULL_MX, action="delayed", categories=())]},  # it knows no RFC 7505
    ),
    Case(
        "too-large", ["someone@small.example"], _everywhere(Truth("someone@small.example", ("too_large",))), size=9000
    ),
    Case(
        "no-such-mailbox",
        ["missing@provider.example"],
        _everywhere(Truth("missing@provider.example", ("invalid_recipient",)), servers=("postfix", "exim")),
    ),
    Case(
        "local-mailbox-full",
        ["full@provider.example"],
        _everywhere(Truth("full@provider.example", ("mailbox_full",)), servers=("postfix", "exim")),
    ),
    Case(
        "forwarded",  # taken, and refused by where it is forwarded to
        ["forwarded@provider.example"],
        _everywhere(_refused("unknown")) | {"exim": [FORWARDED]},
    ),
    Case(
        "busy",
        ["busy@customer.example"],
        _everywhere(BUSY) | {"opensmtpd": [Truth(BUSY.recipient, ("expired",))]},
        delayed=_everywhere(replace(BUSY, action="delayed")),
    ),
    Case("away", ["someone@away.example"], _everywhere(AWAY), delayed=_everywhere(replace(AWAY, action="delayed"))),
    Case(
        "accepted",
        ["accepted@customer.example"],
        _everywhere(Truth("accepted@customer.example", action="relayed"))
        | {"exim": [Truth("accepted@customer.example", action="delivered")]},
        notify="SUCCESS",
    ),
    Case(
        "several",
        ["full@customer.example", "unknown@customer.example", "accepted@customer.example", "left@customer.example"],
        _everywhere(_refused("full"), _refused("unknown"), _refused("left")),
    ),
    Case(
        "several-causes",  # of which OpenSMTPD writes two reports
        ["full@customer.example", "someone@nowhere.example", "accepted@customer.example"],
        {"postfix": [_refused("full"), NOWHERE], "exim": [_refused("full"), NOWHERE_OF_EXIM]},
    ),
)
