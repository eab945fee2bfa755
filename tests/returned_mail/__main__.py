"""`python -m tests.returned_mail [SERVER…]`: have the servers write their reports anew into tests/data/servers.

It takes a minute. Needs root, and apt-get where the servers' packages are not yet in .local/peers.
"""

from __future__ import annotations

import os
import sys

from local_stack.binaries import Missing
from tests.conftest import ROOT
from tests.returned_mail import exim, machine, opensmtpd, postfix
from tests.returned_mail.cases import SERVERS

PACKAGES = {"postfix": postfix.PACKAGE, "exim": exim.PACKAGE, "opensmtpd": opensmtpd.PACKAGE}


def main(names: list[str]) -> int:
    """Returns the exit code."""
    if unknown := set(names) - set(SERVERS):
        print(f"there is no {', '.join(unknown)}; there are {', '.join(SERVERS)}")  # noqa: T201
        return os.EX_USAGE
    try:
        for name in names or SERVERS:
            package = machine.unpacked(PACKAGES[name], ROOT / ".local/peers" / PACKAGES[name])
            if code := machine.enter("tests.returned_mail.collect", name, str(package)):
                return code
    except Missing as error:
        print(error, file=sys.stderr)  # noqa: T201
        return os.EX_UNAVAILABLE
    return os.EX_OK


sys.exit(main(sys.argv[1:]))
