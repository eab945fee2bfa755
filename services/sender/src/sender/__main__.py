"""`python -m sender`."""

from sender.app import service, upkeep
from sender.settings import SenderSettings
from tracepost.runner import main

main(SenderSettings, service, upkeep=upkeep)
