"""Debian's OpenSMTPD, with waits of seconds in place of hours."""

from __future__ import annotations

from tests.mail_servers.machine import HOME, MOST_BYTES, Machine
from tests.mail_servers.net import HOME_DOMAIN, OWN_DOMAIN, SERVER, SERVER_NAME

PACKAGE = "opensmtpd"
VERSION = ("/usr/sbin/smtpd", "-h")
START = ("/usr/sbin/smtpd", "-d", "-v")
NUDGE = ("/usr/sbin/smtpctl", "schedule", "all")

CONFIGURATION = f"""\
queue ttl 8s
bounce warn-interval 2s
smtp max-message-size "{MOST_BYTES}"
table forwards {{ forwarded = "unknown@customer.example" }}
listen on {SERVER} port 25 hostname {SERVER_NAME}
action "local" mbox virtual <forwards>
action "home" maildir "{HOME}"
action "relay" relay helo {SERVER_NAME}
match from any for domain {OWN_DOMAIN} action "local"
match from any for domain {HOME_DOMAIN} action "home"
match from any for any action "relay"
"""


def prepare(made: Machine) -> None:
    """Its configuration and its folders."""
    made.write("/etc/smtpd.conf", CONFIGURATION)
    made.folder("/var/lib/opensmtpd/empty")
    made.folder("/var/empty")
    made.folder("/var/spool/smtpd", mode=0o711)
