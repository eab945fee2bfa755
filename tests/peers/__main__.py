"""`python -m tests.peers [SERVER…]`: has real servers take the mail of a running stack, one server after the other.

It takes two minutes. Needs root, and apt-get where the servers' packages are not yet in .local/peers.
"""

from __future__ import annotations

import os
import sys

from local_stack import binaries
from tests.mail_servers.running import on_each


def main(names: list[str]) -> int:
    """Returns the exit code."""
    try:
        binaries.ensure(print)  # the machine has no way to get them
    except binaries.Missing as error:
        print(error, file=sys.stderr)  # noqa: T201
        return os.EX_UNAVAILABLE
    return on_each(names, "pytest", "-m", "peers", "tests/peers", "-k")


sys.exit(main(sys.argv[1:]))
