"""Says whose a request is, and from which domains that app may send; pure."""

from __future__ import annotations

from dataclasses import dataclass

from tracepost.addresses import parse
from tracepost.keys import Keys
from tracepost.problems import Fault, Invalid, Problem
from tracepost.requests import SendRequest

APP_HEADER = "tracepost-app"

_HOW_TO_OVERRIDE = "leave it out, or give a client of this app the scope override"


@dataclass(frozen=True, slots=True)
class Apps:
    """The broker has validated `user_id`; only `spokesmen` may name another app in APP_HEADER."""

    keys: Keys
    spokesmen: frozenset[str]
    default: str | None

    def of(self, user_id: str | None, named: object) -> str:
        """The app; Invalid when nobody says."""
        app = str(named) if named and user_id in self.spokesmen else user_id or self.default
        if app:
            return app
        detail = "set the message's user_id property to the user you connect as"
        raise Invalid(Problem(code="no-app", title="Nobody says whose request this is", status=403, detail=detail))

    def check(self, app: str, request: SendRequest) -> None:
        """Invalid when the app may not use the sender's domain, or not write to suppressed addresses."""
        domain = parse(request.from_).domain
        if not self.keys.may_send_from(app, domain):
            raise sender_refused(f"{app} may not send from {domain}")
        if request.override_suppression and not self.keys.may_override(app):
            raise override_refused(f"{app} may not; {_HOW_TO_OVERRIDE}")


def sender_refused(detail: str) -> Invalid:
    """The problem of a sender whose domain is not allowed."""
    faults = (Fault(pointer="/from", detail=detail),)
    return Invalid(Problem(code="sender-domain", title="The sender is not allowed", status=403, errors=faults))


def override_refused(detail: str) -> Invalid:
    """The problem of a request to suppressed addresses by one who may not."""
    faults = (Fault(pointer="/override_suppression", detail=detail),)
    return Invalid(Problem(code="override", title="Suppression may not be overridden", status=403, errors=faults))
