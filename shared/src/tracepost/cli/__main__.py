"""`python -m tracepost.cli`: the command where its script is not on the PATH."""

from tracepost.cli import main

main()
