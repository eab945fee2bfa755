"""Which of a domain's servers may have its mail, and with what TLS: by our settings and the domain's policy; pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sender.outcome import Unroutable
from sender.routing.hops import Hop
from sender.routing.mx import MOST_ADDRESSES, MOST_OF_ONE, Server
from sender.routing.sts import Policy
from tracepost.bounces.classify import Cause

Demands = Collection[str]
"""The domains whose mail goes by verified TLS alone; `*` is all of them."""


def is_verified(domain: str, policy: Policy | None, demands: Demands) -> bool:
    """Its servers must speak TLS with a certificate for their names."""
    return "*" in demands or domain in demands or (policy is not None and policy.mode == "enforce")


def allowed(domain: str, found: Sequence[Server], policy: Policy | None) -> Sequence[Server] | Unroutable:
    """The servers that the policy lets have the mail; what is for a time can be that of a policy about to change."""
    if policy is None or policy.mode != "enforce":
        return found
    if left := [each for each in found if policy.allows(each.host)]:
        return left
    hosts = ", ".join(dict.fromkeys(each.host for each in found))[:200]
    reason = f"4.7.10 not sent: the MTA-STS policy of {domain} allows none of its mail servers: {hosts}"
    return Unroutable(reason, Cause("soft", "tls_required", "sts-mx-mismatch"), lasting=False)


def hops(ordered: Sequence[Server], port: int, *, verified: bool) -> tuple[Hop, ...]:
    """The connections to try, in this order."""
    found = [
        Hop(server.host, port, "must" if verified else "may", address)
        for server in ordered
        for address in server.addresses[:MOST_OF_ONE]
    ]
    return tuple(found[:MOST_ADDRESSES])
