"""Debian's Exim, with waits of seconds in place of hours."""

from __future__ import annotations

from tests.mail_servers.machine import HOME, MOST_BYTES, SMTPUTF8_USER, Machine
from tests.mail_servers.net import HOME_DOMAIN, OWN_DOMAIN, SERVER, SERVER_NAME

PACKAGE = "exim4-daemon-light"
VERSION = ("/usr/sbin/exim4", "-bV")
START = ("/usr/sbin/exim4", "-bdf", "-q2s", "-oP", "/run/exim.pid")
NUDGE = ()  # it looks at its queue every two seconds by itself

CONFIGURATION = f"""\
primary_hostname = {SERVER_NAME}
local_interfaces = {SERVER}
domainlist local_domains = {OWN_DOMAIN} : {HOME_DOMAIN}
log_file_path = /var/log/exim4/%slog
acl_smtp_rcpt = recipient
acl_smtp_data = accept
host_lookup = *
dsn_advertise_hosts = *
smtputf8_advertise_hosts = *
delay_warning = 2s:1h
delay_warning_condition = yes
tls_advertise_hosts =
never_users =
smtp_accept_queue_per_connection = 0
message_size_limit = {MOST_BYTES}

begin acl
recipient:
  accept domains = ! {HOME_DOMAIN}
  require verify = recipient
  accept

begin routers
remote:
  driver = dnslookup
  domains = ! +local_domains
  transport = smtp
  no_more
home:
  driver = accept
  domains = {HOME_DOMAIN}
  local_parts = ann : {SMTPUTF8_USER}
  transport = home
  no_more
forwarded:
  driver = redirect
  local_parts = forwarded
  data = unknown@customer.example
local:
  driver = accept
  local_parts = full
  transport = mailbox

begin transports
smtp:
  driver = smtp
mailbox:
  driver = appendfile
  file = /var/mail/$local_part_data
  user = full
  quota = 60K
home:
  driver = appendfile
  directory = {HOME}
  maildir_format
  user = ann
  delivery_date_add
  envelope_to_add
  return_path_add

begin retry
*  quota
*  *  F,6s,2s
"""


def prepare(made: Machine) -> None:
    """Its configuration, its folders, and a mailbox that is full."""
    made.write("/etc/exim4/exim4.conf", CONFIGURATION)
    made.folder("/var/spool/exim4", "Debian-exim", "Debian-exim", 0o750)
    made.folder("/var/log/exim4", "Debian-exim", "Debian-exim", 0o750)
    made.folder("/var/mail", mode=0o777)
    made.write("/var/mail/full", "x" * 61_440, owner="full", mode=0o600)
