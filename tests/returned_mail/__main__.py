"""`python -m tests.returned_mail [SERVER…]`: have the servers write their reports anew into tests/data/servers.

It takes a minute. Needs root, and apt-get where the servers' packages are not yet in .local/peers.
"""

from __future__ import annotations

import sys

from tests.mail_servers.running import on_each

sys.exit(on_each(sys.argv[1:], "tests.returned_mail.collect"))
