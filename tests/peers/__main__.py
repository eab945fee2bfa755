"""`python -m tests.peers [SERVER…]`: has real servers take the mail of a running stack, one server after the other.

It takes two minutes. Needs root, and apt-get where the servers' packages are not yet in .local/peers.
"""

from __future__ import annotations

import sys

from tests.mail_servers.running import on_each

sys.exit(on_each(sys.argv[1:], "pytest", "-m", "peers", "tests/peers", "-k"))
