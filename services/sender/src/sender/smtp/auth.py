"""Writes the commands by which we log in at a relay (RFC 4954, RFC 4616); pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping

from sender.routing.hops import Login

GO_ON, LOGGED_IN = 334, 235


def steps(login: Login, offered: Mapping[str, str]) -> list[bytes]:
    """The lines to send one after another: all but the last are answered GO_ON; none where the server offers no way."""
    mechanisms = offered.get("AUTH", "").split()
    user, password = login.user.encode(), login.password.encode()
    if "PLAIN" in mechanisms:
        return [b"AUTH PLAIN " + b64encode(b"\0" + user + b"\0" + password)]
    if "LOGIN" in mechanisms:
        return [b"AUTH LOGIN", b64encode(user), b64encode(password)]
    return []
