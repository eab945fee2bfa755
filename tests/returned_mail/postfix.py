"""Debian's Postfix, as it ships, with waits of seconds in place of hours."""

from __future__ import annotations

from tests.bench.peers.postfix import QUEUES
from tests.returned_mail.machine import Machine
from tests.returned_mail.net import OWN_DOMAIN, SERVER, SERVER_NAME

PACKAGE = "postfix"
VERSION = ("postconf", "-d", "-h", "mail_version")
START = ("/usr/lib/postfix/sbin/master", "-d")
NUDGE = ("/usr/sbin/postqueue", "-f")

MAIN = f"""\
compatibility_level = 3.6
myhostname = {SERVER_NAME}
mydestination = {OWN_DOMAIN}
local_recipient_maps =
alias_maps = inline:{{forwarded=unknown@customer.example}}
alias_database =
mynetworks = 192.0.2.0/24
inet_interfaces = {SERVER}
inet_protocols = ipv4
maillog_file = /var/log/maillog
message_size_limit = 50000
mailbox_size_limit = 60000
delay_warning_time = 2s
maximal_queue_lifetime = 8s
bounce_queue_lifetime = 60s
queue_run_delay = 2s
minimal_backoff_time = 2s
maximal_backoff_time = 2s
smtputf8_autodetect_classes = all
"""
MASTER = f"""\
{SERVER}:25 inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 2 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def prepare(made: Machine) -> None:
    """Its configuration, its queues, and a mailbox that is full."""
    made.write("/etc/postfix/main.cf", MAIN)
    made.write("/etc/postfix/master.cf", MASTER)
    made.folder("/var/spool/postfix")
    made.folder("/var/spool/postfix/pid")
    made.folder("/var/lib/postfix", "postfix")
    for queue in QUEUES:
        group = "postdrop" if queue in {"maildrop", "public"} else "root"
        made.folder(f"/var/spool/postfix/{queue}", "postfix", group, 0o730 if group == "postdrop" else 0o700)
    made.write("/var/mail/full", "x" * 60_000, owner="full", mode=0o600)
