"""Debian's Postfix, as it ships, with waits of seconds in place of hours."""

from __future__ import annotations

from tests.mail_servers.machine import HOME, IDS, MOST_BYTES, SMTPUTF8_USER, Machine
from tests.mail_servers.net import HOME_DOMAIN, OWN_DOMAIN, SERVER, SERVER_NAME

PACKAGE = "postfix"
VERSION = ("postconf", "-d", "-h", "mail_version")
START = ("/usr/lib/postfix/sbin/master", "-d")
NUDGE = ("/usr/sbin/postqueue", "-f")

# Of whatever is done with it.
BASE = """\
compatibility_level = 3.6
inet_protocols = ipv4
local_recipient_maps =
alias_database =
"""
MAIN = f"""\
{BASE}
myhostname = {SERVER_NAME}
mydestination = {OWN_DOMAIN}
alias_maps = inline:{{forwarded=unknown@customer.example}}
mynetworks = 192.0.2.0/24
inet_interfaces = {SERVER}
maillog_file = /var/log/maillog
message_size_limit = {MOST_BYTES}
mailbox_size_limit = 60000
delay_warning_time = 2s
maximal_queue_lifetime = 8s
bounce_queue_lifetime = 60s
queue_run_delay = 2s
minimal_backoff_time = 2s
maximal_backoff_time = 2s
smtputf8_autodetect_classes = all
virtual_mailbox_domains = {HOME_DOMAIN}
virtual_mailbox_base = {HOME}
virtual_mailbox_maps = inline:{{ann@{HOME_DOMAIN}=./ {SMTPUTF8_USER}@{HOME_DOMAIN}=./}}
virtual_uid_maps = static:{IDS["ann"]}
virtual_gid_maps = static:{IDS["ann"]}
"""
# As shipped, but not confined to a changed root, which a distribution's scripts would have to fill.
MASTER = """\
{listen} inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n {queue_seconds} 1 qmgr
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
QUEUES = (
    *("active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "maildrop"),
    *("private", "public", "saved", "trace"),
)


def prepare(made: Machine) -> None:
    """Its configuration, its queues, and a mailbox that is full."""
    made.write("/etc/postfix/main.cf", MAIN)
    made.write("/etc/postfix/master.cf", MASTER.format(listen=f"{SERVER}:25", queue_seconds=2))
    made.folder("/var/spool/postfix")
    made.folder("/var/spool/postfix/pid")
    made.folder("/var/lib/postfix", "postfix")
    for queue in QUEUES:
        group = "postdrop" if queue in {"maildrop", "public"} else "root"
        made.folder(f"/var/spool/postfix/{queue}", "postfix", group, 0o730 if group == "postdrop" else 0o700)
    made.write("/var/mail/full", "x" * 60_000, owner="full", mode=0o600)
