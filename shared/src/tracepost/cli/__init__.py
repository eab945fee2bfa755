"""The command line, `tracepost`: what developers and operators hold. Its commands stand one room to a file.

It needs the extra `tracepost[cli]`, which services do without.
"""

from __future__ import annotations

import logging
import os
import sys


def main() -> None:
    """The entry point of the `tracepost` command."""
    try:
        from tracepost.cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        print(f"the command line needs {error.name}: pip install 'tracepost[cli]'", file=sys.stderr)  # noqa: T201
        sys.exit(os.EX_UNAVAILABLE)
    logging.disable(logging.ERROR)  # what is wrong the commands say themselves, in other words
    app(prog_name="tracepost")
